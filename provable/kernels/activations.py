"""Which activations have a kernel here, and the dual that belongs to each."""

from __future__ import annotations

from provable.architectures.activations import (
    ELU,
    GELU,
    Activation,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.errors import InputError, UnsupportedError
from provable.kernels.arc_cosine import PiecewiseLinear
from provable.kernels.arc_sine import ErrorFunction, GaussianGate
from provable.kernels.dual_activations import DualActivation
from provable.kernels.hermite_series import HermiteSeries
from provable.kernels.polynomial_dual import PolynomialDual

NAMED: tuple[type[Activation], ...] = (
    ReLU,
    LeakyReLU,
    Identity,
    Erf,
    GELU,
    Tanh,
    Sigmoid,
    Softplus,
    SiLU,
)
"""Activations that can be asked for by name, with their default parameters."""


def described(activation: str | Activation) -> Activation:
    """Turn a name into the description of an activation.

    Parameters
    ----------
    activation : str or Activation
        A name of ``provable-architecture/1`` or a description.

    Returns
    -------
    Activation
        The description.

    Raises
    ------
    InputError
        For anything else.
    """
    if isinstance(activation, Activation):
        return activation
    for description in NAMED:
        if description.type == activation:
            return description()
    names = ", ".join(description.type for description in NAMED)
    raise InputError(f"activation: found {activation!r:.60}; {names} and descriptions of activations are accepted")


def dual(activation: str | Activation) -> DualActivation:
    """The dual of an activation.

    Parameters
    ----------
    activation : str or Activation
        A name or a description.

    Returns
    -------
    DualActivation
        Its expectations over Gaussian pairs.

    Raises
    ------
    UnsupportedError
        If it has no implementation, or none that is accurate.
    """
    match found := described(activation):
        case ReLU():
            return PiecewiseLinear(0.0)
        case LeakyReLU() as leaky:
            return PiecewiseLinear(leaky.negative_slope)
        case Identity():
            return PiecewiseLinear(1.0)
        case Erf():
            return ErrorFunction()
        case GELU():
            return GaussianGate()
        case Tanh() | Sigmoid() | Softplus() | SiLU():
            return HermiteSeries(found)
        case Polynomial():
            return PolynomialDual(found.coefficients)
        case ELU():
            raise UnsupportedError(
                "elu: its second derivative jumps, so that its Hermite series converges too slowly for its digits to be "
                "right; it would need a quadrature over the quadrants"
            )
    raise UnsupportedError(f"{found.type}: its kernel needs an implementation")
