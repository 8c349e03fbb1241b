"""Inverses of the activations: from an output to the only pre-activation that has it."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.special
from numpy.typing import NDArray

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
from provable.errors import UnsupportedError
from provable.networks.activations import derivative

Float = NDArray[np.float64]

INACTIVE = 2.0**-40
"""A ReLU's output below this multiple of the largest one is taken for zero: rounding, not activity."""


@dataclasses.dataclass(frozen=True)
class Inverse:
    """The pre-activations behind the outputs of an activation.

    Parameters
    ----------
    values : array
        z with s(z) = x where `known`, otherwise some number.
    known : array of bool
        Where x determines z.
    slopes : array
        s'(z); 0 where a ReLU is inactive.
    """

    values: Float
    known: NDArray[np.bool_]
    slopes: Float


def refusal(activation: Activation) -> str | None:
    """Tell why an activation cannot be inverted.

    Parameters
    ----------
    activation : Activation
        The activation.

    Returns
    -------
    str or None
        The reason, or None for those that `invert` accepts: injective ones, and the ReLU, whose active outputs
        determine their pre-activations.
    """
    match activation:
        case LeakyReLU() if activation.negative_slope <= 0:
            return f"has the negative slope {activation.negative_slope:g}; a positive one makes it invertible"
        case ELU() if activation.alpha <= 0:
            return f"has alpha = {activation.alpha:g}; a positive one makes it invertible"
        case GELU() | SiLU():
            return "takes some values twice; an injective activation is needed"
        case Polynomial() if len(_trimmed(activation)) != 2:
            return "is a polynomial whose degree is not 1; degree 1 is accepted"
    return None


def invert(activation: Activation, outputs: Float) -> Inverse:
    """Invert an activation.

    Parameters
    ----------
    activation : Activation
        One without `refusal`.
    outputs : array
        x = s(z), with rounding errors.

    Returns
    -------
    Inverse
        Unknown where x is no value of the activation, or where the ReLU gives zero.

    Raises
    ------
    UnsupportedError
        For an activation without an inverse here.
    """
    smallest = np.finfo(np.float64).tiny
    below_one = np.nextafter(1.0, 0.0)
    known = np.ones(outputs.shape, dtype=np.bool_)
    with np.errstate(all="ignore"):
        match activation:
            case ReLU():
                known = outputs > INACTIVE * float(np.max(outputs, initial=0.0))
                return Inverse(np.where(known, outputs, 0.0), known, known.astype(np.float64))
            case LeakyReLU():
                values = np.where(outputs > 0, outputs, outputs / activation.negative_slope)
            case Tanh():
                known = np.abs(outputs) < 1
                values = np.arctanh(np.clip(outputs, -below_one, below_one))
            case Erf():
                known = np.abs(outputs) < 1
                values = scipy.special.erfinv(np.clip(outputs, -below_one, below_one))
            case Sigmoid():
                known = (outputs > 0) & (outputs < 1)
                values = scipy.special.logit(np.clip(outputs, smallest, below_one))
            case Softplus():
                known = outputs > 0
                inside = np.maximum(outputs, smallest)
                values = np.where(inside > 1, inside + np.log1p(-np.exp(-inside)), np.log(np.expm1(inside)))
            case ELU():
                known = outputs > -activation.alpha
                inside = np.maximum(outputs, -activation.alpha * below_one)
                values = np.where(inside > 0, inside, np.log1p(np.minimum(inside, 0.0) / activation.alpha))
            case Polynomial():
                constant, slope = _trimmed(activation)
                values = (outputs - constant) / slope
            case Identity():
                values = outputs
            case _:
                raise UnsupportedError(
                    f"{activation.type}: inverting this activation needs an implementation of its inverse"
                )
        return Inverse(values, known, np.asarray(derivative(activation, values)))


def _trimmed(activation: Polynomial) -> tuple[float, ...]:
    """Coefficients without leading zeros."""
    numbers = activation.coefficients
    while numbers and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers
