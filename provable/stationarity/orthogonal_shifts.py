r"""Shifts along directions that the first layer does not look at, to any distance.

Let W_1 ν = 0. Then x and x + tν have the same values at all units, so the same outputs, margins and sensitivities. Only the
first layer's gradient ΔᵀX sees x, Δ the sensitivities, one row for each sample. So the data set X + S has the same outputs
and the same Σ_i c_i ∇_θ f(x_i; θ) whenever all rows of S are in null(W_1) and ΔᵀS = 0:

* *exchanges* S = Aᵀ M N, where the rows of A span null(Δᵀ) and those of N null(W_1): the number of samples, labels,
  multipliers and margins all stay. That is a linear space of dimension (n - rank Δ)(d - rank W_1);
* *pairs* x ± tν, each with half the coefficient: possible whatever the rank of Δ is.

Moving one sample alone along ν changes the gradient by Δ_i ⊗ ν and is seen.

At a stationary point the rows of W_1 lie in the span of the samples, with a first-layer bias or not (the weights are
Σ_i δ_ik x_i, the bias Σ_i δ_ik). So samples that do not span their space always leave such directions.

Source: arXiv:2509.21296, Theorem 4 (wording not read); derived, for chains of any activation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array
from provable.arithmetic.null_space import null_space
from provable.stationarity.activation_cells import ActivationCells, CellMeasure
from provable.stationarity.splitting import split

TRIALS = 16
"""So many random exchanges are drawn, of which the one that moves all samples most evenly is taken."""

STILL = 1e-10
"""Samples that an exchange of floats moves by less than this multiple of the farthest do not take part in it: rounding."""


@dataclass(frozen=True, eq=False)
class InvisibleShifts:
    """The linear space of shifts S with W_1 S_i = 0 and ΔᵀS = 0.

    Attributes
    ----------
    directions : ndarray of shape (q, d)
        A basis N of null(W_1); orthonormal for floats.
    exchanges : ndarray of shape (p, n)
        A basis A of null(Δᵀ): how the samples move against each other.
    """

    directions: Array
    exchanges: Array

    @property
    def dimension(self) -> int:
        """The dimension p q of the space.

        Returns
        -------
        int
            (n - rank Δ)(d - rank W_1).
        """
        return len(self.directions) * len(self.exchanges)


def invisible_shifts(
    cells: ActivationCells, coefficients: Array, *, relative_tolerance: float | None = None
) -> InvisibleShifts:
    """Find all shifts that keep the first layer's values, and with them everything that θ shows.

    Parameters
    ----------
    cells : ActivationCells
        The network and the samples.
    coefficients : ndarray of shape (n, C)
        Their coefficients.
    relative_tolerance : float, optional
        For floats: singular values of W_1 and Δ up to this multiple of the largest one count as zero; as for `null_space`.

    Returns
    -------
    InvisibleShifts
        Exact for rationals.
    """
    return InvisibleShifts(
        null_space(cells.first_weight, relative_tolerance=relative_tolerance),
        null_space(cells.sensitivities(coefficients).T, relative_tolerance=relative_tolerance),
    )


def exchanged(
    cells: ActivationCells, coefficients: Array, shifts: InvisibleShifts, distance: float, rng: np.random.Generator
) -> CellMeasure:
    """Move all samples that can be moved, keeping their number and coefficients.

    Parameters
    ----------
    cells : ActivationCells
        The network and the samples.
    coefficients : ndarray of shape (n, C)
        Their coefficients.
    shifts : InvisibleShifts
        At least one exchange and one direction.
    distance : float
        How far each sample moves at least; those on which every exchange vanishes stay.
    rng : numpy.random.Generator
        Draws the directions.

    Returns
    -------
    CellMeasure
        As many atoms with the same coefficients.
    """
    exact = arithmetic.kind(cells.points) != "float64"
    best, movable, reach, shortest = cells.points, np.zeros(len(cells.points), dtype=np.bool_), 0.0, 1.0
    for _ in range(TRIALS):
        mixture = _integers(rng, (len(shifts.exchanges), len(shifts.directions)), cells.points)
        moves = shifts.exchanges.T @ mixture @ shifts.directions
        lengths = np.linalg.norm(arithmetic.to_float(moves), axis=1)
        long = lengths > (0.0 if exact else STILL * lengths.max())
        if np.any(long) and lengths[long].min() / lengths.max() > reach:
            best, movable, reach = moves, long, lengths[long].min() / lengths.max()
            shortest = lengths[long].min()
    moves = arithmetic.full(best.shape, 0, cells.points)
    moves[movable] = arithmetic.constant(distance / shortest * (1 + 1e-12), cells.points) * best[movable]
    return CellMeasure(cells.points + moves, coefficients, np.arange(len(moves)))


def paired(
    cells: ActivationCells, coefficients: Array, directions: Array, distance: float, rng: np.random.Generator
) -> CellMeasure:
    """Replace every sample by a pair x ± tν, each with its own ν.

    Parameters
    ----------
    cells : ActivationCells
        The network and the samples.
    coefficients : ndarray of shape (n, C)
        Their coefficients.
    directions : ndarray of shape (q, d)
        A basis of null(W_1), q ≥ 1.
    distance : float
        The length of tν at least.
    rng : numpy.random.Generator
        Draws the directions.

    Returns
    -------
    CellMeasure
        Twice as many atoms with half the coefficients.
    """
    moves = _integers(rng, (len(cells.points), len(directions)), cells.points) @ directions
    steps = arithmetic.full((len(moves),), 0, cells.points)
    for index, length in enumerate(np.linalg.norm(arithmetic.to_float(moves), axis=1)):
        steps[index] = arithmetic.constant(distance / length * (1 + 1e-12), cells.points)
    return split(cells.measure(coefficients), moves, steps, steps)


def exchanged_toward(
    cells: ActivationCells, coefficients: Array, shifts: InvisibleShifts, targets: Array
) -> CellMeasure:
    """Move the samples as near to given ones as the invisible exchanges allow.

    Parameters
    ----------
    cells : ActivationCells
        The network and the samples.
    coefficients : ndarray of shape (n, C)
        Their coefficients.
    shifts : InvisibleShifts
        At least one exchange and one direction.
    targets : ndarray of shape (n, d)
        What each sample should become.

    Returns
    -------
    CellMeasure
        X + P (T - X) Q with the orthogonal projectors P on the exchanges and Q on the directions: of all data sets that can
        be reached the nearest one to T.
    """
    across = _project(shifts.exchanges, targets - cells.points)
    moves = _project(shifts.directions, across.T).T
    return CellMeasure(cells.points + moves, coefficients, np.arange(len(moves)))


def paired_toward(cells: ActivationCells, coefficients: Array, directions: Array, targets: Array) -> CellMeasure:
    """Replace every sample by a pair x ± ν, the first as near to a given one as the directions allow.

    Parameters
    ----------
    cells : ActivationCells
        The network and the samples.
    coefficients : ndarray of shape (n, C)
        Their coefficients.
    directions : ndarray of shape (q, d)
        A basis of null(W_1), q ≥ 1.
    targets : ndarray of shape (n, d)
        What the first half of the samples should become.

    Returns
    -------
    CellMeasure
        Twice as many atoms with half the coefficients, those next to the targets first.
    """
    moves = _project(directions, (targets - cells.points).T).T
    ones = arithmetic.full((len(moves),), 1, cells.points)
    return split(cells.measure(coefficients), moves, ones, ones)


def _project(basis: Array, columns: Array) -> Array:
    """The orthogonal projection of columns on the span of independent rows."""
    return np.asarray(basis.T @ arithmetic.solve(basis @ basis.T, basis @ columns))


def _integers(rng: np.random.Generator, shape: tuple[int, int], like: Array) -> Array:
    """Small integers that are not zero, in the arithmetic wanted."""
    numbers = rng.integers(1, 8, size=shape) * rng.choice((-1, 1), size=shape)
    result = arithmetic.full(shape, 0, like)
    for index in np.ndindex(*shape):
        result[index] = arithmetic.constant(int(numbers[index]), like)
    return result
