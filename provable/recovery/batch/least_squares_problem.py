r"""Fitting a measure to the observed entries: the least-squares problem, and the method of Levenberg and Marquardt.

References
----------
D. W. Marquardt, An algorithm for least-squares estimation of nonlinear parameters, 1963.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import embed
from provable.networks.embedding_derivative import normal_equations
from provable.observations import Observation
from provable.recovery.acceptance import norm_of
from provable.recovery.batch.noisy_recovery import chi_square_limit
from provable.recovery.batch.precision import precision

Float = NDArray[np.float64]
Mask = Mapping[str, NDArray[np.bool_]]

STEPS = 200
"""Most steps of Levenberg and Marquardt."""

CLOSE = 1e-8
"""The iteration ends where the next step would lower χ² by less: the estimate is then within 1e-4 of a standard error."""

NEAR_ROUNDING = 1e-12
"""A misfit of this size relative to what was seen is near rounding in float64."""

_DAMPING = (1e-3, 1e-14, 1e10)
_TRIALS = 12


@dataclasses.dataclass(frozen=True, eq=False)
class LeastSquares:
    """The problem of fitting a measure to the observed entries.

    Parameters
    ----------
    observation : Observation
        What was observed.
    weights : mapping of str to array
        Ω: one where an entry was observed, else zero.
    unit : float
        Unit of rounding of the observed numbers.
    """

    observation: Observation
    weights: Mapping[str, Float]
    unit: float = EPSILON

    @classmethod
    def of(cls, observation: Observation, mask: Mask | None, *, unit: float | None = None) -> LeastSquares:
        """Read the problem off an observation.

        Parameters
        ----------
        observation : Observation
            Any observation.
        mask : mapping of str to array of bool, or None
            Which entries were observed.
        unit : float, optional
            Unit of rounding of the observed numbers; found from them by default.

        Returns
        -------
        LeastSquares
            The problem.

        Raises
        ------
        InputError
            If the mask does not fit the observation.
        UnsupportedError
            If the numbers observed are so large that their squares leave the range of float64.
        """
        with np.errstate(over="ignore"):
            if not math.isfinite(norm_of(observation.vector.values())):
                raise UnsupportedError("vector: holds numbers whose squares are too large for float64")
        given = mask or {}
        for key, chosen in given.items():
            if key not in observation.vector:
                raise InputError(
                    f"mask/{key}: no such piece was observed; {', '.join(observation.vector)} are accepted"
                )
            if np.shape(chosen) != observation.vector[key].shape:
                raise InputError(
                    f"mask/{key}: has shape {np.shape(chosen)}; {observation.vector[key].shape} is accepted"
                )
        weights = {
            key: np.asarray(given.get(key, np.ones(piece.shape)), dtype=np.float64)
            for key, piece in observation.vector.items()
        }
        return cls(observation, weights, precision(observation) if unit is None else unit)

    @property
    def equations(self) -> int:
        """Numbers that are seen."""
        return int(sum(np.count_nonzero(weight) for weight in self.weights.values()))

    def measure(self, points: Float, coefficients: Float) -> Measure:
        """Give flat points their shape.

        Parameters
        ----------
        points : array of shape (n, d)
            Atoms.
        coefficients : array of shape (n, C)
            Their coefficients.

        Returns
        -------
        Measure
            The measure.
        """
        return Measure(points.reshape(len(points), *self.observation.architecture.input_shape), coefficients)

    def misfit(self, points: Float, coefficients: Float) -> tuple[dict[str, Float], float]:
        """Compare the embedding of a measure with what was seen.

        Parameters
        ----------
        points : array of shape (n, d)
            Atoms.
        coefficients : array of shape (n, C)
            Their coefficients.

        Returns
        -------
        pieces : dict of str to array
            The difference, zero where nothing was seen.
        cost : float
            The sum of its squares; infinite if the network overflows.
        """
        observation = self.observation
        try:
            image = embed(observation.architecture, observation.parameters, self.measure(points, coefficients))
        except InputError:  # a value inside is not finite
            return {}, math.inf
        pieces = {key: weight * (image[key] - observation.vector[key]) for key, weight in self.weights.items()}
        cost = sum(float(np.vdot(piece, piece)) for piece in pieces.values())
        return pieces, cost if math.isfinite(cost) else math.inf

    def fitted(self, points: Float) -> Float:
        """Fit the coefficients of given points, in which the embedding is linear.

        Parameters
        ----------
        points : array of shape (n, d)
            Atoms.

        Returns
        -------
        array of shape (n, C)
            The least-squares solution.
        """
        count, outputs = len(points), self.observation.architecture.output_size
        zero = np.zeros((count, outputs))
        difference, cost = self.misfit(points, zero)
        if not math.isfinite(cost):
            return zero
        matrix, vector = self.normal_equations(points, zero, difference)
        places = points.size
        solution = np.linalg.lstsq(matrix[places:, places:], -vector[places:], rcond=1e-12)[0]
        return np.asarray(solution).reshape(count, outputs)

    def minimised(self, points: Float, coefficients: Float, *, noise: float, steps: int) -> tuple[Float, Float, float]:
        """Minimise the misfit by the method of Levenberg and Marquardt.

        Parameters
        ----------
        points : array of shape (n, d)
            Where to start.
        coefficients : array of shape (n, C)
            Likewise.
        noise : float
            σ, which says when to stop; without it, rounding does.
        steps : int
            Most steps.

        Returns
        -------
        points : array of shape (n, d)
            The minimiser.
        coefficients : array of shape (n, C)
            Its coefficients.
        cost : float
            The sum of squares there.
        """
        # A minimum may be at infinity, and steps towards it overflow.
        with np.errstate(all="ignore"):
            return self._minimised(points, coefficients, noise, steps)

    def _minimised(self, points: Float, coefficients: Float, noise: float, steps: int) -> tuple[Float, Float, float]:
        unit = bool(self.observation.unit_norm)
        if unit:
            points = _normed(points)
        difference, cost = self.misfit(points, coefficients)
        damping, lowest, highest = _DAMPING
        for _ in range(steps):
            if not math.isfinite(cost):
                break
            matrix, vector = self.normal_equations(points, coefficients, difference)
            if unit:
                matrix, vector = _tangential(matrix, vector, points)
            diagonal = np.diagonal(matrix).copy()
            diagonal[diagonal == 0] = 1.0
            accepted = False
            for _ in range(_TRIALS):
                step = _solved(matrix, vector, damping * diagonal)
                if step is None:
                    damping = max(10 * damping, 1e-10)
                    continue
                there = points + step[: points.size].reshape(points.shape)
                there = _normed(there) if unit else there
                then = coefficients + step[points.size :].reshape(coefficients.shape)
                difference_there, cost_there = self.misfit(there, then)
                gain = -float(vector @ step)
                if cost_there < cost:
                    accepted = True
                    break
                damping = max(6 * damping, 1e-12)
                if damping > highest or gain <= CLOSE * noise**2:
                    break
            if not accepted:
                break
            points, coefficients, difference, cost = there, then, difference_there, cost_there
            damping = max(damping / 10, lowest)
            if damping < 1e-3 and gain <= CLOSE * noise**2:
                break
        return points, coefficients, cost

    def explains(self, cost: float, noise: float, factor: float = 1.0) -> bool:
        """Tell quickly whether a misfit may be that of the noise, as if every unknown were seen.

        Parameters
        ----------
        cost : float
            The sum of squares of the misfit.
        noise : float
            σ.
        factor : float, optional
            How many times larger it may be.

        Returns
        -------
        bool
            Whether it is at most that; without noise, whether it is near rounding.
        """
        if noise > 0:
            return cost <= factor * noise**2 * chi_square_limit(self.equations)
        return cost <= factor * (NEAR_ROUNDING * self.unit / EPSILON * self.seen) ** 2

    @property
    def seen(self) -> float:
        """Norm of what was seen."""
        return norm_of([self.weights[key] * piece for key, piece in self.observation.vector.items()])

    def normal_equations(
        self, points: Float, coefficients: Float, difference: Mapping[str, Float]
    ) -> tuple[Float, Float]:
        """JᵀΩJ and JᵀΩF, all points first, then all coefficients.

        Parameters
        ----------
        points : array of shape (n, d)
            Atoms.
        coefficients : array of shape (n, C)
            Their coefficients.
        difference : mapping of str to array
            F.

        Returns
        -------
        matrix : array of shape (n (d + C), n (d + C))
            JᵀΩJ.
        vector : array of shape (n (d + C),)
            JᵀΩF.
        """
        measure = self.measure(points, coefficients)
        return normal_equations(
            self.observation.architecture, self.observation.parameters, measure, self.weights, difference
        )


def _normed(points: Float) -> Float:
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(points / np.where(norms > 0, norms, 1.0))


def _tangential(matrix: Float, vector: Float, points: Float) -> tuple[Float, Float]:
    """Project normal equations on steps that keep the norms; radial steps get a unit equation of their own."""
    matrix, vector = matrix.copy(), vector.copy()
    dimension = points.shape[1]
    for sample, point in enumerate(points):
        rows = slice(sample * dimension, (sample + 1) * dimension)
        matrix[rows] -= np.outer(point, point @ matrix[rows])
        matrix[:, rows] -= np.outer(matrix[:, rows] @ point, point)
        vector[rows] -= point * (point @ vector[rows])
        size = float(np.trace(matrix[rows, rows])) / dimension
        matrix[rows, rows] += (size or 1.0) * np.outer(point, point)
    return matrix, vector


def _solved(matrix: Float, vector: Float, damping: Float) -> Float | None:
    """The step, by Cholesky with columns scaled to diagonal one."""
    scale = 1 / np.sqrt(np.diagonal(matrix) + damping + EPSILON * np.finfo(np.float64).tiny)
    if not np.isfinite(scale).all():
        return None
    try:
        factor = scipy.linalg.cho_factor((matrix + np.diag(damping)) * np.outer(scale, scale))
        step: Float = -scale * scipy.linalg.cho_solve(factor, scale * vector)
    except (np.linalg.LinAlgError, ValueError):
        return None
    return step if np.isfinite(step).all() else None
