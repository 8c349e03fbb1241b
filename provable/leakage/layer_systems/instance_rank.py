r"""Rank of the layer system of one concrete instance, numerically and from below exactly; for ReLU, with active rows only.

An activation with a flat piece hides the values of the outputs on it, and passes no sensitivity: of z = W x the attacker
knows the rows of active outputs, and D is zero at the others. What is left is a system

    U = [W_active ; K(D)],        D = 0 where inactive,

whose rank depends on which outputs are active, hence on the sample; so it is looked at per instance. The dependency
law shrinks with it: Σ_p D_{o'}(p) W_{(o,p),:} needs all rows (o,p) with D_{o'}(p) ≠ 0, so of the out_channels² vectors those
survive for which o is active wherever o' is.

Scales. K can be smaller than W by orders of magnitude, so it is scaled to the same largest entry before singular values are
counted; scaling rows changes no rank.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from provable.errors import InputError, UnsupportedError
from provable.leakage.layer_systems import residues
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.random_witness import restricted
from provable.leakage.layer_systems.residues import Residues
from provable.leakage.layer_systems.structured_witness import LARGEST_MATRIX
from provable.rigor.modular_rank import PRIME

TOLERANCE = 1e-10
"""Singular values below this times the largest one count as zero; the gap says how far from it they are."""


@dataclasses.dataclass(frozen=True)
class InstanceRank:
    """The numerical rank of a layer system at one point.

    Parameters
    ----------
    rank : int
        Number of singular values above the tolerance.
    unknowns : int
        Number of columns.
    smallest, largest_null : float
        The smallest singular value that counts and the largest one that does not, over the largest one of all; 0 for the
        latter if all count.
    """

    rank: int
    unknowns: int
    smallest: float
    largest_null: float

    @property
    def nullity(self) -> int:
        """Dimension of the null space."""
        return self.unknowns - self.rank

    @property
    def gap(self) -> float:
        """Ratio of the two singular values on either side of the tolerance; infinite if there is none below."""
        return self.smallest / self.largest_null if self.largest_null else float("inf")


def instance_rank(
    system: LayerSystem,
    weight: ArrayLike,
    sensitivity: ArrayLike,
    *,
    active: ArrayLike | None = None,
    tolerance: float = TOLERANCE,
) -> InstanceRank:
    """Count singular values of U at one point.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    weight : array_like of shape ``system.weight_shape``
        Weights, float64.
    sensitivity : array_like of shape ``system.sensitivity_shape``
        D = ∂L/∂z, float64; zero where outputs are inactive.
    active : array_like of bool, shape ``system.sensitivity_shape``, optional
        Outputs whose values are known; all by default.
    tolerance : float
        Singular values up to this times the largest one count as zero.

    Returns
    -------
    InstanceRank
        Numerical rank and the gap in the singular values: evidence, no proof.

    Raises
    ------
    InputError
        If shapes are wrong, numbers are not finite, or an inactive output has a sensitivity.
    UnsupportedError
        If the matrix is too large; the message says what it would need.
    """
    weights, sensitivities, rows = _point(system, weight, sensitivity, active)
    block = system.gradient_block(sensitivities)
    if len(block) > block.shape[1]:  # K̃ᵀK̃ is all that the singular values depend on
        block = np.asarray(np.linalg.qr(block, mode="r"))
    _limit(system, int(np.count_nonzero(rows)) + system.in_channels * len(block))
    forward = system.forward_matrix(weights)[rows]
    gradient = np.zeros((system.in_channels, len(block), system.batch_size, system.in_channels, system.pixels))
    for channel in range(system.in_channels):
        gradient[channel, :, :, channel] = block.reshape(len(block), system.batch_size, -1)
    largest = float(np.abs(block).max(initial=0.0))
    scale = float(np.abs(weights).max()) / largest if largest else 1.0
    stacked = np.vstack([forward, (scale or 1.0) * gradient.reshape(-1, system.unknowns)])
    values = linalg.svdvals(stacked) if stacked.size else np.zeros(0)
    top = float(values[0]) if len(values) else 0.0
    if not top:
        return InstanceRank(0, system.unknowns, 0.0, 0.0)
    relative = values / top
    rank = int(np.count_nonzero(relative > tolerance))
    below = float(relative[rank]) if rank < len(relative) else 0.0
    return InstanceRank(rank, system.unknowns, float(relative[rank - 1]), below)


def exact_rank_from_below(
    system: LayerSystem, weight: ArrayLike, sensitivity: ArrayLike, *, active: ArrayLike | None = None
) -> int:
    """Bound the exact rank of U at one point from below, the float64 numbers taken as the rationals that they are.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    weight : array_like of shape ``system.weight_shape``
        Weights, float64.
    sensitivity : array_like of shape ``system.sensitivity_shape``
        D = ∂L/∂z, float64; zero where outputs are inactive.
    active : array_like of bool, shape ``system.sensitivity_shape``, optional
        Outputs whose values are known; all by default.

    Returns
    -------
    int
        The rank modulo 2⁶¹ - 1: proved to be at most the rational rank.

    Raises
    ------
    InputError
        If shapes are wrong, numbers are not finite, or an inactive output has a sensitivity.
    UnsupportedError
        If a matrix is too large; the message says what it would need.
    """
    weights, sensitivities, rows = _point(system, weight, sensitivity, active)
    _limit(system, system.out_channels * len(system.lags()) // system.in_channels + 1)
    null = residues.kernel(system.gradient_block(_residues(sensitivities)))
    rank: int = system.in_channels * (len(null) - null.shape[1])
    if not null.shape[1]:
        return rank
    _limit(system, int(np.count_nonzero(rows)))
    table = restricted(system, _residues(weights), null)  # rows ordered (o, sample, p, q)
    by_sample = rows.reshape(system.batch_size, system.out_channels, -1).transpose(1, 0, 2).ravel()
    return rank + residues.rank(table[by_sample])


def _point(
    system: LayerSystem, weight: ArrayLike, sensitivity: ArrayLike, active: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Check the point; the last array says which rows of W are known."""
    arrays = []
    for name, value, shape in (
        ("weight", weight, system.weight_shape),
        ("sensitivity", sensitivity, system.sensitivity_shape),
    ):
        array = np.asarray(value, dtype=np.float64)
        if array.size != int(np.prod(shape)):
            raise InputError(f"{name}: an array of shape {array.shape} was found; the layer has {shape}")
        if not np.isfinite(array).all():
            raise InputError(f"{name}: a number that is not finite was found; finite ones are accepted")
        arrays.append(array.reshape(shape))
    known = np.ones(system.sensitivity_shape, dtype=np.bool_)
    if active is not None:
        known = np.asarray(active)
        if known.dtype != np.bool_ or known.size != arrays[1].size:
            raise InputError(
                f"active: {known.dtype} of shape {known.shape} was found; booleans of shape {system.sensitivity_shape} are "
                "accepted"
            )
        known = known.reshape(system.sensitivity_shape)
    if np.any(arrays[1][~known]):
        raise InputError("sensitivity: an inactive output has one that is not 0; flat pieces pass none")
    return arrays[0], arrays[1], known.ravel()


def _limit(system: LayerSystem, rows: int) -> None:
    entries = rows * system.unknowns
    if entries > LARGEST_MATRIX:
        raise UnsupportedError(
            f"layer system of {system.unknowns} unknowns: a dense matrix of {rows} rows would take "
            f"{8 * entries / 2**30:.1f} GiB; at most {8 * LARGEST_MATRIX / 2**30:.1f} GiB are used"
        )


def _residues(numbers: NDArray[np.float64]) -> Residues:
    """Residues of m·2ᵉ: 2 has the order 61 modulo 2⁶¹ - 1, so every float64 has one."""
    mantissas, exponents = np.frexp(numbers)
    whole = (mantissas * 2.0**53).astype(np.int64).ravel().tolist()
    powers = ((exponents - 53) % 61).ravel().tolist()
    values = [mantissa * 2**power % PRIME for mantissa, power in zip(whole, powers, strict=True)]
    return np.array(values, dtype=np.uint64).reshape(numbers.shape)
