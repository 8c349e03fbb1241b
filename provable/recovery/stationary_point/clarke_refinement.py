r"""From samples with Clarke multipliers that nearly explain a stationary point to ones that do so up to rounding.

Unknowns are the points z_j, coefficients c_j, the multipliers :math:`s_{jk}` of those neurons that have their kink at z_j,
and the margin m; equations are those of the distinct neurons, of the kinks and of the margins,

.. math:: \sum_j c_j s_{jk} \tilde z_j = g_k, \qquad g_k \cdot \tilde z_j = 0, \qquad y_j f(z_j) = m .

All is smooth in them, so Gauss and Newton converge quadratically where the equations determine them, and to a nearby solution
where they do not; the rank of the derivative there tells which.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from provable.recovery.stationary_point.arrangement import Arrangement
from provable.recovery.stationary_point.cell_moments import Atoms

Float = NDArray[np.float64]

AT_A_KINK = 1e-6
"""Pre-activations below this multiple of ‖z̃‖ are zero for the start: the linear program is exact to about 1e-7."""

NEAR = 1e-3
"""Larger misfits are those of a search that ended elsewhere."""

STEPS = 20

RANK = 1e-9
"""Singular values below this multiple of the largest are zero: the solution is exact to rounding times its condition."""


@dataclasses.dataclass(frozen=True, eq=False)
class Refined:
    """A solution, and how it was found to be one.

    Parameters
    ----------
    atoms : Atoms
        Samples in the coordinates of the arrangement, multipliers within [0, 1].
    margin : float
        m.
    misfit : float
        Norm of what the stationarity equations leave, and of what the margins leave relative to m, together.
    open_directions : int
        Directions of points, coefficients, multipliers and m that change nothing to first order, those at right angles to the
        row space among them; without bias but for the scale of all samples together. Where a multiplier is 0 or 1, those
        with the sample off the kink or those with it on the kink, if one of them takes the multiplier inward; whichever are
        more.
    """

    atoms: Atoms
    margin: float
    misfit: float
    open_directions: int


def refine(arrangement: Arrangement, atoms: Atoms, margin: float) -> Refined | None:
    """Solve for samples near given ones.

    Parameters
    ----------
    arrangement : Arrangement
        The neurons.
    atoms : Atoms
        Near a solution.
    margin : float
        Near its margin.

    Returns
    -------
    Refined or None
        None if no solution with the same active neurons was reached.
    """
    system = _System.of(arrangement, atoms)
    unknowns = system.start(atoms, margin)
    error = system.errors(unknowns)
    for _ in range(STEPS):
        step = _solved(system.derivative(unknowns), error)
        moved = unknowns - step
        there = system.errors(moved)
        if not np.linalg.norm(there) < np.linalg.norm(error):
            break
        unknowns, error = moved, there
    return system.finished(unknowns)


def _solved(matrix: Float, right: Float) -> Float:
    scales = np.linalg.norm(matrix, axis=0)
    scales[scales == 0] = 1.0
    return np.asarray(np.linalg.lstsq(matrix / scales, right, rcond=1e-11)[0] / scales)


def _null_space(matrix: Float) -> Float:
    """Orthonormal columns that the matrix, with columns of length one, takes to zero."""
    scales = np.linalg.norm(matrix, axis=0)
    _, singular, right = np.linalg.svd(matrix / np.where(scales > 0, scales, 1.0))
    return np.asarray(right[int(np.count_nonzero(singular > RANK * singular[0])) :].T)


def _has_inward(changes: Float) -> bool:
    """Whether a combination of the columns has no negative entry, and one that is positive."""
    if not changes.size:
        return False
    found: Any = scipy.optimize.linprog(
        -np.sum(changes, axis=0), A_ub=-changes, b_ub=np.zeros(len(changes)), bounds=(-1.0, 1.0), method="highs"
    )
    return bool(found.status == 0 and -found.fun > AT_A_KINK)


@dataclasses.dataclass(frozen=True, eq=False)
class _System:
    arrangement: Arrangement
    labels: Float
    active: NDArray[np.bool_]
    kinks: NDArray[np.intp]
    """Pairs (sample, neuron)."""

    @classmethod
    def of(cls, arrangement: Arrangement, atoms: Atoms) -> _System:
        extended = arrangement.extended(atoms.points)
        values = extended @ (arrangement.signs[:, None] * arrangement.directions).T
        sizes = np.linalg.norm(extended, axis=1, keepdims=True)
        kinks = np.abs(values) <= AT_A_KINK * sizes
        return cls(arrangement, np.sign(atoms.coefficients), (values > 0) & ~kinks, np.argwhere(kinks))

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.labels), self.arrangement.basis.shape[1]

    def start(self, atoms: Atoms, margin: float) -> Float:
        states = atoms.states[tuple(self.kinks.T)]
        return np.concatenate([atoms.points.reshape(-1), atoms.coefficients, states, [margin]])

    def _parts(self, unknowns: Float) -> tuple[Float, Float, Float, float]:
        count, dimension = self._shape
        points, coefficients, states, margin = np.split(
            unknowns, [count * dimension, count * (dimension + 1), len(unknowns) - 1]
        )
        full = self.active.astype(np.float64)
        full[tuple(self.kinks.T)] = states
        return points.reshape(count, dimension), coefficients, full, float(margin[0])

    def errors(self, unknowns: Float) -> Float:
        points, coefficients, states, margin = self._parts(unknowns)
        arrangement, extended = self.arrangement, self.arrangement.extended(points)
        stationarity = (coefficients[:, None] * states).T @ extended - arrangement.directions
        touching = np.sum(arrangement.directions[self.kinks[:, 1]] * extended[self.kinks[:, 0]], axis=1)
        outputs = np.sum(arrangement.slopes(self.active.astype(np.float64)) * extended, axis=1)
        margins = (self.labels * outputs - margin) / max(abs(margin), np.finfo(float).tiny)
        return np.concatenate([stationarity.reshape(-1), touching, margins])

    def derivative(self, unknowns: Float) -> Float:
        points, coefficients, states, margin = self._parts(unknowns)
        arrangement, extended = self.arrangement, self.arrangement.extended(points)
        (count, dimension), units, size = self._shape, len(arrangement.signs), arrangement.dimension
        matrix = np.zeros((units * size + len(self.kinks) + count, len(unknowns)))
        blocks = matrix[: units * size].reshape(units, size, len(unknowns))
        slopes = arrangement.slopes(self.active.astype(np.float64))
        for sample in range(count):
            here = slice(sample * dimension, (sample + 1) * dimension)
            blocks[:, :dimension, here] = (coefficients[sample] * states[sample])[:, None, None] * np.eye(dimension)
            blocks[:, :, count * dimension + sample] = np.outer(states[sample], extended[sample])
            row = units * size + len(self.kinks) + sample
            matrix[row, here] = self.labels[sample] * slopes[sample, :dimension] / margin
            matrix[row, -1] = -self.labels[sample] * (slopes[sample] @ extended[sample]) / margin**2
        for position, (sample, unit) in enumerate(self.kinks):
            blocks[unit, :, count * (dimension + 1) + position] = coefficients[sample] * extended[sample]
            here = slice(sample * dimension, (sample + 1) * dimension)
            matrix[units * size + position, here] = arrangement.directions[unit, :dimension]
        return matrix

    def finished(self, unknowns: Float) -> Refined | None:
        points, coefficients, states, margin = self._parts(unknowns)
        arrangement, extended = self.arrangement, self.arrangement.extended(points)
        values = extended @ (arrangement.signs[:, None] * arrangement.directions).T
        if not (margin > 0 and np.all(np.isfinite(unknowns)) and np.all(coefficients * self.labels > 0)):
            return None
        free = np.ones(values.shape, dtype=bool)
        free[tuple(self.kinks.T)] = False
        if np.any(((values > 0) != self.active) & free):
            return None
        if np.any((states < -AT_A_KINK) | (states > 1 + AT_A_KINK)):
            return None
        clipped = np.clip(states, 0.0, 1.0)
        missed = (coefficients[:, None] * clipped).T @ extended - arrangement.directions
        uneven = self.labels * arrangement.outputs(points) / margin - 1.0
        touching = np.abs(values[~free])
        misfit = math.sqrt(float(np.sum(missed**2) + np.sum(uneven**2) + np.sum(touching**2)))
        if not misfit <= NEAR:
            return None
        return Refined(Atoms(points, coefficients, clipped), margin, misfit, self._open(unknowns, states))

    def _open(self, unknowns: Float, states: Float) -> int:
        """Nullity of the derivative; a sample with a multiplier at an end may leave the kink, or stay and change that."""
        count, dimension = self._shape
        ends = states[tuple(self.kinks.T)]
        proper = (ends > AT_A_KINK) & (ends < 1 - AT_A_KINK)
        active = self.active.copy()
        active[tuple(self.kinks[~proper].T)] = ends[~proper] > 0.5
        smaller = dataclasses.replace(self, active=active, kinks=self.kinks[proper])
        head = count * (dimension + 1)
        basis = _null_space(smaller.derivative(np.concatenate([unknowns[:head], ends[proper], unknowns[-1:]])))
        nullity = basis.shape[1]
        if not np.all(proper):
            staying = _null_space(self.derivative(unknowns))
            inward = np.where(ends > 0.5, -1.0, 1.0)[~proper, None] * staying[head:-1][~proper]
            if staying.shape[1] > nullity and _has_inward(inward):
                nullity = staying.shape[1]
        # At right angles to the row space, S^T diag(c) X = 0 alone is asked of the samples' parts.
        outside = self.arrangement.basis.shape[0] - dimension
        nullity += outside * (count - int(np.linalg.matrix_rank(states, tol=RANK * max(states.shape))))
        return int(nullity) if self.arrangement.biased else int(nullity) - 1
