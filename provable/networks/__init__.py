"""Evaluation of networks: values, per-sample gradients, tangent embedding and kernel, losses; in every arithmetic."""

from provable.networks.evaluation import Trace, forward, trace
from provable.networks.gradients import loss_gradient
from provable.networks.parameters import Parameters
from provable.networks.second_derivatives import GradientJacobian, gradient_jacobian
from provable.networks.tangent_gram import tangent_gram, tangent_gram_memory
from provable.networks.tangents import Cotangents, backpropagate, embed, tangent_kernel, tangents

__all__ = [
    "Cotangents",
    "GradientJacobian",
    "Parameters",
    "Trace",
    "backpropagate",
    "embed",
    "forward",
    "gradient_jacobian",
    "loss_gradient",
    "tangent_gram",
    "tangent_gram_memory",
    "tangent_kernel",
    "tangents",
    "trace",
]
