"""The method ``wang2023``: the estimate of Algorithm 1 as it is, without refinement, for comparison."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.batch.chain import FullyConnected, numerical_rank, reason_against
from provable.recovery.batch.judgement import judge
from provable.recovery.batch.wang2023.errata import Erratum, Options
from provable.recovery.batch.wang2023.two_layers import Estimate, TwoLayerGradient, algorithm_1
from provable.recovery.method import Method
from provable.recovery.result import Recovery

NAME = "wang2023"

STANDARD_ERRORS = 6.0
"""Mean and kurtosis of the first weights may be this many standard errors from those of a normal distribution."""


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it applies, otherwise the reason why not.
    """
    if observation.kind == "stationary-point":
        return "it needs weights that were drawn, and those of a stationary-point were trained"
    if (reason := reason_against(observation)) is not None:
        return reason
    network = FullyConnected.of(observation)
    first, last = network.first, network.last
    if len(network.layers) != 2 or observation.architecture.output_size != 1:
        return (
            f"found {len(network.layers)} linear layers and {observation.architecture.output_size} outputs; two layers and "
            "one output are accepted"
        )
    if last.activation.type != "identity":
        return f"a {last.activation.type} follows the last linear layer; none is accepted"
    if first.bias is not None and np.any(first.bias):
        return f"layer {first.index} (linear) has a bias that is not zero; the moments are those of neurons without one"
    if first.weight_gradient is None and last.weight_gradient is None:
        return "neither the gradient of the first weight nor that of the last was observed"
    if last.weight_gradient is None and not np.all(last.weight):
        return f"layer {last.index} (linear) has zero weights, and its gradient was not observed"
    if observation.unit_norm is False:
        return "the norms of the inputs are not known, and the moments are those of inputs of norm one"
    if not _is_normal(first.weight):
        return f"layer {first.index} (linear): the weights are not independent normal numbers with mean zero"
    return None


def _is_normal(weight: Float) -> bool:
    spread = float(np.sqrt(np.mean(weight**2)))
    if not 0 < spread < math.inf:
        return False
    standard = weight / spread
    # standard errors of the mean and of the kurtosis of n normal numbers: 1/√n and √(24/n)
    mean, kurtosis = float(np.mean(standard)), float(np.mean(standard**4)) - 3
    scale = STANDARD_ERRORS / math.sqrt(weight.size)
    return abs(mean) <= scale and abs(kurtosis) <= math.sqrt(24) * scale


def two_layer_gradient(observation: Observation) -> TwoLayerGradient:
    """Read the network and its gradient with weights divided by their standard deviation s, so that samples have norm s.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.

    Returns
    -------
    TwoLayerGradient
        Coefficients are those of the observation, whatever the reduction; points are to be divided by `norm`.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    network = FullyConnected.of(observation)
    first, last = network.first, network.last
    spread = float(np.sqrt(np.mean(first.weight**2)))
    return TwoLayerGradient(
        weights=first.weight / spread,
        output_weights=last.weight[0],
        activation=first.activation,
        output_weight_gradient=None if last.weight_gradient is None else last.weight_gradient[0],
        first_layer_gradient=None if first.weight_gradient is None else spread * first.weight_gradient,
        output_bias=0.0 if last.bias is None else float(last.bias[0]),
        norm=spread,
    )


def estimate(observation: Observation, *, options: Options | None = None, rng: np.random.Generator) -> Estimate:
    """Run Algorithm 1 on an observation.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    options : Options, optional
        Which gradient the moments are made of and which steps are run as printed; by default no step, and ∂L/∂W if it
        was observed behind output weights that are not zero.
    rng : numpy.random.Generator
        Source of everything random.

    Returns
    -------
    Estimate
        Points of norm one, coefficients as the observation has them, and the labels that they mean under squared loss.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason, the number of samples is neither stated nor visible, or the moments do not carry them.
    """
    gradient = two_layer_gradient(observation)
    if options is None:
        usable = gradient.first_layer_gradient is not None and bool(np.all(gradient.output_weights))
        options = Options(observed="first layer" if usable else "output weights")
    raw = algorithm_1(gradient, _samples(observation, gradient), options=options, rng=rng)
    labels = raw.labels
    if observation.reduction == "mean" and not options.printed(Erratum.LABEL):
        labels = gradient.outputs(raw.points) - len(raw.points) * raw.residuals
    return dataclasses.replace(raw, points=raw.points / gradient.norm, labels=labels)


def _samples(observation: Observation, gradient: TwoLayerGradient) -> int:
    if observation.batch_size is not None:
        return observation.batch_size
    if observation.labels is not None:
        return len(observation.labels)
    if gradient.first_layer_gradient is None:
        raise UnsupportedError(f"method {NAME}: batch_size is not stated, and ∂L/∂a does not show it")
    return numerical_rank(gradient.first_layer_gradient)


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Estimate a batch as Algorithm 1 does, and judge the estimate as it is.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Source of everything random.

    Returns
    -------
    Recovery
        Almost always ``failed``, with the estimate and its residual: averages over m random neurons have an error of order
        √(d/m), which no acceptance test for exact gradients lets pass.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    try:
        raw = estimate(observation, rng=rng)
    except (InputError, UnsupportedError) as error:
        return nothing_found(observation, NAME, str(error))
    width, dimension = FullyConnected.of(observation).first.weight.shape
    remark = f"an estimate from moments has an error of order √(d/m) = {math.sqrt(dimension / width):.2g}, and is not refined"
    points = raw.points.reshape(-1, *observation.architecture.input_shape)
    # "incomplete" keeps the judgement from refining; a whole batch that is not explained has failed, though
    judged = judge(observation, points, raw.residuals[:, None], method=NAME, rng=rng, reason=remark, incomplete=True)
    return dataclasses.replace(judged, status="failed") if judged.status == "partial" else judged


METHOD = Method(NAME, supports, recover, automatic=False)
