r"""Full-batch training of finite networks, as they are or linearised, and the change of parameters that it leaves.

Notes
-----
Standard dynamics differentiates the network where the parameters are at each step; linearised dynamics trains
:math:`f_0 + \langle\nabla_\theta f_0, \theta - \theta_0\rangle`. For the latter and gradient descent, with or without
momentum and weight decay w, the parameters stay in a space of dimension n C + 1, and the steps are taken there:

.. math:: \theta_t = \sum_i \alpha_{t,i} \nabla_\theta f_0(x_i) + \beta_t \theta_0, \qquad \beta_0 = 1,

with :math:`\beta_t = 1` throughout if w = 0. Adam's steps leave that space and are taken in all coordinates. Linearised
descent on the squared loss has a closed form (`provable.training.linearised_networks`); the steps here serve the other
losses, stopping at a loss, weight decay and Adam.

Training is deterministic: on one machine the same input gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, losses, tangent_kernel, tangents, trace
from provable.networks.tangents import contract
from provable.observations import Observation
from provable.observations.labels import check_labels
from provable.training.dense_chain import DenseChain
from provable.training.optimisers import Adam, Optimiser

DYNAMICS = ("standard", "linearised")
"""Whether the network itself is trained, or its linearisation at the initial parameters."""

REDUCTIONS = ("sum", "mean")
"""How the losses of the samples are put together."""

MOST_STEPS = 10**9
"""More steps than these are refused."""


@dataclass(frozen=True, eq=False)
class Training:
    """A trained network.

    Attributes
    ----------
    initial : Parameters
        θ_0.
    change : Parameters
        θ_t - θ_0.
    losses : ndarray of shape (steps + 1,)
        The training loss before each step, where its gradient is taken, and after the last one; without the term of the
        weight decay.
    outputs : ndarray of shape (n, C)
        Outputs at the samples when training stops, of the linearisation if that is trained.
    stopped : {"steps", "loss"}
        Whether all steps were taken, or the target loss was reached.
    measure : Measure or None
        The samples with their coefficients α, for linearised descent: change = Φ μ + (β - 1) θ_0.
    initial_share : float
        β - 1: what weight decay has added of θ_0; zero without it, and not a number where `measure` is None.
    reduction : {"sum", "mean"}
        How the losses were put together.
    labels : ndarray
        The labels.
    """

    initial: Parameters
    change: Parameters
    losses: Float
    outputs: Float
    stopped: str
    measure: Measure | None
    initial_share: float
    reduction: str
    labels: NDArray[Any]

    @property
    def steps(self) -> int:
        """The number of steps that were taken.

        Returns
        -------
        int
            At most as many as were asked for.
        """
        return len(self.losses) - 1

    @property
    def trained(self) -> Parameters:
        """The parameters after training.

        Returns
        -------
        Parameters
            θ_t.
        """
        return Parameters(
            self.initial.architecture, {name: array + self.change[name] for name, array in self.initial.items()}
        )

    def observation(self, *, batch_size_known: bool = True, labels_known: bool = False) -> Observation:
        """What an observer of the parameters before and after training holds.

        Parameters
        ----------
        batch_size_known : bool, optional
            Whether the observation says n.
        labels_known : bool, optional
            Whether the observation says the labels.

        Returns
        -------
        Observation
            Of kind ``"parameter-change"``.
        """
        return Observation(
            kind="parameter-change",
            architecture=self.initial.architecture,
            parameters=self.initial,
            vector=dict(self.change),
            reduction=self.reduction,
            batch_size=len(self.outputs) if batch_size_known else None,
            labels=self.labels if labels_known else None,
        )


def train(
    architecture: Architecture,
    parameters: Parameters,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    optimiser: Optimiser,
    steps: int,
    target_loss: float | None = None,
    dynamics: str = "standard",
    reduction: str = "sum",
) -> Training:
    """Train a network on all samples at once.

    Parameters
    ----------
    architecture : Architecture
        The network and its loss.
    parameters : Parameters
        θ_0, float64.
    inputs : array_like of shape (n, *input_shape)
        The samples.
    labels : array_like of shape (n,) or (n, C)
        Their labels, as the loss wants them.
    optimiser : GradientDescent or Adam
        How steps are taken.
    steps : int
        The largest number of steps, from 0.
    target_loss : float, optional
        Stop as soon as the training loss (summed or averaged) is at most this.
    dynamics : {"standard", "linearised"}, optional
        Whether the network is trained or its linearisation at θ_0.
    reduction : {"sum", "mean"}, optional
        Whether the losses of the samples are added or averaged.

    Returns
    -------
    Training
        The change of the parameters, losses and outputs.

    Raises
    ------
    InputError
        If an argument does not fit, or training leaves the range of float64, with the step at which it did.
    UnsupportedError
        For a layer that cannot be evaluated.
    """
    if dynamics not in DYNAMICS:
        raise InputError(f"dynamics: found {dynamics!r:.60}; {' and '.join(DYNAMICS)} are accepted")
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction: found {reduction!r:.60}; {' and '.join(REDUCTIONS)} are accepted")
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 0 <= steps <= MOST_STEPS:
        raise InputError(f"steps: found {str(steps)[:40]!r}; an integer from 0 to {MOST_STEPS} is accepted")
    if target_loss is not None and not target_loss >= 0:
        raise InputError(f"target_loss: found {target_loss}; a nonnegative number is accepted")
    if parameters.kind != "float64":
        raise UnsupportedError(f"parameters: found {parameters.kind} numbers; training needs float64")
    points = np.asarray(inputs, dtype=np.float64)
    first = forward(architecture, parameters, points)
    if not len(first):
        raise InputError("inputs: found no samples; one or more are accepted")
    targets = check_labels(architecture, np.asarray(labels), len(points))
    factor = 1.0 / len(points) if reduction == "mean" else 1.0
    objective = _objective(architecture, parameters, points, targets, factor, dynamics, optimiser)
    vector = objective.start()
    history, outputs, stopped = _descend(objective, vector, optimiser, int(steps), target_loss)
    change, measure, share = objective.result(vector)
    return Training(parameters, change, history, outputs, stopped, measure, share, reduction, targets)


def _descend(
    objective: _Objective, vector: Float, optimiser: Optimiser, steps: int, target_loss: float | None
) -> tuple[Float, Float, str]:
    gradient, worker = np.empty_like(vector), optimiser.start(len(vector))
    history: list[float] = []
    stopped = "steps"
    for step in range(steps + 1):
        with np.errstate(over="ignore", invalid="ignore"):  # what diverges is reported below
            last = step == steps
            place = vector if last else worker.look_ahead(vector)
            loss = objective.evaluate(place, None if last else gradient)[0]
            history.append(loss)
            if not math.isfinite(loss):
                raise InputError(
                    f"learning_rate: found {optimiser.learning_rate:g}, with which training leaves the range of float64 at "
                    f"step {step}; a smaller one is accepted (linearised descent on the squared loss needs less than "
                    "2/λ_max of the tangent kernel)"
                )
            if target_loss is not None and loss <= target_loss:
                stopped = "loss"
                break
            if not last:
                worker.step(vector, gradient)
    return np.array(history), objective.evaluate(vector)[1], stopped


class _Objective(Protocol):
    """A loss of one flat vector."""

    def start(self) -> Float: ...

    def evaluate(self, theta: Float, gradient: Float | None = None) -> tuple[float, Float]: ...

    def result(self, theta: Float) -> tuple[Parameters, Measure | None, float]: ...


def _objective(
    architecture: Architecture,
    parameters: Parameters,
    points: Float,
    labels: NDArray[Any],
    factor: float,
    dynamics: str,
    optimiser: Optimiser,
) -> _Objective:
    if dynamics == "standard":
        chain = DenseChain.of(architecture, points, labels, factor=factor)
        return _Network(parameters, points, labels, factor, chain)
    outputs = np.asarray(forward(architecture, parameters, points))
    if isinstance(optimiser, Adam):
        jacobian = tangents(architecture, parameters, points).reshape(outputs.size, -1)
        return _EveryCoordinate(parameters, labels, factor, outputs, jacobian, parameters.vector())
    along = np.zeros_like(outputs)
    if optimiser.weight_decay:
        flat = parameters.vector()
        for index in range(len(points)):  # one sample's tangents at a time
            along[index] = tangents(architecture, parameters, points[index : index + 1])[0] @ flat
    kernel = np.asarray(tangent_kernel(architecture, parameters, points))
    return _Span(parameters, points, labels, factor, outputs, kernel, along)


@dataclass(eq=False)
class _Network:
    """The network itself, in all coordinates."""

    parameters: Parameters
    points: Float
    labels: NDArray[Any]
    factor: float
    chain: DenseChain | None

    def start(self) -> Float:
        return np.array(self.parameters.vector(), dtype=np.float64)

    def evaluate(self, theta: Float, gradient: Float | None = None) -> tuple[float, Float]:
        if self.chain is not None:
            return self.chain.evaluate(theta, gradient)
        architecture = self.parameters.architecture
        if not np.isfinite(theta).all():
            return math.inf, np.empty((0, 0))
        there = Parameters.from_vector(architecture, theta)
        traced = trace(architecture, there, self.points)
        loss, residual = _loss(architecture.loss, traced.output, self.labels, self.factor)
        if gradient is not None and math.isfinite(loss):
            gradient[:] = contract(architecture, there, traced, residual).vector()
        return loss, traced.output

    def result(self, theta: Float) -> tuple[Parameters, Measure | None, float]:
        change = Parameters.from_vector(self.parameters.architecture, theta - self.parameters.vector())
        return change, None, math.nan


@dataclass(eq=False)
class _EveryCoordinate:
    """The linearisation, in all coordinates: f_0 + J (θ - θ_0)."""

    parameters: Parameters
    labels: NDArray[Any]
    factor: float
    outputs: Float
    jacobian: Float
    origin: Float

    def start(self) -> Float:
        return self.origin.copy()

    def evaluate(self, theta: Float, gradient: Float | None = None) -> tuple[float, Float]:
        moved = self.jacobian @ (theta - self.origin)
        outputs = self.outputs + moved.reshape(self.outputs.shape)
        loss, residual = _loss(self.parameters.architecture.loss, outputs, self.labels, self.factor)
        if gradient is not None:
            np.matmul(residual.reshape(-1), self.jacobian, out=gradient)
        return loss, outputs

    def result(self, theta: Float) -> tuple[Parameters, Measure | None, float]:
        change = Parameters.from_vector(self.parameters.architecture, theta - self.origin)
        return change, None, math.nan


@dataclass(eq=False)
class _Span:
    """The linearisation, in the coordinates α and β of Σ α_i ∇f_0(x_i) + β θ_0, in which descent has the same steps."""

    parameters: Parameters
    points: Float
    labels: NDArray[Any]
    factor: float
    outputs: Float
    kernel: Float
    along: Float

    def start(self) -> Float:
        return np.append(np.zeros(self.outputs.size), 1.0)

    def evaluate(self, theta: Float, gradient: Float | None = None) -> tuple[float, Float]:
        moved = (self.kernel @ theta[:-1]).reshape(self.outputs.shape)
        outputs = self.outputs + moved + (theta[-1] - 1.0) * self.along
        loss, residual = _loss(self.parameters.architecture.loss, outputs, self.labels, self.factor)
        if gradient is not None:
            gradient[:-1], gradient[-1] = residual.reshape(-1), 0.0
        return loss, outputs

    def result(self, theta: Float) -> tuple[Parameters, Measure | None, float]:
        share = float(theta[-1] - 1.0)
        measure = Measure(self.points, theta[:-1].reshape(self.outputs.shape))
        image: Mapping[str, Float] = embed(self.parameters.architecture, self.parameters, measure)
        change = {name: piece + share * self.parameters[name] for name, piece in image.items()}
        return Parameters(self.parameters.architecture, change), measure, share


def _loss(name: str, outputs: Float, labels: NDArray[Any], factor: float) -> tuple[float, Float]:
    if not np.isfinite(outputs).all():
        return math.inf, np.zeros_like(outputs)
    value = float(np.sum(losses.value(name, outputs, labels)))
    return value * factor, np.asarray(losses.residual(name, outputs, labels)) * factor
