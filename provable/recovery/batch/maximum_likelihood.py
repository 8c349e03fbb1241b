r"""A batch from a noisy gradient: the maximum of the likelihood, which is a nonlinear least-squares problem.

Notes
-----
With independent noise :math:`N(0, \sigma^2)` on every entry that is seen, the likelihood of a measure μ = (x, c) is
largest where :math:`\|\Omega (\Phi_\theta \mu - v)\|^2` is smallest, Ω a mask of zeros and ones. Noise changes the row space
of the first layer's gradient, so the points are not restricted to it. The method of Levenberg and Marquardt runs on all
points and coefficients from a start that somebody else found (`provable.recovery.batch.random_starts` finds one).

Under noise no answer is exact, and none is ever called certified. What can be tested is the misfit: at the estimate,
:math:`\chi^2 = \|\Omega (\Phi_\theta \mu - v)\|^2 / \sigma^2` has M - N degrees of freedom for M numbers seen and N free
unknowns, to first order, and exceeds

.. math:: k + 2 \sqrt{kt} + 2t, \qquad k = M - N,

with probability at most :math:`e^{-t}`. An estimate below that is consistent with the noise; if J has full rank there, its
predicted covariance is :math:`\sigma^2 (J^T J)^{-1}`, the Cramér-Rao bound at the estimate. The prediction is local: another
solution elsewhere may fit as well, above all where M - N is small.

References
----------
B. Laurent and P. Massart, Adaptive estimation of a quadratic functional by model selection, 2000, Lemma 1 (the tail);
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
from provable.errors import InputError
from provable.measures import Measure
from provable.networks import embed
from provable.networks.embedding_derivative import normal_equations
from provable.networks.inverse_information import inverse_information
from provable.observations import Observation
from provable.recovery.acceptance import conditions, norm_of, rounding_tolerance

Float = NDArray[np.float64]
Mask = Mapping[str, NDArray[np.bool_]]

STATUSES = ("consistent-with-noise", "not-identified", "rejected")
"""What the misfit says; see `NoisyRecovery`."""

TAIL = 14.0
"""t of the test: the truth is rejected with probability e^-14 < 1e-6."""

STEPS = 200
"""Most steps of Levenberg and Marquardt."""

CLOSE = 1e-8
"""The iteration ends where the next step would lower χ² by less: the estimate is then within 1e-4 of a standard error."""

_NEAR_ROUNDING = 1e-12

_DAMPING = (1e-3, 1e-14, 1e10)
_TRIALS = 12


@dataclasses.dataclass(frozen=True, eq=False)
class NoisyRecovery:
    r"""The estimate of a batch from a noisy gradient.

    Parameters
    ----------
    points : array of shape (n, *input_shape)
        The estimates of the samples.
    coefficients : array of shape (n, C)
        Those of their coefficients.
    noise : float
        The σ that was stated.
    chi_square : float
        Sum of squares of the misfit over σ²; without noise, over the squared norm of what was seen.
    degrees_of_freedom : int
        M - N; what is open does not count as an unknown.
    covariance : array of shape (n (d + C), n (d + C))
        Predicted covariance of all points, then all coefficients: σ² times the (pseudo-)inverse of JᵀJ.
    standard_errors : array of shape (n,)
        Predicted :math:`\sqrt{E \|\hat x_i - x_i\|^2}`; infinite where the gradient leaves a direction of the sample open.
    status : {"consistent-with-noise", "not-identified", "rejected"}
        ``consistent-with-noise``: the misfit is what the stated noise makes of the truth, and every direction is seen;
        without noise, the misfit is at rounding level. ``not-identified``: the former, but a direction is open.
        ``rejected``: the misfit is larger: a local minimum, too few samples, or more noise than stated; or there are no
        more equations than unknowns, when nothing can be tested.
    reason : str
        What there is to say on the status; empty if nothing.
    """

    points: Float
    coefficients: Float
    noise: float
    chi_square: float
    degrees_of_freedom: int
    covariance: Float
    standard_errors: Float
    status: str
    reason: str = ""

    @property
    def measure(self) -> Measure:
        """The points with their coefficients."""
        return Measure(self.points, self.coefficients)


def maximum_likelihood(
    observation: Observation, points: Float, coefficients: Float, *, noise: float, mask: Mask | None = None
) -> NoisyRecovery:
    """Refine a start on all that was observed of a noisy gradient.

    Parameters
    ----------
    observation : Observation
        Any but a stationary point. If it says that the inputs have norm 1, that is imposed.
    points : array of shape (n, *input_shape)
        Where to start.
    coefficients : array of shape (n, C) or (n,)
        Their coefficients, likewise.
    noise : float
        Standard deviation σ >= 0 of each observed number.
    mask : mapping of str to array of bool, optional
        Which entries were observed (`provable.observations.defences.kept_entries` for a pruned gradient); all of those
        pieces that the mapping does not have.

    Returns
    -------
    NoisyRecovery
        The estimate, its predicted covariance and what the misfit says of it.

    Raises
    ------
    InputError
        If the noise is no nonnegative number or something does not fit the observation.
    UnsupportedError
        Beyond 4096 unknowns.
    """
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise InputError(f"noise: found {str(noise)[:40]!r}; a nonnegative number is accepted")
    problem = LeastSquares.of(observation, mask)
    count, outputs = len(points), observation.architecture.output_size
    if np.shape(points)[1:] != tuple(observation.architecture.input_shape) or not count:
        wanted = ", ".join(["n", *map(str, observation.architecture.input_shape)])
        raise InputError(f"points: found shape {np.shape(points)}; ({wanted}) with n > 0 is accepted")
    start = np.asarray(coefficients, dtype=np.float64).reshape(count, -1)
    if start.shape[1] != outputs:
        raise InputError(f"coefficients: found shape {np.shape(coefficients)}; ({count}, {outputs}) is accepted")
    flat = np.asarray(points, dtype=np.float64).reshape(count, -1)
    flat, start, _ = problem.minimised(flat, start, noise=float(noise), steps=STEPS)
    return problem.judged(flat, start, float(noise))


@dataclasses.dataclass(frozen=True, eq=False)
class LeastSquares:
    """The problem of fitting a measure to the observed entries.

    Parameters
    ----------
    observation : Observation
        What was observed.
    weights : mapping of str to array
        Ω: one where an entry was observed, else zero.
    """

    observation: Observation
    weights: Mapping[str, Float]

    @classmethod
    def of(cls, observation: Observation, mask: Mask | None) -> LeastSquares:
        """Read the problem off an observation.

        Parameters
        ----------
        observation : Observation
            Any but a stationary point.
        mask : mapping of str to array of bool, or None
            Which entries were observed.

        Returns
        -------
        LeastSquares
            The problem.

        Raises
        ------
        InputError
            If the mask does not fit the observation, or that has no vector.
        """
        if not observation.vector:
            raise InputError(f"kind: found {observation.kind}; an observation with a vector is accepted")
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
        return cls(observation, weights)

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
        matrix, vector = self._normal_equations(points, zero, difference)
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
        unit = bool(self.observation.unit_norm)
        if unit:
            points = _normed(points)
        difference, cost = self.misfit(points, coefficients)
        damping, lowest, highest = _DAMPING
        for _ in range(steps):
            if not math.isfinite(cost):
                break
            matrix, vector = self._normal_equations(points, coefficients, difference)
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
            return cost <= factor * noise**2 * _limit(self.equations)
        return cost <= factor * _NEAR_ROUNDING**2 * self._seen**2

    @property
    def _seen(self) -> float:
        return norm_of([self.weights[key] * piece for key, piece in self.observation.vector.items()])

    def judged(self, points: Float, coefficients: Float, noise: float) -> NoisyRecovery:
        """Test an estimate and predict its covariance.

        Parameters
        ----------
        points : array of shape (n, d)
            Atoms.
        coefficients : array of shape (n, C)
            Their coefficients.
        noise : float
            σ.

        Returns
        -------
        NoisyRecovery
            The verdict.
        """
        difference, cost = self.misfit(points, coefficients)
        unit = bool(self.observation.unit_norm)
        count, dimension = points.shape
        shaped = self.measure(points, coefficients).points
        if not math.isfinite(cost):
            order = points.size + coefficients.size
            return NoisyRecovery(
                shaped, coefficients, noise, math.inf, self.equations - order, np.full((order, order), math.inf),
                np.full(count, math.inf), "rejected", "the network overflows at the estimate",
            )  # fmt: skip
        information, _ = self._normal_equations(points, coefficients, difference)
        inverse = inverse_information(information, points, unit_norm=unit)
        freedom = self.equations - inverse.unknowns + inverse.nullity
        seen = self._seen
        if noise > 0:
            chi_square = cost / noise**2
            limit = _limit(freedom)
            fits = chi_square <= limit
            reason = "" if fits else f"χ² = {chi_square:.4g} is above {limit:.4g} for {freedom} degrees of freedom"
            if fits and chi_square < freedom - 2 * math.sqrt(max(freedom, 0) * TAIL):
                reason = f"χ² = {chi_square:.4g} for {freedom} degrees of freedom: the noise is smaller than stated"
        else:
            residual = math.sqrt(cost) / seen if seen else math.sqrt(cost)
            chi_square, tolerance = residual**2, self._rounding(points, coefficients)
            fits = residual <= tolerance
            reason = "" if fits else f"the residual {residual:.2g} is above {tolerance:.2g}"
        if freedom <= 0:
            fits = False
            reason = f"{self.equations} equations for {inverse.unknowns} unknowns leave nothing to test"
        status = "rejected"
        if fits:
            status = "not-identified" if inverse.nullity else "consistent-with-noise"
            if inverse.nullity:
                reason = f"{inverse.nullity} directions are open, or seen too badly for float64"
        variances = inverse.point_variances(count, dimension)
        errors = np.where(np.isinf(variances), math.inf, noise * np.sqrt(np.where(np.isinf(variances), 0, variances)))
        return NoisyRecovery(
            shaped, coefficients, noise, chi_square, freedom, noise**2 * inverse.matrix, errors, status, reason
        )

    def _normal_equations(
        self, points: Float, coefficients: Float, difference: Mapping[str, Float]
    ) -> tuple[Float, Float]:
        measure = self.measure(points, coefficients)
        return normal_equations(
            self.observation.architecture, self.observation.parameters, measure, self.weights, difference
        )

    def _rounding(self, points: Float, coefficients: Float) -> float:
        observation, measure = self.observation, self.measure(points, coefficients)
        image = embed(observation.architecture, observation.parameters, measure)
        generator = np.random.default_rng(0)  # signs of the perturbations that measure a condition number
        condition, _ = conditions(observation, measure.points, coefficients, image, generator)
        return rounding_tolerance(observation, condition, atoms=len(points))


def _limit(freedom: int) -> float:
    """What χ² exceeds with probability e^-TAIL at most."""
    return freedom + 2 * math.sqrt(max(freedom, 0) * TAIL) + 2 * TAIL


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
