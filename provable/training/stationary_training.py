r"""Training of dense networks to stationary points: descent, then Newton's method, and the observation that is left.

Notes
-----
With weight decay w a stationary point of :math:`\sum_i \ell_i + \tfrac{w}{2}\|\theta\|^2` satisfies

.. math:: \theta = \sum_i c_i \nabla_\theta f(x_i; \theta), \qquad c_i = -\ell'_i / w.

Without weight decay a homogeneous network that separates the samples diverges in a direction, of which every limit is that of
a KKT point of :math:`\min \tfrac12 \|\theta\|^2` subject to :math:`y_i f(x_i; \theta) \ge 1` (Lyu and Li 2020): the same
equation with :math:`c_i = \lambda_i y_i`, where λ ≥ 0 is zero off the margin. For ReLU networks ∇ is one of Clarke's: kinks
are met exactly, and their slopes are part of the answer.

References
----------
K. Lyu, J. Li, Gradient descent maximizes the margin of homogeneous neural networks, ICLR 2020, for the limit of directions.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, forward
from provable.observations import Observation
from provable.observations.labels import check_labels
from provable.stationarity.homogeneity import degree_of_homogeneity
from provable.training.fixed_pattern import FixedPattern, Pattern
from provable.training.separable_losses import SEPARABLE, slopes, total
from provable.training.smooth_finish import finish_smooth
from provable.training.stationary_descent import RULES, Descended, DescentSettings, History, angles, descend
from provable.training.stationary_equations import Problem
from provable.training.stationary_finish import Finish, finish

STEPS = 20_000
"""Steps of descent, unless told otherwise."""

MOMENTUM = 0.9
"""Momentum of plain steps, unless told otherwise."""

SMALL = 1e-2
"""Standard deviation of the first layer in `small_first_layer`, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class StationaryTraining:
    """A network trained to a stationary point, or as far as it got.

    Attributes
    ----------
    initial : Parameters
        Where training began.
    trained : Parameters
        θ: finished if `reason` is empty, otherwise where descent ended. Without weight decay the smallest margin is one.
    inputs : ndarray of shape (n, *input_shape)
        The samples.
    labels : ndarray
        Their labels.
    loss_name : str
        The loss: the architecture's, or ``"exponential"``.
    weight_decay : float
        w; zero for the max-margin problem.
    coefficients : ndarray of shape (n, C)
        c: -ℓ'/w, or λ y.
    slopes : dict of str to ndarray of shape (n, units)
        Clarke weights: the slopes of the piecewise linear layers at all samples, by the layer's path. Away from kinks they
        are those of the signs, and so they are on kinks if the point is not finished.
    residual : float
        ‖θ - Σ c_i ∇f_i‖/‖θ‖ with these slopes.
    hard_residual : float
        The same if every slope is that of the sign of the pre-activation in float64, as backpropagation has it: large at
        kinks, finished or not.
    descent_residual : float
        The same where descent ended, with slopes by signs.
    mean_residual : float
        The same where descent ended, with slopes averaged over descent's last steps. It is free of the zigzag across kinks,
        so that what it leaves is slow convergence.
    reason : str
        Why the point is not finished; empty if it is.
    history : History
        How descent went; `angles` is to the point returned.
    """

    initial: Parameters
    trained: Parameters
    inputs: Float
    labels: NDArray[Any]
    loss_name: str
    weight_decay: float
    coefficients: Float
    slopes: dict[str, Float]
    residual: float
    hard_residual: float
    descent_residual: float
    mean_residual: float
    reason: str
    history: History

    @property
    def finished(self) -> bool:
        """Whether the point passed all tests of a stationary point.

        Returns
        -------
        bool
            True if `reason` is empty.
        """
        return not self.reason

    @property
    def architecture(self) -> Architecture:
        """The network.

        Returns
        -------
        Architecture
            That of the parameters.
        """
        return self.trained.architecture

    @property
    def measure(self) -> Measure:
        """The samples with their coefficients.

        Returns
        -------
        Measure
            μ with Φ_θ μ = θ.
        """
        return Measure(self.inputs, self.coefficients)

    @property
    def outputs(self) -> Float:
        """Outputs at the samples.

        Returns
        -------
        ndarray of shape (n, C)
            f(x_i; θ).
        """
        return np.asarray(forward(self.architecture, self.trained, self.inputs), dtype=np.float64)

    @property
    def loss(self) -> float:
        """The loss of all samples, without the weight decay's term.

        Returns
        -------
        float
            Σ_i ℓ_i at θ as it is scaled here.
        """
        return total(self.loss_name, self.outputs, self.labels)

    @property
    def margins(self) -> Float:
        """The margins.

        Returns
        -------
        ndarray of shape (n,)
            y_i f(x_i; θ).

        Raises
        ------
        UnsupportedError
            If labels are not ±1 by the loss.
        """
        self._require_signs()
        return np.asarray(self.labels * self.outputs[:, 0])

    @property
    def multipliers(self) -> Float:
        """The multipliers.

        Returns
        -------
        ndarray of shape (n,)
            λ_i = y_i c_i ≥ 0.

        Raises
        ------
        UnsupportedError
            If labels are not ±1 by the loss.
        """
        self._require_signs()
        return np.asarray(self.labels * self.coefficients[:, 0])

    def _require_signs(self) -> None:
        if self.loss_name not in SEPARABLE:
            raise UnsupportedError(f"loss: {self.loss_name} has no labels ±1; margins need {' or '.join(SEPARABLE)}")

    def observation(self, *, batch_size_known: bool = True, labels_known: bool = False) -> Observation:
        """What an observer of the trained parameters holds.

        Parameters
        ----------
        batch_size_known : bool, optional
            Whether the observation says n.
        labels_known : bool, optional
            Whether the observation says the labels.

        Returns
        -------
        Observation
            Of kind ``"stationary-point"``.
        """
        return Observation(
            kind="stationary-point",
            architecture=self.architecture,
            parameters=self.trained,
            batch_size=len(self.inputs) if batch_size_known else None,
            labels=self.labels if labels_known else None,
        )


def small_first_layer(
    architecture: Architecture, *, size: float = SMALL, rng: int | np.random.Generator | None = None
) -> Parameters:
    """Draw initial parameters with a small first layer, as Haim et al. do, so that training leaves the kernel regime.

    Parameters
    ----------
    architecture : Architecture
        The network.
    size : float, optional
        Standard deviation of the first layer's weights and bias; Haim et al. take 1e-4, at width 1000.
    rng : int or Generator, optional
        Seed or generator.

    Returns
    -------
    Parameters
        Gaussian, of variance 1/fan-in behind the first layer.

    References
    ----------
    N. Haim et al., Reconstructing training data from trained neural networks, NeurIPS 2022, arXiv:2206.07758.
    """
    generator = np.random.default_rng(rng)
    drawn = Parameters.random(architecture, rng=generator, scale="lecun")
    first = next((name.rpartition("/")[0] for name in drawn), "")
    arrays = {
        name: size * generator.standard_normal(array.shape) if name.rpartition("/")[0] == first else array
        for name, array in drawn.items()
    }
    return Parameters(architecture, arrays)


def train_to_stationarity(
    architecture: Architecture,
    parameters: Parameters,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    weight_decay: float = 0.0,
    loss: str | None = None,
    steps: int = STEPS,
    rule: str | None = None,
    learning_rate: float | None = None,
    momentum: float | None = None,
    second_order: bool = True,
    records: int = 100,
) -> StationaryTraining:
    """Train a dense network on all samples at once to a stationary point.

    Parameters
    ----------
    architecture : Architecture
        Linear layers and activations. Without weight decay it must be homogeneous in its parameters, with one output and the
        loss ``logistic``.
    parameters : Parameters
        Where to begin, float64.
    inputs : array_like of shape (n, *input_shape)
        The samples.
    labels : array_like
        Their labels, as the loss wants them.
    weight_decay : float, optional
        w; zero for the direction of the max-margin problem.
    loss : str, optional
        The architecture's loss by default; ``"exponential"`` is accepted for networks with the loss ``logistic``. Losses are
        added, not averaged.
    steps : int, optional
        Steps of descent.
    rule : {"plain", "loss", "gradient"}, optional
        What steps are divided by; ``"plain"`` with weight decay, ``"loss"`` without.
    learning_rate : float, optional
        By default from the curvature, see `provable.training.stationary_descent`.
    momentum : float, optional
        Of plain steps; 0.9 by default with weight decay, and zero otherwise.
    second_order : bool, optional
        Whether Newton's method finishes what descent began.
    records : int, optional
        Steps in the history, at most; each holds a copy of the parameters while training runs.

    Returns
    -------
    StationaryTraining
        The stationary point; its `reason` says if it could not be finished.

    Raises
    ------
    InputError
        If an argument does not fit, the network is not homogeneous but has to be, training diverges, or samples have no
        positive margin when it ends without weight decay.
    UnsupportedError
        For layers other than linear ones and activations.
    """
    points = np.asarray(inputs, dtype=np.float64)
    forward(architecture, parameters, points)  # refuses what does not fit
    if not len(points):
        raise InputError("inputs: found no samples; one or more are accepted")
    name = architecture.loss if loss is None else loss
    if name not in ({architecture.loss, "exponential"} if architecture.loss == "logistic" else {architecture.loss}):
        raise InputError(
            f"loss: found {name!r:.40} for a network with {architecture.loss}; its own is accepted, and exponential in "
            "the place of logistic"
        )
    targets = check_labels(architecture, np.asarray(labels), len(points))
    settings = _settings(architecture, name, weight_decay, steps, rule, learning_rate, momentum, records)
    chain = FixedPattern.of(architecture, points)
    problem = Problem(chain, targets, name, float(weight_decay))
    ended = descend(problem, parameters, settings)
    multipliers = np.zeros(len(points))
    if not weight_decay:
        ended, multipliers = _on_the_margin(problem, ended, settings)
    hard = _point(problem, ended.theta, None, multipliers)
    mean = _point(problem, ended.theta, ended.slopes, multipliers)
    best, reason = hard, "no second-order finish was asked for"
    if second_order:
        if chain.kinked or not weight_decay:
            result = finish(problem, ended.theta, ended.slopes, multipliers)
        else:
            result = finish_smooth(problem, ended.theta)
        reason = result.reason
        best = result if not reason else hard
    theta = best.theta
    again = _point(problem, theta, None, problem.labels * best.coefficients[:, 0] if not weight_decay else multipliers)
    return StationaryTraining(
        initial=parameters,
        trained=Parameters.from_vector(architecture, theta),
        inputs=points,
        labels=targets,
        loss_name=name,
        weight_decay=float(weight_decay),
        coefficients=best.coefficients,
        slopes={chain.names[index]: array for index, array in best.slopes.items()},
        residual=best.residual,
        hard_residual=again.residual,
        descent_residual=hard.residual,
        mean_residual=mean.residual,
        reason=reason,
        history=dataclasses.replace(ended.history, angles=angles(ended.places, theta)),
    )


def _settings(
    architecture: Architecture,
    loss: str,
    weight_decay: float,
    steps: int,
    rule: str | None,
    learning_rate: float | None,
    momentum: float | None,
    records: int,
) -> DescentSettings:
    for name, count in (("steps", steps), ("records", records)):
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise InputError(f"{name}: found {str(count)[:40]!r}; a positive integer is accepted")
    for name, number, positive in (("weight_decay", weight_decay, False), ("learning_rate", learning_rate, True)):
        if number is not None and not (np.isfinite(number) and number >= 0 and (number > 0 or not positive)):
            raise InputError(
                f"{name}: found {number}; a {'positive' if positive else 'nonnegative'} number is accepted"
            )
    if rule is not None and rule not in RULES:
        raise InputError(f"rule: found {rule!r:.40}; {', '.join(RULES)} are accepted")
    chosen = rule or ("plain" if weight_decay else "loss")
    if weight_decay and chosen != "plain":
        raise InputError(f"rule: found {chosen!r} with weight decay; plain is accepted, for the loss does not vanish")
    if momentum is not None and not 0 <= momentum < 1:
        raise InputError(f"momentum: found {momentum}; a number from 0 to below 1 is accepted")
    rho = MOMENTUM if weight_decay else 0.0
    try:
        degree = degree_of_homogeneity(architecture)
    except InputError as error:
        if not weight_decay:
            raise InputError(f"{error}; without weight decay a homogeneous one is accepted") from None
        degree = None
    if not weight_decay and loss not in SEPARABLE:
        raise InputError(
            f"weight_decay: found 0 with the loss {loss}; {' and '.join(SEPARABLE)} have directions in the limit"
        )
    return DescentSettings(
        int(steps), chosen, learning_rate, rho if momentum is None else float(momentum), int(records), degree
    )


def _on_the_margin(problem: Problem, ended: Descended, settings: DescentSettings) -> tuple[Descended, Float]:
    """Scale to the smallest margin one, with multipliers in proportion to the shares."""
    assert settings.degree is not None
    margins = problem.labels * problem.chain.forward(ended.theta).outputs[:, 0]
    worst = int(margins.argmin())
    if not margins[worst] > 0:
        raise InputError(
            f"labels: sample {worst} has the margin {margins[worst]:.3g} after {settings.steps} steps; without weight decay "
            "labels that the network comes to fit are accepted"
        )
    theta = ended.theta * float(margins[worst]) ** (-1.0 / settings.degree)
    shares = ended.shares if ended.shares.sum() > 0 else np.ones(len(margins))
    # Euler's identity: ‖θ‖² = L Σ λ_i
    multipliers = shares * float(theta @ theta) / (settings.degree * shares.sum())
    return dataclasses.replace(ended, theta=theta), multipliers


def _point(problem: Problem, theta: Float, pattern: Pattern | None, multipliers: Float) -> Finish:
    """A point with given slopes, or those of the signs."""
    there = problem.chain.forward(theta)
    used = problem.chain.forward(theta, pattern)
    weights = (
        -slopes(problem.loss, there.outputs, problem.labels) / problem.weight_decay
        if problem.weight_decay
        else (multipliers * problem.labels)[:, None]
    )
    gap = theta - used.backward(weights, {}).gradient
    norm = float(np.linalg.norm(theta)) or 1.0
    chosen = {index: used.factors[index] for index in problem.chain.kinked}
    return Finish(theta, weights, chosen, float(np.linalg.norm(gap)) / norm, "")
