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
B. Laurent and P. Massart, Adaptive estimation of a quadratic functional by model selection, 2000, Lemma 1 (the tail).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.networks import embed
from provable.networks.embedding_derivative import pushed_embedding
from provable.networks.inverse_information import InverseInformation, inverse_information
from provable.observations import Observation
from provable.recovery.acceptance import conditions, rounding_tolerance
from provable.recovery.batch.least_squares_problem import NEAR_ROUNDING, STEPS, LeastSquares, Mask
from provable.recovery.batch.noisy_recovery import TAIL, NoisyRecovery, chi_square_limit

Float = NDArray[np.float64]

SIGNIFICANT = 5.0
"""A coefficient of at most this many standard errors may be zero."""


def maximum_likelihood(
    observation: Observation, points: Float, coefficients: Float, *, noise: float, mask: Mask | None = None
) -> NoisyRecovery:
    """Refine a start on all that was observed of a noisy gradient.

    Parameters
    ----------
    observation : Observation
        Any observation. If it says that the inputs have norm 1, that is imposed.
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
    return judged(problem, flat, start, float(noise))


def judged(problem: LeastSquares, points: Float, coefficients: Float, noise: float) -> NoisyRecovery:
    """Test an estimate and predict its covariance.

    Parameters
    ----------
    problem : LeastSquares
        What was observed.
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
    with np.errstate(all="ignore"):  # at minima near infinity
        return _judged(problem, points, coefficients, noise)


def _judged(problem: LeastSquares, points: Float, coefficients: Float, noise: float) -> NoisyRecovery:
    difference, cost = problem.misfit(points, coefficients)
    unit = bool(problem.observation.unit_norm)
    count, dimension = points.shape
    measure = problem.measure(points, coefficients)
    information = problem.normal_equations(points, coefficients, difference)[0] if math.isfinite(cost) else None
    if information is None or not np.isfinite(information).all():
        order = points.size + coefficients.size
        return NoisyRecovery(
            measure.points,
            coefficients,
            noise,
            math.inf,
            problem.equations - order,
            np.full((order, order), math.inf),
            np.full(count, math.inf),
            "rejected",
            "the network overflows at the estimate",
        )
    inverse = inverse_information(
        information,
        points,
        unit_norm=unit,
        push=lambda directions: pushed_embedding(
            problem.observation.architecture, problem.observation.parameters, measure, directions, problem.weights
        ),
    )
    freedom = problem.equations - inverse.unknowns + inverse.nullity
    seen = problem.seen
    if noise > 0:
        chi_square = cost / noise**2
        limit = chi_square_limit(freedom)
        fits = chi_square <= limit
        reason = "" if fits else f"χ² = {chi_square:.4g} is above {limit:.4g} for {freedom} degrees of freedom"
        if fits and chi_square < freedom - 2 * math.sqrt(max(freedom, 0) * TAIL):
            reason = f"χ² = {chi_square:.4g} for {freedom} degrees of freedom: the noise is smaller than stated"
    else:
        residual = math.sqrt(cost) / seen if seen else math.sqrt(cost)
        chi_square, tolerance = residual**2, _rounding(problem, points, coefficients)
        fits = residual <= tolerance
        reason = "" if fits else f"the residual {residual:.2g} is above {tolerance:.2g}"
    if freedom <= 0:
        fits = False
        reason = f"{problem.equations} equations for {inverse.unknowns} unknowns leave nothing to test"
    status = "consistent-with-noise" if fits else "rejected"
    doubts = []
    if inverse.nullity:
        doubts.append(f"{inverse.nullity} directions are open, or seen too badly for float64")
    if np.any(invisible := _invisible(problem, coefficients, information, inverse, noise)):
        which = ", ".join(map(str, np.flatnonzero(invisible)))
        doubts.append(f"the coefficients of samples {which} may be zero: what is found of these samples means nothing")
    if fits and doubts:
        status, reason = "not-identified", "; ".join(doubts)
    variances = inverse.point_variances(count, dimension)
    errors = np.where(np.isinf(variances), math.inf, noise * np.sqrt(np.where(np.isinf(variances), 0, variances)))
    return NoisyRecovery(
        measure.points, coefficients, noise, chi_square, freedom, noise**2 * inverse.matrix, errors, status, reason
    )


def _invisible(
    problem: LeastSquares, coefficients: Float, information: Float, inverse: InverseInformation, noise: float
) -> NDArray[np.bool_]:
    """Which samples contribute no more than noise or rounding does."""
    count, outputs = coefficients.shape
    places = len(information) - coefficients.size
    if noise > 0:
        errors = noise * np.sqrt(inverse.other_variances(count, places // count)).reshape(count, outputs)
        return np.asarray((np.abs(coefficients) <= SIGNIFICANT * errors).all(axis=1))
    blocks = information[places:, places:].reshape(count, outputs, count, outputs)
    contributed = np.array([c @ blocks[i, :, i] @ c for i, c in enumerate(coefficients)])
    return np.asarray(contributed <= (NEAR_ROUNDING * problem.unit / EPSILON * problem.seen) ** 2)


def _rounding(problem: LeastSquares, points: Float, coefficients: Float) -> float:
    observation, measure = problem.observation, problem.measure(points, coefficients)
    image = embed(observation.architecture, observation.parameters, measure)
    generator = np.random.default_rng(0)  # signs of the perturbations that measure a condition number
    condition, _ = conditions(observation, measure.points, coefficients, image, generator)
    return rounding_tolerance(observation, condition, atoms=len(points), unit=problem.unit)
