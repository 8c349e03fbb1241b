"""The gradient of the loss over a batch: the tangent embedding of the measure with the residuals as coefficients."""

from __future__ import annotations

from typing import Any

from provable import arithmetic
from provable.architectures import Architecture
from provable.errors import InputError
from provable.networks import losses
from provable.networks.evaluation import trace
from provable.networks.parameters import Parameters
from provable.networks.tangents import contract

REDUCTIONS = ("sum", "mean")
"""How losses of samples are put together."""


def loss_gradient(
    architecture: Architecture, parameters: Parameters, inputs: Any, labels: Any, *, reduction: str = "sum"
) -> Parameters:
    """The gradient of the batch loss with respect to all parameters.

    Parameters
    ----------
    architecture : Architecture
        The network, and the loss.
    parameters : Parameters
        Where the gradient is taken.
    inputs : array_like of shape (n, *input_shape)
        Samples.
    labels : array_like
        As for ``provable.networks.losses.value``.
    reduction : {"sum", "mean"}
        Whether the losses of the samples are added or averaged.

    Returns
    -------
    Parameters
        Σ_j Σ_k (∂ℓ/∂f_k)(x_j) ∇_θ f_k(x_j; θ), divided by n for the mean.

    Raises
    ------
    InputError
        If inputs or labels do not fit, the reduction is unknown, or a mean is taken over no samples.
    UnsupportedError
        For a layer that cannot be evaluated; the message names it.
    """
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction: found {reduction!r:.60}; {', '.join(REDUCTIONS)} are accepted")
    traced = trace(architecture, parameters, inputs)
    count = len(traced.output)
    if reduction == "mean" and not count:
        raise InputError("inputs: found no samples with the reduction mean; one or more are accepted")
    residuals = losses.residual(architecture.loss, traced.output, labels)
    if reduction == "mean":
        residuals = residuals / arithmetic.constant(count, residuals)
    return contract(architecture, parameters, traced, residuals)
