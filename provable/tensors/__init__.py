"""Moment tensors of networks, and canonical decompositions: simultaneous diagonalisation, uniqueness and condition."""

from provable.tensors.contracted_moments import contracted_moment, leading_subspace
from provable.tensors.hermite_moments import MomentError, hermite_moment, moment_error, slope_moment
from provable.tensors.hermite_regression import (
    HermiteFit,
    antithetic_weights,
    detrended,
    hermite_regression,
    parity_part,
)
from provable.tensors.jennrich import jennrich
from provable.tensors.kruskal import kruskal_rank
from provable.tensors.symmetric_jennrich import symmetric_jennrich

__all__ = [
    "HermiteFit",
    "MomentError",
    "antithetic_weights",
    "contracted_moment",
    "detrended",
    "hermite_moment",
    "hermite_regression",
    "jennrich",
    "kruskal_rank",
    "leading_subspace",
    "moment_error",
    "parity_part",
    "slope_moment",
    "symmetric_jennrich",
]
