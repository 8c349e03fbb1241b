r"""The attack of Loo, Hasani, Lechner, Amini and Rus, as released: Adam on the reconstruction loss of 2N candidates.

The candidates start at Gaussian noise; ReLU is replaced by :math:`\mathrm{softplus}(\beta_t z) / \beta_t` with
:math:`\beta_t = \min(10 + 10^{t/20000}, 200)` in value and derivative. The loss takes the mean of duals times outputs, so
that coefficients are duals / (M C).

Notes
-----
What the released code does wrong is left out: only the squared loss is there, and coefficients have their factor 1/(M C).

References
----------
N. Loo, R. Hasani, M. Lechner, A. Amini, D. Rus, Understanding reconstruction attacks with the neural tangent kernel and
dataset distillation, ICLR 2024, arXiv:2302.01428v2, section 3 and the released code.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import embed
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found, relative_misfit
from provable.recovery.method import Method
from provable.recovery.parameter_matching.dense_relu import reason_against
from provable.recovery.parameter_matching.reconstruction_loss import FEATURES, ReconstructionLoss
from provable.recovery.result import Recovery

Float = NDArray[np.float64]

NAME = "loo2024"

RELEASED_STEPS = 80_000
"""Steps of the released attack; with fewer, the sharpness of softplus runs through the same values faster."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the attack does; the defaults are the released ones but for the number of steps.

    Parameters
    ----------
    steps : int
        Steps of Adam.
    candidates_per_sample : float
        M / N.
    learning_rate : float
        Of Adam.
    image_scale, dual_width : float
        Standard deviation of the first candidates, and width of the interval around 0 that duals are drawn from.
    last_sharpness : float
        Largest β.
    prior : float
        Weight of the squared distances from the bounds, of which the mean over entries is taken, times M.
    bounds : tuple of float, optional
        Smallest and largest value of an entry of an image; without them there is no prior.
    features : {"initial", "final", "both", "middle"}
        Where tangents are taken; see `ReconstructionLoss.of`.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    steps: int = 8000
    candidates_per_sample: float = 2.0
    learning_rate: float = 0.02
    image_scale: float = 0.2
    dual_width: float = 1.0
    last_sharpness: float = 200.0
    prior: float = 0.1
    bounds: tuple[float, float] | None = None
    features: str = "initial"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"steps: found {self.steps}; a positive integer is accepted")
        for name in ("candidates_per_sample", "learning_rate", "image_scale", "dual_width", "last_sharpness"):
            value = getattr(self, name)
            if not 0 < value < np.inf:
                raise InputError(f"{name}: found {value}; a positive number is accepted")
        if self.bounds is not None and not self.bounds[0] < self.bounds[1]:
            raise InputError(f"bounds: found {self.bounds}; a smaller and a larger number are accepted")
        if self.features not in FEATURES:
            raise InputError(f"features: found {self.features!r:.60}; {', '.join(FEATURES)} are accepted")

    def sharpness(self, step: int) -> float:
        """Give β of a step.

        Parameters
        ----------
        step : int
            From 0 to ``steps``.

        Returns
        -------
        float
            10 + 10^(t/20000), at most ``last_sharpness``, with t the step of the released attack at the same share of its
            80 000.
        """
        return min(10.0 + float(10.0 ** (4.0 * step / self.steps)), self.last_sharpness)


RELEASED = Settings(steps=RELEASED_STEPS)
"""The released attack."""


class SparseAdam:
    """Adam that passes over entries whose gradient is zero, and counts steps entry by entry.

    Parameters
    ----------
    values : array
        Where to begin; changed in place.
    learning_rate : float
        Size of the first steps.
    """

    def __init__(self, values: Float, learning_rate: float) -> None:
        self.values = values
        self._learning_rate = learning_rate
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)
        self._steps = np.zeros_like(values)

    def step(self, gradient: Float) -> None:
        """Make one step.

        Parameters
        ----------
        gradient : array
            The gradient, in the shape of the values.
        """
        seen = gradient != 0
        self._steps += seen
        self._mean = np.where(seen, 0.9 * self._mean + 0.1 * gradient, self._mean)
        self._square = np.where(seen, 0.999 * self._square + 0.001 * gradient * gradient, self._square)
        # Entries that have not moved yet have a count of zero, and no mean to be corrected.
        count = np.maximum(self._steps, 1.0)
        size = np.sqrt(self._square / (1 - 0.999**count)) + 1e-8
        self.values -= np.where(seen, self._learning_rate * self._mean / (1 - 0.9**count) / size, 0.0)


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it is a change of the parameters of a dense ReLU network by training on a known number of samples, otherwise
        the reason why not.
    """
    if observation.kind != "parameter-change":
        return f"it needs a change of parameters, and the observation is of kind {observation.kind}"
    if (reason := reason_against(observation.architecture)) is not None:
        return reason
    if number_of_samples(observation) is None:
        return "the number of samples is not known, and the attack takes twice as many candidates"
    return None


def number_of_samples(observation: Observation) -> int | None:
    """Find out the size of the training set.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    int or None
        The stated size or the number of labels; None if neither is known.
    """
    if observation.batch_size is None and observation.labels is not None:
        return len(observation.labels)
    return observation.batch_size


def attack(observation: Observation, rng: np.random.Generator, settings: Settings | None = None) -> Recovery:
    """Run the attack.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws the first candidates and their duals.
    settings : Settings, optional
        What to do; the released attack in a tenth of its steps by default.

    Returns
    -------
    Recovery
        All M candidates with their coefficients (for both kinds of features, those at θ). The status is ``failed``: the
        attack has no test by which candidates could be told from training data.

    Raises
    ------
    UnsupportedError
        If the observation is not supported.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    options = settings or Settings()
    loss = ReconstructionLoss.of(observation, options.features)
    if loss.scale == 0.0:
        return nothing_found(observation, NAME, "the parameters did not change, so that no sample left a trace")
    samples = number_of_samples(observation)
    assert samples is not None
    count = max(1, round(options.candidates_per_sample * samples))
    start = options.image_scale * rng.standard_normal((count, loss.dimension))
    duals = options.dual_width * (rng.random((len(loss.networks), count, loss.outputs)) - 0.5)
    points, coefficients, value = minimised(loss, start, duals, options)
    if not (np.all(np.isfinite(points)) and np.all(np.isfinite(coefficients))):
        return nothing_found(observation, NAME, "the candidates ran away to numbers that are not finite")
    shaped = points.reshape(count, *observation.architecture.input_shape)
    image = embed(observation.architecture, observation.parameters, Measure(shaped, coefficients[0]))
    residual = relative_misfit(image, observation.vector)
    return Recovery(
        shaped,
        coefficients[0],
        None,
        residual if np.isfinite(residual) else 1.0,
        NAME,
        ("permutation",),
        "failed",
        reason=(
            f"{count} candidates for {samples} samples after {options.steps} steps, at a relative loss of "
            f"{value / loss.scale:.2g}; the attack has no test for which of them are samples"
        ),
    )


def minimised(loss: ReconstructionLoss, points: Float, duals: Float, options: Settings) -> tuple[Float, Float, float]:
    """Minimise the loss from given candidates.

    Parameters
    ----------
    loss : ReconstructionLoss
        The loss.
    points : array of shape (M, d)
        The first candidates.
    duals : array of shape (number of networks, M, C)
        Their duals.
    options : Settings
        What to do.

    Returns
    -------
    points : array of shape (M, d)
        The last candidates.
    coefficients : array of shape (number of networks, M, C)
        Their coefficients, duals / (M C).
    value : float
        The loss there without the prior, with ReLU.
    """
    per_dual = 1.0 / (len(points) * loss.outputs)
    images, weights = (SparseAdam(start.copy(), options.learning_rate) for start in (points, duals))
    for step in range(options.steps):
        with np.errstate(over="ignore", invalid="ignore"):
            value, by_points, by_coefficients = loss.value_and_gradient(
                images.values, per_dual * weights.values, options.sharpness(step)
            )
        if not np.isfinite(value):
            break
        if options.bounds is not None:
            # The mean over all entries times M is the sum divided by d.
            outside = images.values - np.clip(images.values, *options.bounds)
            by_points = by_points + 2 * options.prior / loss.dimension * outside
        images.step(by_points)
        weights.step(per_dual * by_coefficients)
    coefficients = per_dual * weights.values
    return images.values, coefficients, loss.value(images.values, coefficients)


METHOD = Method(NAME, supports, attack, automatic=False)
"""The attack, for `recover` by name."""
