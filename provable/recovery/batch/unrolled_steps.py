r"""A batch from the change of the parameters by K steps of full-batch gradient descent with known learning rate.

Notes
-----
For K > 1, :math:`\theta_K - \theta_0` is not the tangent embedding of a measure, but it is an explicit function of the batch
and its labels. The steps are unrolled, and this function is fitted by the method of Levenberg and Marquardt in the samples
and, for the squared loss, the labels (the residuals of all steps follow from them). Other losses need known labels.

The start comes from reading the change as one step, :math:`-(\theta_K - \theta_0) / (\eta K)`, which differs from the
gradient by O(ηK). The span of the batch survives K steps exactly, because every gradient of a first linear layer is
:math:`D_k X^T`, so the search takes place in n dimensions per sample; with noise, all dimensions are freed at the end.
Learning rates at which training itself diverges are out of reach: nothing near the truth is then a start.

One order of the samples and one choice of joint signs come out, as for a gradient. Minibatches in unknown order are not
covered: every order is another function to be fitted.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.networks import forward
from provable.networks.inverse_information import inverse_information
from provable.networks.local_steps import local_steps
from provable.observations import Observation
from provable.observations.labels import check_labels
from provable.observations.local_training import as_one_step, check_steps
from provable.recovery.acceptance import RATIO, longest, norm_of
from provable.recovery.batch.noisy_recovery import chi_square_limit
from provable.recovery.batch.random_starts import from_random_starts, in_span, leading_span

Float = NDArray[np.float64]

STEPS = 60
"""Most steps of Levenberg and Marquardt."""

_TRIALS = 12


@dataclasses.dataclass(frozen=True, eq=False)
class UnrolledRecovery:
    r"""A batch fitted to the change of the parameters by several steps.

    Parameters
    ----------
    points : array of shape (n, *input_shape)
        The samples.
    labels : array of shape (n, C) or (n,)
        Their labels: fitted for the squared loss, otherwise the known ones.
    chi_square : float
        Sum of squares of the misfit over σ²; without noise, over the squared norm of the change.
    degrees_of_freedom : int
        Numbers seen minus free unknowns.
    standard_errors : array of shape (n,)
        Predicted :math:`\sqrt{E \|\hat x_i - x_i\|^2}`; zero without noise, infinite where a direction is open.
    status : {"consistent-with-noise", "not-identified", "rejected"}
        As for `provable.recovery.batch.maximum_likelihood.NoisyRecovery`.
    reason : str
        What there is to say on the status; empty if nothing.
    """

    points: Float
    labels: NDArray[np.float64] | NDArray[np.int64]
    chi_square: float
    degrees_of_freedom: int
    standard_errors: Float
    status: str
    reason: str = ""


def from_local_steps(
    observation: Observation,
    samples: int,
    *,
    steps: int,
    learning_rate: float,
    noise: float = 0.0,
    labels: ArrayLike | None = None,
    starts: int = 10,
    rng: int | np.random.Generator | None = None,
) -> UnrolledRecovery:
    """Recover a batch from the change of the parameters by several steps.

    Parameters
    ----------
    observation : Observation
        Of kind ``"parameter-change"``, all pieces with the same noise.
    samples : int
        Number of samples n.
    steps : int
        K >= 1.
    learning_rate : float
        η > 0.
    noise : float, optional
        Standard deviation σ of the noise on each number of the change.
    labels : array of shape (n,) or (n, C), optional
        Known labels, in the order in which samples are to come out; needed unless the loss is ``squared``.
    starts : int, optional
        Most starts of the search for the first guess, and most first guesses.
    rng : int or numpy.random.Generator, optional
        Draws the starts.

    Returns
    -------
    UnrolledRecovery
        The best fit, and what its misfit says.

    Raises
    ------
    InputError
        If something does not fit.
    UnsupportedError
        If the loss is not squared and no labels are known, the unrolled derivative would take over 2 GiB, or squares of the
        observed numbers leave the range of float64.
    """
    count, generator = check_steps(steps, learning_rate), np.random.default_rng(rng)
    gradient = as_one_step(observation, steps=count, learning_rate=learning_rate)
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise InputError(f"noise: found {str(noise)[:40]!r}; a nonnegative number is accepted")
    loss, known = observation.architecture.loss, None
    if labels is not None:
        known = check_labels(observation.architecture, np.asarray(labels), samples)
    elif loss != "squared":
        raise UnsupportedError(f"loss: found {loss}; without known labels, squared is accepted")
    # θ_K is rounded before θ_0 is subtracted, which is noise as well.
    rounding = EPSILON * max(float(np.max(np.abs(observation.parameters[key]))) for key in observation.vector)
    with np.errstate(over="ignore"):
        if not math.isfinite(norm_of([*gradient.vector.values(), *observation.vector.values()])):
            raise UnsupportedError("vector: holds numbers whose squares are too large for float64")
    basis = leading_span(observation, samples, max(float(noise), rounding))
    whole = _Unrolled(observation, count, learning_rate, known)
    inner = whole if basis is None else _Unrolled(in_span(observation, basis), count, learning_rate, known)
    guess = gradient if basis is None else in_span(gradient, basis)
    last = whole if noise > 0 else inner  # a noisy span cannot explain the change at noise level
    best: tuple[float, Float, Float] | None = None
    for _ in range(starts):
        first = from_random_starts(guess, samples, noise=0.0, starts=starts, rng=generator)
        points = first.points.reshape(samples, -1)
        outputs = forward(guess.architecture, guess.parameters, first.points)
        factor = samples if observation.reduction == "mean" else 1
        wanted = np.zeros((samples, 0)) if known is not None else outputs - factor * first.coefficients
        points, wanted, cost = inner.minimised(points, wanted)
        if basis is not None and last is whole:
            points, wanted, cost = whole.minimised(points @ basis.T, wanted)
        if best is None or cost < best[0]:
            best = cost, points, wanted
        if cost <= last.limit(float(noise), points) ** 2:
            break
    assert best is not None
    found = last.judged(best[1], best[2], float(noise))
    if basis is None or last is whole:
        return found
    shaped = (found.points.reshape(samples, -1) @ basis.T).reshape(samples, *observation.architecture.input_shape)
    return dataclasses.replace(found, points=shaped)


class _Unrolled:
    """The change of the parameters as a function of samples (n, d) and labels (n, C) or (n, 0) if these are known."""

    def __init__(
        self, observation: Observation, steps: int, rate: float, labels: NDArray[np.float64] | NDArray[np.int64] | None
    ) -> None:
        self.observation, self.steps, self.rate, self.labels = observation, steps, rate, labels
        shapes = observation.architecture.parameter_shapes
        self.rows = np.concatenate(
            [np.full(math.prod(shape), key in observation.vector) for key, shape in shapes.items()]
        )
        self.seen = np.concatenate([piece.reshape(-1) for piece in observation.vector.values()])

    def evaluated(self, points: Float, wanted: Float) -> tuple[Float, Float] | None:
        """Misfit and derivative; None if training overflows."""
        architecture = self.observation.architecture
        try:
            found = local_steps(
                architecture,
                self.observation.parameters,
                points.reshape(len(points), *architecture.input_shape),
                wanted if self.labels is None else self.labels,
                steps=self.steps,
                learning_rate=self.rate,
                reduction=self.observation.reduction,
                by_labels=self.labels is None,
            )
        except InputError:  # a value inside is not finite
            return None
        return found.change.vector()[self.rows] - self.seen, found.jacobian[self.rows]

    def minimised(self, points: Float, wanted: Float) -> tuple[Float, Float, float]:
        """The method of Levenberg and Marquardt, by orthogonal decompositions."""
        unit = bool(self.observation.unit_norm)
        with np.errstate(all="ignore"):
            current = self.evaluated(points, wanted)
            if current is None or not np.isfinite(current[0] @ current[0]):
                return points, wanted, math.inf
            damping = 1e-3
            for _ in range(STEPS):
                misfit, jacobian = current
                cost, accepted = float(misfit @ misfit), False
                for _ in range(_TRIALS):
                    step = _damped(jacobian, misfit, damping)
                    if step is not None:
                        there = points + step[: points.size].reshape(points.shape)
                        if unit:
                            there = there / np.linalg.norm(there, axis=1, keepdims=True)
                        then = wanted + step[points.size :].reshape(wanted.shape)
                        new = self.evaluated(there, then)
                        if new is not None and float(new[0] @ new[0]) < cost:
                            accepted = True
                            break
                    damping = max(6 * damping, 1e-12)
                if not accepted:
                    break
                assert new is not None
                points, wanted, current = there, then, new
                damping = max(damping / 10, 1e-16)
                if float(new[0] @ new[0]) > (1 - 1e-9) * cost and damping < 1e-6:
                    break
        return points, wanted, float(current[0] @ current[0])

    def limit(self, noise: float, points: Float) -> float:
        """Largest norm of the misfit that counts as noise and rounding."""
        if noise > 0:
            freedom = max(len(self.seen) - points.size, 0)
            return noise * math.sqrt(chi_square_limit(freedom))
        base = math.hypot(*(float(np.linalg.norm(self.observation.parameters[key])) for key in self.observation.vector))
        length = max(longest(self.observation), len(points))
        # θ_K is rounded in each step, and so is what is added to it.
        return RATIO * length * EPSILON * (base + self.steps * float(np.linalg.norm(self.seen)))

    def judged(self, points: Float, wanted: Float, noise: float) -> UnrolledRecovery:
        """The test, and the predicted errors."""
        count, dimension = points.shape
        shaped = points.reshape(count, *self.observation.architecture.input_shape)
        labels = wanted if self.labels is None else self.labels
        current = self.evaluated(points, wanted)
        unknowns = points.size + wanted.size
        with np.errstate(all="ignore"):
            information = None if current is None else current[1].T @ current[1]
        if current is None or information is None or not np.isfinite(information).all():
            freedom, open_ended = len(self.seen) - unknowns, np.full(count, math.inf)
            reason = "training overflows at the estimate"
            return UnrolledRecovery(shaped, labels, math.inf, freedom, open_ended, "rejected", reason)
        misfit, jacobian = current
        inverse = inverse_information(
            information,
            points,
            unit_norm=bool(self.observation.unit_norm),
            push=lambda directions: directions @ jacobian.T,
        )
        freedom = len(self.seen) - inverse.unknowns + inverse.nullity
        size = float(np.linalg.norm(misfit))
        fits = size <= self.limit(noise, points) and freedom > 0
        reason = "" if fits else f"the misfit {size:.2g} is above {self.limit(noise, points):.2g}"
        if freedom <= 0:
            reason = f"{len(self.seen)} equations for {inverse.unknowns} unknowns leave nothing to test"
        status = "rejected" if not fits else "not-identified" if inverse.nullity else "consistent-with-noise"
        if fits and inverse.nullity:
            reason = f"{inverse.nullity} directions are open, or seen too badly for float64"
        variances = inverse.point_variances(count, dimension)
        errors = np.where(np.isinf(variances), math.inf, noise * np.sqrt(np.where(np.isinf(variances), 0, variances)))
        scale = noise if noise > 0 else float(np.linalg.norm(self.seen)) or 1.0
        return UnrolledRecovery(shaped, labels, (size / scale) ** 2, freedom, errors, status, reason)


def _damped(jacobian: Float, misfit: Float, damping: float) -> Float | None:
    """The step that minimises ‖J s + F‖² + damping ‖D s‖², D the norms of the columns."""
    norms = np.linalg.norm(jacobian, axis=0)
    norms[norms == 0] = 1.0
    matrix = np.concatenate([jacobian / norms, math.sqrt(damping) * np.eye(len(norms))])
    right = np.concatenate([-misfit, np.zeros(len(norms))])
    if not (np.isfinite(matrix).all() and np.isfinite(right).all()):
        return None
    solution: Float = scipy.linalg.lstsq(matrix, right, cond=64 * EPSILON, lapack_driver="gelsy")[0]
    return np.asarray(solution / norms)
