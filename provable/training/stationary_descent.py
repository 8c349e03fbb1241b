r"""Full-batch descent toward a stationary point: plain steps with weight decay, normalised ones without.

Notes
-----
With weight decay w the steps are :math:`v \leftarrow \rho v - \eta (\nabla L + w\theta)`, then
:math:`\theta \leftarrow \theta + v`. Without it the loss vanishes, and the steps are those of gradient descent on its
logarithm or of one length,

.. math:: \theta \leftarrow \theta - \eta\, \nabla L / L \qquad\text{or}\qquad
          \theta \leftarrow \theta - \eta\, \nabla L / \|\nabla L\|.

They follow the same curve as gradient flow on L, faster, so that ‖θ‖ grows and the direction converges. If no rate is given
it is one over a bound on the curvature that comes from the outputs: :math:`\lambda_{\max}` of the tangent kernel K weighted
with :math:`|\ell'_i|` (for the logistic loss ℓ'' ≤ |ℓ'|), and :math:`\lambda_{\max}(K)/2` for the logarithm, whose second
derivative in the outputs is for the exponential loss the covariance of a distribution on the samples. The rate is refreshed
as K changes. Kinks are no part of this bound.

ReLU networks end in a zigzag across kinks. The rate of plain steps falls a thousandfold over their second half, and over the
last steps the time on either side of each kink is counted, for `provable.training.stationary_finish`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.errors import InputError
from provable.networks import Parameters, tangent_kernel
from provable.training.fixed_pattern import FixedPattern, Pattern
from provable.training.separable_losses import log_total, slopes, total
from provable.training.stationary_equations import Problem

RULES = ("plain", "loss", "gradient")
"""What a step is divided by: nothing, the loss, or the norm of its gradient."""

REFRESH = 25
"""Steps between estimates of the curvature."""

EARLY = 200
"""Steps at the beginning, where it grows fast, that are estimated one by one."""

LONGEST = 0.03
"""Plain steps at rates that were not asked for: at most this share of ‖θ‖, for the bound does not know of units that wake."""

RESTARTS = 6
"""How often training begins again with a quarter of the rate, if it diverges with a rate that was not asked for."""

LARGEST_OUTPUT = 1e100
"""Outputs beyond this count as divergence."""

UNIT_RATE = 0.05
"""Length of the steps under the rule ``"gradient"``, if none is given."""


@dataclass(frozen=True, eq=False)
class History:
    """How training went, at some of its steps.

    Attributes
    ----------
    steps : ndarray of int, shape (r,)
        Numbers of the steps, from 0 to the last.
    log_losses : ndarray of shape (r,)
        log of the loss of all samples, without the weight decay's term.
    norms : ndarray of shape (r,)
        ‖θ‖.
    normalised_margins : ndarray of shape (r,)
        min_i y_i f_i/‖θ‖^L for a network of degree L; not a number without labels ±1 or without homogeneity.
    angles : ndarray of shape (r,)
        Angle in radians between θ and the final point.
    threshold : int or None
        The first step at which the loss was below log 2 (logistic) or below 1 (exponential), so that all samples have
        positive margins; None if there was none, or for other losses.
    """

    steps: np.ndarray[tuple[int], np.dtype[np.int64]]
    log_losses: Float
    norms: Float
    normalised_margins: Float
    angles: Float
    threshold: int | None


@dataclass(frozen=True, eq=False)
class Descended:
    """Where descent ended.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        θ.
    slopes : dict of int to ndarray of shape (n, units)
        Mean slopes of the piecewise linear layers over the last steps.
    shares : ndarray of shape (n,)
        Mean shares of the samples in the steps' direction over the last steps; zero with weight decay.
    history : History
        How it went; `angles` is to the last point.
    places : ndarray of shape (r, P)
        θ at the steps of the history.
    """

    theta: Float
    slopes: Pattern
    shares: Float
    history: History
    places: Float


@dataclass(frozen=True)
class DescentSettings:
    """How steps are taken.

    Attributes
    ----------
    steps : int
        How many.
    rule : {"plain", "loss", "gradient"}
        What they are divided by.
    learning_rate : float or None
        η; None for one from the curvature.
    momentum : float
        ρ, of plain steps.
    records : int
        Steps in the history, at most, denser at the beginning.
    degree : int or None
        L, if the network is homogeneous in θ.
    """

    steps: int
    rule: str
    learning_rate: float | None
    momentum: float
    records: int
    degree: int | None


def descend(problem: Problem, parameters: Parameters, settings: DescentSettings) -> Descended:
    """Train.

    Parameters
    ----------
    problem : Problem
        Network, samples, loss and weight decay.
    parameters : Parameters
        Where to begin.
    settings : DescentSettings
        How.

    Returns
    -------
    Descended
        The last point and the means over the last steps.

    Raises
    ------
    InputError
        If training leaves the range of float64, with the step at which it did.
    """
    for restart in range(RESTARTS if settings.learning_rate is None else 1):
        rate = _Rate(problem, parameters.architecture, settings, 0.25**restart)
        found = _descend(problem, parameters, settings, rate)
        if isinstance(found, Descended):
            return found
    raise InputError(
        f"learning_rate: found {rate.now:g}, with which training leaves the range of float64 at step {found}; "
        "a smaller one is accepted"
    )


def _descend(problem: Problem, parameters: Parameters, settings: DescentSettings, rate: _Rate) -> Descended | int:
    """Train; the number of the step if training diverges there."""
    chain, theta = problem.chain, np.array(parameters.vector(), dtype=np.float64)
    velocity = np.zeros_like(theta)
    means, record = _Means(chain, len(problem.labels)), _Record(problem, settings)
    counted = int(settings.steps * (0.8 if settings.rule == "plain" else 0.7))
    for step in range(settings.steps + 1):
        with np.errstate(over="ignore", invalid="ignore"):  # what diverges is reported
            there = chain.forward(theta)
        if not (np.abs(there.outputs).max() < LARGEST_OUTPUT and np.abs(theta).max() < LARGEST_OUTPUT):
            return step
        record.see(step, theta, there.outputs)
        if step == settings.steps:
            break
        if settings.rule == "plain":
            shares = np.zeros(len(problem.labels))
            gradient = there.backward(slopes(problem.loss, there.outputs, problem.labels), {}).gradient
            gradient += problem.weight_decay * theta
        else:
            _, shares = log_total(problem.loss, problem.labels * there.outputs[:, 0])
            gradient = there.backward(-(shares * problem.labels)[:, None], {}).gradient
        length = rate.at(step, theta, there.outputs)
        if settings.rule == "gradient":
            length /= float(np.linalg.norm(gradient)) or 1.0
        if step >= counted:
            means.count(there.received, shares, length if settings.rule != "plain" else 1.0)
        velocity *= settings.momentum
        velocity -= length * gradient
        if settings.rule == "plain" and settings.learning_rate is None:
            allowed, speed = LONGEST * float(np.linalg.norm(theta)), float(np.linalg.norm(velocity))
            velocity *= min(1.0, allowed / speed) if speed else 1.0
        theta = theta + velocity
    return Descended(theta, means.slopes(), means.shares(), record.history(theta), np.array(record.places))


class _Rate:
    """Learning rates by curvature."""

    def __init__(self, problem: Problem, architecture: Architecture, settings: DescentSettings, factor: float) -> None:
        self.problem, self.architecture, self.settings, self.factor = problem, architecture, settings, factor
        self.now, self._norm = settings.learning_rate or math.nan, 1.0

    def at(self, step: int, theta: Float, outputs: Float) -> float:
        own = self.settings
        if own.learning_rate is None and own.rule == "gradient":
            self.now = UNIT_RATE
        elif own.learning_rate is None and (step % REFRESH == 0 or step < EARLY):
            self._refresh(theta, outputs)
        if own.rule == "plain":
            late = max(0.0, 2.0 * step / own.steps - 1.0)
            return float(self.factor * self.now * 10.0 ** (-3.0 * late))
        if own.rule == "loss" and own.learning_rate is None and own.degree is not None:
            # K grows like ‖θ‖^(2L - 2) between refreshments
            return self.factor * self.now * float(self._norm / np.linalg.norm(theta)) ** (2 * own.degree - 2)
        return self.factor * self.now

    def _refresh(self, theta: Float, outputs: Float) -> None:
        problem, own = self.problem, self.settings
        parameters = Parameters.from_vector(self.architecture, theta)
        inputs = problem.chain.inputs.reshape(-1, *parameters.architecture.input_shape)
        kernel = np.asarray(tangent_kernel(parameters.architecture, parameters, inputs), dtype=np.float64)
        if own.rule == "plain":
            size = np.abs(slopes(problem.loss, outputs, problem.labels)).reshape(-1)
            if problem.loss == "squared":
                size = np.ones_like(size)
            root = np.sqrt(size)
            largest = float(np.linalg.eigvalsh(root[:, None] * kernel * root)[-1])
            wanted = 1.0 / max(largest + 100.0 * problem.weight_decay, float(np.finfo(np.float64).tiny))
        else:
            wanted = 2.0 / max(float(np.linalg.eigvalsh(kernel)[-1]), float(np.finfo(np.float64).tiny))
            self._norm = float(np.linalg.norm(theta))
        self.now = wanted if math.isnan(self.now) or own.rule != "plain" else min(wanted, 1.2 * self.now)


class _Means:
    """Time on either side of every kink, and shares of the samples."""

    def __init__(self, chain: FixedPattern, samples: int) -> None:
        self.chain, self.right, self.left = chain, dict[int, Float](), dict[int, Float]()
        self.sum, self.weight = np.zeros(samples), 0.0

    def count(self, received: list[Float], shares: Float, weight: float) -> None:
        for index in self.chain.kinked:
            z = received[index]
            if index not in self.right:
                self.right[index], self.left[index] = np.zeros(z.shape), np.zeros(z.shape)
            self.right[index] += weight * (z > 0)
            self.left[index] += weight * (z < 0)  # a zero says nothing of the side
        self.sum += weight * shares
        self.weight += weight

    def slopes(self) -> Pattern:
        result = {}
        for index, right in self.right.items():
            low, high = self.chain.slopes(index)
            time = right + self.left[index]
            result[index] = low + (high - low) * np.divide(right, time, out=np.zeros_like(right), where=time > 0)
        return result

    def shares(self) -> Float:
        return self.sum / self.weight if self.weight else self.sum


class _Record:
    """The history, as it is made."""

    def __init__(self, problem: Problem, settings: DescentSettings) -> None:
        self.problem, self.degree = problem, settings.degree
        spaced = np.geomspace(1, settings.steps + 1, settings.records).round().astype(np.int64) - 1
        self.wanted = {int(step) for step in spaced} | {0, settings.steps}
        self.separable = problem.loss in ("logistic", "exponential")
        self.limit = {"logistic": math.log(2.0), "exponential": 1.0}.get(problem.loss, 0.0)
        self.threshold: int | None = None
        self.rows: list[tuple[int, float, float, float]] = []
        self.places: list[Float] = []

    def see(self, step: int, theta: Float, outputs: Float) -> None:
        wanted = step in self.wanted
        if not wanted and (not self.separable or self.threshold is not None):
            return
        margin, norm = math.nan, float(np.linalg.norm(theta))
        if self.separable:
            margins = self.problem.labels * outputs[:, 0]
            loss = log_total(self.problem.loss, margins)[0]
            if self.threshold is None and loss < math.log(self.limit):
                self.threshold = step
            if self.degree is not None and norm:
                margin = float(margins.min()) / norm**self.degree
        elif wanted:
            value = total(self.problem.loss, outputs, self.problem.labels)
            loss = math.log(value) if value > 0 else -math.inf
        if wanted:
            self.rows.append((step, loss, norm, margin))
            self.places.append(theta.copy())

    def history(self, theta: Float) -> History:
        steps, losses, norms, margins = (np.array(column) for column in zip(*self.rows, strict=True))
        return History(steps, losses, norms, margins, angles(np.array(self.places), theta), self.threshold)


def angles(places: Float, theta: Float) -> Float:
    """Angles between points and one point, accurate for small ones.

    Parameters
    ----------
    places : ndarray of shape (r, P)
        Points.
    theta : ndarray of shape (P,)
        The one point.

    Returns
    -------
    ndarray of shape (r,)
        In radians.
    """
    tiny = float(np.finfo(np.float64).tiny)
    there = places / np.maximum(np.linalg.norm(places, axis=1, keepdims=True), tiny)
    here = theta / max(float(np.linalg.norm(theta)), tiny)
    return np.asarray(2.0 * np.arctan2(np.linalg.norm(there - here, axis=1), np.linalg.norm(there + here, axis=1)))
