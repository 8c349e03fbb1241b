"""Frozen descriptions of the activation functions; their values and derivatives live in ``provable.networks``."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from provable.architectures import fields
from provable.architectures.fields import Shape

LONGEST_POLYNOMIAL = 256
"""The largest number of coefficients of a polynomial activation."""


@dataclass(frozen=True)
class Layer:
    """What every layer description can say about itself.

    Attributes
    ----------
    type : str
        The name of the layer in ``provable-architecture/1``.
    """

    type: ClassVar[str]

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample; unchanged unless the layer says otherwise.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one input sample, without the batch axis.

        Returns
        -------
        tuple of int
            Shape of one output sample.
        """
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shapes of the parameters; none unless the layer says otherwise.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one input sample, without the batch axis.

        Returns
        -------
        dict of str to tuple of int
            ``"weight"`` before ``"bias"``.
        """
        return {}


@dataclass(frozen=True)
class Activation(Layer):
    """A function applied to every entry."""


@dataclass(frozen=True)
class ReLU(Activation):
    """max(z, 0)."""

    type: ClassVar[str] = "relu"


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """z for z > 0 and slope · z otherwise.

    Parameters
    ----------
    negative_slope : float
        The slope left of zero.
    """

    type: ClassVar[str] = "leaky_relu"
    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        slope = fields.finite(self.negative_slope, f"{self.type}.negative_slope")
        object.__setattr__(self, "negative_slope", slope)


@dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent."""

    type: ClassVar[str] = "tanh"


@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + exp(-z))."""

    type: ClassVar[str] = "sigmoid"


@dataclass(frozen=True)
class Softplus(Activation):
    """log(1 + exp(z))."""

    type: ClassVar[str] = "softplus"


@dataclass(frozen=True)
class Erf(Activation):
    """The error function (2/√π) ∫₀ᶻ exp(-t²) dt."""

    type: ClassVar[str] = "erf"


@dataclass(frozen=True)
class GELU(Activation):
    """z · P(N(0, 1) ≤ z), with the exact Gaussian distribution function."""

    type: ClassVar[str] = "gelu"


@dataclass(frozen=True)
class SiLU(Activation):
    """z / (1 + exp(-z))."""

    type: ClassVar[str] = "silu"


@dataclass(frozen=True)
class ELU(Activation):
    """z for z > 0 and α · (exp(z) - 1) otherwise.

    Parameters
    ----------
    alpha : float
        Minus the limit at -∞.
    """

    type: ClassVar[str] = "elu"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", fields.finite(self.alpha, f"{self.type}.alpha"))


@dataclass(frozen=True)
class Identity(Activation):
    """The function z."""

    type: ClassVar[str] = "identity"


@dataclass(frozen=True)
class Polynomial(Activation):
    """A polynomial of every entry.

    Parameters
    ----------
    coefficients : tuple of float
        Lowest degree first.
    """

    type: ClassVar[str] = "polynomial"
    coefficients: tuple[float, ...] = dataclasses.field()

    def __post_init__(self) -> None:
        name = f"{self.type}.coefficients"
        values = fields.sequence(self.coefficients, name, longest=LONGEST_POLYNOMIAL, of="finite numbers")
        numbers = tuple(fields.finite(value, f"{name}[{index}]") for index, value in enumerate(values))
        object.__setattr__(self, "coefficients", numbers)
