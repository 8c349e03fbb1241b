"""Moment tensors of networks, and canonical decompositions: simultaneous diagonalisation, uniqueness and condition."""

from provable.tensors.condition import condition_number, symmetric_condition
from provable.tensors.contracted_moments import contracted_moment, leading_subspace
from provable.tensors.decomposition import decompose
from provable.tensors.hermite_moments import MomentError, hermite_moment, moment_error, slope_moment
from provable.tensors.hermite_regression import (
    HermiteFit,
    antithetic_weights,
    detrended,
    hermite_regression,
    parity_part,
)
from provable.tensors.jennrich import jennrich
from provable.tensors.joint_diagonalisation import JointDiagonalisation, joint_diagonalisation
from provable.tensors.kruskal import kruskal_rank
from provable.tensors.refinement import JointDecomposition, refined
from provable.tensors.simultaneous import simultaneous_diagonalisation
from provable.tensors.symmetric_jennrich import symmetric_jennrich
from provable.tensors.uniqueness import (
    Uniqueness,
    generic_rank_bound,
    symmetric_uniqueness,
    third_order_factors,
    uniqueness,
)

__all__ = [
    "HermiteFit",
    "JointDecomposition",
    "JointDiagonalisation",
    "MomentError",
    "Uniqueness",
    "antithetic_weights",
    "condition_number",
    "contracted_moment",
    "decompose",
    "detrended",
    "generic_rank_bound",
    "hermite_moment",
    "hermite_regression",
    "jennrich",
    "joint_diagonalisation",
    "kruskal_rank",
    "leading_subspace",
    "moment_error",
    "parity_part",
    "refined",
    "simultaneous_diagonalisation",
    "slope_moment",
    "symmetric_condition",
    "symmetric_jennrich",
    "symmetric_uniqueness",
    "third_order_factors",
    "uniqueness",
]
