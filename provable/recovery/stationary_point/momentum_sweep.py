r"""Gradient descent with momentum on candidates and multipliers, over a sweep of hyper-parameters, as released.

The loss is :math:`\|\theta - \frac{1}{M} \sum_{j \le M} \nabla_\theta \langle \lambda_j s_j, \Phi(\theta; x_j) \rangle\|^2
+ c_\lambda \sum_j \max(\lambda_{\min} - \lambda_j, 0)^2 + c_p \sum_{jk} \max(|x_{jk}| - 1, 0)^2`, where :math:`s_j` says
which combination of the outputs sample j pulls at: its label, for one output. θ is not normalised. Runs of a sweep differ in
the size of the first candidates, the learning rate, :math:`\lambda_{\min}` and the sharpness of the slopes. The released code
pools all runs and reports the candidates nearest to the training data; here the run with the smallest distance from θ is
taken, which needs no training data.

References
----------
N. Haim, G. Vardi, G. Yehudai, O. Shamir, M. Irani, Reconstructing training data from trained neural networks, NeurIPS 2022,
arXiv:2206.07758, and its released code.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.errors import InputError
from provable.observations import Observation
from provable.recovery.parameter_matching.annealing import affordable_steps
from provable.recovery.parameter_matching.dense_relu import DenseReLU
from provable.recovery.parameter_matching.reconstruction_loss import ReconstructionLoss
from provable.recovery.stationary_point.modified_relu import ModifiedReLU, modified

Float = NDArray[np.float64]
Directions = Callable[[ModifiedReLU, Float], Float]
"""``directions(network, points)`` is s, of shape (M, C)."""

RELEASED_STEPS = 50_000
"""Steps of a run of the released attack."""

RANGES = {
    "image_scale": (1e-6, 0.1),
    "learning_rate": (1e-5, 1.0),
    "least_multiplier": (0.01, 0.5),
    "sharpness": (10.0, 500.0),
}
"""What the released sweep draws from: the first two with a uniform logarithm, the others uniformly."""


def _check_positive(holder: object, names: tuple[str, ...]) -> None:
    for name in names:
        value = getattr(holder, name)
        if not 0 < value < math.inf:
            raise InputError(f"{name}: found {value}; a positive number is accepted")


@dataclasses.dataclass(frozen=True)
class HyperParameters:
    """What one run of a sweep differs in from the others.

    Parameters
    ----------
    image_scale : float
        Standard deviation of the first candidates' entries.
    learning_rate : float
        Of the candidates.
    least_multiplier : float
        λ_min, below which multipliers are penalised.
    sharpness : float
        α of the smoothed slopes σ(αz).

    Raises
    ------
    InputError
        If a number is not positive.
    """

    image_scale: float
    learning_rate: float
    least_multiplier: float
    sharpness: float

    def __post_init__(self) -> None:
        _check_positive(self, tuple(RANGES))

    @classmethod
    def draw(cls, rng: np.random.Generator) -> HyperParameters:
        """Draw as the released sweep does.

        Parameters
        ----------
        rng : numpy.random.Generator
            The source.

        Returns
        -------
        HyperParameters
            From `RANGES`.
        """
        values = {}
        for name, (low, high) in RANGES.items():
            if name in ("image_scale", "learning_rate"):
                values[name] = float(np.exp(rng.uniform(np.log(low), np.log(high))))
            else:
                values[name] = float(rng.uniform(low, high))
        return cls(**values)


WINNERS = (
    HyperParameters(8.9e-4, 0.555, 0.498, 19.1),
    HyperParameters(4.5e-3, 0.346, 0.494, 21.7),
    HyperParameters(0.035, 0.0305, 0.447, 149.9),
    HyperParameters(1.7e-3, 0.282, 0.415, 19.2),
)
"""The published choices: two for CIFAR-10, two for MNIST."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What an attack does; the defaults are the released ones but for the numbers of steps and of runs.

    Parameters
    ----------
    steps : int
        Steps of each run; the released number is `RELEASED_STEPS`.
    runs : int
        Runs of the sweep: the published winners first, then random draws.
    candidates_per_sample : float
        M / N.
    momentum : float
        Of both learning rates.
    multiplier_learning_rate : float
        Of λ.
    multiplier_prior, range_prior : float
        c_λ and c_p.
    bounds : tuple of float
        Range of an entry without a penalty.
    first_runs : tuple of HyperParameters
        What the first runs use.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    steps: int = 3000
    runs: int = 8
    candidates_per_sample: float = 2.0
    momentum: float = 0.9
    multiplier_learning_rate: float = 1e-4
    multiplier_prior: float = 5.0
    range_prior: float = 1.0
    bounds: tuple[float, float] = (-1.0, 1.0)
    first_runs: tuple[HyperParameters, ...] = WINNERS

    def __post_init__(self) -> None:
        for name in ("steps", "runs"):
            if getattr(self, name) < 1:
                raise InputError(f"{name}: found {getattr(self, name)}; a positive integer is accepted")
        _check_positive(self, ("candidates_per_sample", "multiplier_learning_rate"))
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum: found {self.momentum}; a number from 0 to below 1 is accepted")
        for name in ("multiplier_prior", "range_prior"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name}: found {getattr(self, name)}; 0 and positive numbers are accepted")
        if not self.bounds[0] < self.bounds[1]:
            raise InputError(f"bounds: found {self.bounds}; a smaller and a larger number are accepted")

    def sweep(self, rng: np.random.Generator) -> tuple[HyperParameters, ...]:
        """Give the hyper-parameters of all runs.

        Parameters
        ----------
        rng : numpy.random.Generator
            Draws what `first_runs` leaves.

        Returns
        -------
        tuple of HyperParameters
            One for each run.
        """
        given = self.first_runs[: self.runs]
        return given + tuple(HyperParameters.draw(rng) for _ in range(self.runs - len(given)))


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What one run of a sweep ended at.

    Parameters
    ----------
    points : array of shape (M, d)
        Candidates.
    coefficients : array of shape (M, C)
        λ_j s_j / M.
    loss : float
        ‖θ - Σ_j …‖² / ‖θ‖² there, without priors and with the run's own smoothed slopes; infinite if it left the numbers.
    choice : HyperParameters
        What the run differed in.
    """

    points: Float
    coefficients: Float
    loss: float
    choice: HyperParameters


def stationarity_loss(observation: Observation) -> ReconstructionLoss:
    """Make the loss of a stationary point, with smoothed slopes.

    Parameters
    ----------
    observation : Observation
        Of kind ``stationary-point``, of a dense ReLU network.

    Returns
    -------
    ReconstructionLoss
        Its values and gradients take the sharpness α of the slopes.

    Raises
    ------
    UnsupportedError
        If the network is no dense ReLU chain.
    """
    network = DenseReLU.of(observation.architecture, observation.parameters)
    return ReconstructionLoss((modified(network),), observation.vector)


def relative_loss(
    observation: Observation, points: ArrayLike, coefficients: ArrayLike, *, sharpness: float | None = None
) -> float:
    """Evaluate the loss without priors, at the truth say.

    Parameters
    ----------
    observation : Observation
        Of kind ``stationary-point``, of a dense ReLU network.
    points : array of shape (n, *input_shape)
        Samples.
    coefficients : array of shape (n,) or (n, C)
        λ_i y_i, or what takes its place.
    sharpness : float, optional
        α of the smoothed slopes; 1[z > 0] without.

    Returns
    -------
    float
        ‖θ - Σ_i c_i ∇Φ(θ; x_i)‖² / ‖θ‖². Not zero at the truth, whose slopes are neither σ(αz) nor, at kinks, 0 or 1.
    """
    loss = stationarity_loss(observation)
    flat = np.asarray(points, dtype=np.float64)
    flat = flat.reshape(len(flat), -1)
    weights = np.asarray(coefficients, dtype=np.float64).reshape(1, len(flat), loss.outputs)
    return loss.value(flat, weights, sharpness) / loss.scale


def affordable(loss: ReconstructionLoss, count: int) -> Settings:
    """Give default settings, with fewer steps for large networks.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss.
    count : int
        Number of candidates M.

    Returns
    -------
    Settings
        Settings of a sweep that takes some minutes at most, unless 200 steps of each run take longer.
    """
    default = Settings()
    return dataclasses.replace(default, steps=affordable_steps(loss, default.runs * count, default.steps))


def swept(
    loss: ReconstructionLoss,
    directions: Directions,
    first_multipliers: Callable[[np.random.Generator], Float],
    settings: Settings,
    rng: np.random.Generator,
) -> tuple[Run, ...]:
    """Run a sweep.

    Parameters
    ----------
    loss : ReconstructionLoss
        As `stationarity_loss` makes it.
    directions : callable
        Gives s for candidates.
    first_multipliers : callable
        Draws λ, of shape (M, 1) or (M, C).
    settings : Settings
        What to do.
    rng : numpy.random.Generator
        Draws hyper-parameters, candidates and multipliers.

    Returns
    -------
    tuple of Run
        The smallest loss first.
    """
    found = []
    for choice in settings.sweep(rng):
        multipliers = first_multipliers(rng)
        points = choice.image_scale * rng.standard_normal((len(multipliers), loss.dimension))
        found.append(descended(loss, directions, points, multipliers, choice, settings))
    return tuple(sorted(found, key=_loss_of))


def descended(
    loss: ReconstructionLoss,
    directions: Directions,
    points: Float,
    multipliers: Float,
    choice: HyperParameters,
    settings: Settings,
) -> Run:
    """Make one run from given candidates.

    Parameters
    ----------
    loss : ReconstructionLoss
        As `stationarity_loss` makes it.
    directions : callable
        Gives s for candidates.
    points : array of shape (M, d)
        The first candidates.
    multipliers : array of shape (M, 1) or (M, C)
        Their λ.
    choice : HyperParameters
        Of this run.
    settings : Settings
        Of the sweep.

    Returns
    -------
    Run
        Where it ended.
    """
    network = loss.networks[0]
    assert isinstance(network, ModifiedReLU)
    values = [points.copy(), multipliers.copy()]
    velocities = [np.zeros_like(points), np.zeros_like(multipliers)]
    rates = (choice.learning_rate, settings.multiplier_learning_rate)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(settings.steps):
            gradients = _value_and_gradient(loss, network, directions, values, choice, settings)[1:]
            if not np.all(np.isfinite(gradients[0])):
                break
            for value, velocity, gradient, rate in zip(values, velocities, gradients, rates, strict=True):
                velocity *= settings.momentum
                velocity += gradient
                value -= rate * velocity
        coefficients = values[1] * directions(network, values[0]) / len(points)
        distance = loss.value(values[0], coefficients[None], choice.sharpness) / loss.scale
    return Run(values[0], coefficients, distance if np.isfinite(distance) else math.inf, choice)


def _value_and_gradient(
    loss: ReconstructionLoss,
    network: ModifiedReLU,
    directions: Directions,
    values: list[Float],
    choice: HyperParameters,
    settings: Settings,
) -> tuple[float, Float, Float]:
    """The whole loss, priors included, and its gradient by candidates and by multipliers."""
    points, multipliers = values
    signs = directions(network, points) / len(points)
    value, by_points, by_coefficients = loss.value_and_gradient(points, (multipliers * signs)[None], choice.sharpness)
    by_multipliers = by_coefficients[0] * signs
    if multipliers.shape[1] < signs.shape[1]:
        by_multipliers = by_multipliers.sum(axis=1, keepdims=True)
    outside = points - np.clip(points, *settings.bounds)
    missing = np.maximum(choice.least_multiplier - multipliers, 0.0)
    value += settings.range_prior * float(np.vdot(outside, outside))
    value += settings.multiplier_prior * float(np.vdot(missing, missing))
    return (
        value,
        by_points + 2 * settings.range_prior * outside,
        by_multipliers - 2 * settings.multiplier_prior * missing,
    )


def _loss_of(run: Run) -> float:
    return run.loss
