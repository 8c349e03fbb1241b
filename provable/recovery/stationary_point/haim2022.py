r"""The attack of Haim, Vardi, Yehudai, Shamir and Irani on the parameters of a trained network, as released.

The parameters of a homogeneous classifier that was trained long enough satisfy :math:`\theta = \sum_i \lambda_i y_i
\nabla_\theta \Phi(\theta; x_i)` with :math:`\lambda_i \ge 0`; the attack looks for candidates and multipliers that do so as
well. There are 2N candidates, half of each label.

Notes
-----
The published numbers pool the candidates of many runs and keep those nearest to the training data. Here the run with the
smallest loss is taken, so that no training data enters. A small loss does not tell that candidates are training data: see
the theorem ``haim2022.zeros_that_are_not_data``.

References
----------
N. Haim, G. Vardi, G. Yehudai, O. Shamir, M. Irani, Reconstructing training data from trained neural networks, NeurIPS 2022,
arXiv:2206.07758, and its released code.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import embed
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found, relative_misfit
from provable.recovery.method import Method
from provable.recovery.parameter_matching.dense_relu import DenseReLU, reason_against
from provable.recovery.parameter_matching.loo2024 import number_of_samples
from provable.recovery.result import Recovery
from provable.recovery.stationary_point.modified_relu import ModifiedReLU, has_late_biases
from provable.recovery.stationary_point.momentum_sweep import Run, Settings, affordable, stationarity_loss, swept

Float = NDArray[np.float64]

NAME = "haim2022"


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it is the stationary point of a homogeneous dense ReLU network with one output and logistic loss, of a known
        number of samples; otherwise the reason why not.
    """
    if (reason := reason_against_dense(observation)) is not None:
        return reason
    if observation.architecture.loss != "logistic":
        return f"it needs labels ±1 and logistic loss, and the loss is {observation.architecture.loss}"
    return reason_against_homogeneity(observation)


def reason_against_dense(observation: Observation) -> str | None:
    """Tell what every attack of this kind needs and an observation lacks.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it is a stationary point of a dense ReLU network, of a known number of samples.
    """
    if observation.kind != "stationary-point":
        return f"it needs the parameters of a trained network, and the observation is of kind {observation.kind}"
    if (reason := reason_against(observation.architecture)) is not None:
        return reason
    if number_of_samples(observation) is None:
        return (
            "the number of samples is not known (batch_size or labels), and the attack takes twice as many candidates"
        )
    return None


def reason_against_homogeneity(observation: Observation) -> str | None:
    """Tell why a dense ReLU network is not homogeneous in its parameters.

    Parameters
    ----------
    observation : Observation
        Of a dense ReLU network.

    Returns
    -------
    str or None
        None if no layer behind the first has a bias.
    """
    network = DenseReLU.of(observation.architecture, observation.parameters)
    if has_late_biases(network):
        late = next(bias for _, bias in network.keys[1:] if bias is not None)
        return f"the network is not homogeneous: there is {late}, and the first layer alone may have a bias"
    return None


def balanced_labels(count: int) -> Float:
    """Give the labels of the candidates.

    Parameters
    ----------
    count : int
        M.

    Returns
    -------
    array of shape (M, 1)
        -1 for the first half and 1 for the other.
    """
    return np.where(np.arange(count) < count // 2, -1.0, 1.0)[:, None]


def sweep(observation: Observation, rng: np.random.Generator, settings: Settings | None = None) -> tuple[Run, ...]:
    """Run the whole sweep.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws hyper-parameters, candidates and multipliers.
    settings : Settings, optional
        What to do.

    Returns
    -------
    tuple of Run
        All runs, the smallest loss first.

    Raises
    ------
    UnsupportedError
        If the observation is not supported.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    options = settings or Settings()
    labels = balanced_labels(number_of_candidates(observation, options))

    def directions(network: ModifiedReLU, points: Float) -> Float:
        return labels

    def first_multipliers(generator: np.random.Generator) -> Float:
        return generator.random((len(labels), 1))

    return swept(stationarity_loss(observation), directions, first_multipliers, options, rng)


def number_of_candidates(observation: Observation, settings: Settings) -> int:
    """Give the number of candidates.

    Parameters
    ----------
    observation : Observation
        Of a known number of samples.
    settings : Settings
        Say how many there are per sample.

    Returns
    -------
    int
        M, one at least.
    """
    samples = number_of_samples(observation)
    assert samples is not None
    return max(1, round(settings.candidates_per_sample * samples))


def attack(observation: Observation, rng: np.random.Generator, settings: Settings | None = None) -> Recovery:
    """Run the attack.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws hyper-parameters, candidates and multipliers.
    settings : Settings, optional
        What to do; by default fewer steps for large networks.

    Returns
    -------
    Recovery
        All candidates of the run with the smallest loss, with coefficients λ_j y_j / M. The status is ``failed``: the attack
        has no test by which candidates could be told from training data.

    Raises
    ------
    UnsupportedError
        If the observation is not supported.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    options = settings or affordable(stationarity_loss(observation), number_of_candidates(observation, Settings()))
    runs = sweep(observation, rng, options) if np.any(observation.parameters.vector()) else ()
    return recovery_of(observation, NAME, runs)


def recovery_of(observation: Observation, name: str, runs: tuple[Run, ...]) -> Recovery:
    """Make the answer of an attack that has no test.

    Parameters
    ----------
    observation : Observation
        What was observed.
    name : str
        The method.
    runs : tuple of Run
        The runs, the smallest loss first; none if all parameters are zero.

    Returns
    -------
    Recovery
        With status ``failed``.
    """
    if not runs:
        return nothing_found(observation, name, "all parameters are zero, so that no sample left a trace")
    best = runs[0]
    if not np.isfinite(best.loss):
        return nothing_found(observation, name, f"the candidates of all {len(runs)} runs ran away from finite numbers")
    points = best.points.reshape(-1, *observation.architecture.input_shape)
    image = embed(observation.architecture, observation.parameters, Measure(points, best.coefficients))
    residual = relative_misfit(image, observation.vector)
    return Recovery(
        points,
        best.coefficients,
        None,
        residual if np.isfinite(residual) else 1.0,
        name,
        ("permutation",),
        "failed",
        reason=(
            f"{len(points)} candidates for {number_of_samples(observation)} samples at a relative loss of {best.loss:.2g}, "
            f"the least of {len(runs)} runs; the attack has no test for which of them are samples"
        ),
    )


METHOD = Method(NAME, supports, attack, automatic=False)
"""The attack, for `recover` by name."""
