r"""What is known of a batch before any sample is: the spans of all layers, which of them are complete, and by how much.

The first row condition, x in the row space of the first layer's gradient, is linear and exact, and so is the last column
condition: they parametrise the sample and the direction of the loss. The others are searched.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Activation, Erf, Identity, Polynomial, Sigmoid, Tanh
from provable.recovery.batch.chain import FullyConnected, is_homogeneous
from provable.recovery.batch.span_check.spans import Span

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Spaces:
    """The spans of a fully connected network's gradient.

    Parameters
    ----------
    network : FullyConnected
        The network and its gradient.
    spans : tuple of Span or None
        One for each linear layer, None where the gradient of the weight was not observed.
    rank : int
        The largest rank: the number B of samples that can be told apart.
    """

    network: FullyConnected
    spans: tuple[Span | None, ...]
    rank: int

    @classmethod
    def of(cls, network: FullyConnected, precision: float) -> Spaces:
        """Decompose all gradients.

        Parameters
        ----------
        network : FullyConnected
            The network and its gradient.
        precision : float
            Unit of rounding of the observed numbers.

        Returns
        -------
        Spaces
            The spans.
        """
        spans = tuple(Span.of(layer, precision) for layer in network.layers)
        return cls(network, spans, max((span.rank for span in spans if span is not None), default=0))

    def complete(self, layer: int) -> Span | None:
        """The span of a layer, if its rank is that of the batch.

        Parameters
        ----------
        layer : int
            l, counted from 1.

        Returns
        -------
        Span or None
            None if its gradient was not observed or has a smaller rank: then its spaces are too small.
        """
        span = self.spans[layer - 1]
        return span if span is not None and span.rank == self.rank else None

    @property
    def depth(self) -> int:
        """The number L of linear layers."""
        return len(self.spans)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """Those behind the layers 1 to L - 1."""
        return tuple(layer.activation for layer in self.network.layers[:-1])

    @property
    def deeper(self) -> tuple[tuple[Float, Float | None], ...]:
        """Weights and biases of the layers 2 to L."""
        return tuple((layer.weight, layer.bias) for layer in self.network.layers[1:])

    @property
    def outputs(self) -> Float:
        """Basis of the directions that the loss may have at the last layer: the last column condition, solved."""
        last = self.complete(self.depth)
        return np.eye(len(self.network.last.weight)) if last is None else last.left

    @property
    def row_layers(self) -> tuple[int, ...]:
        """The layers l >= 2 whose inputs lie in a known space that is smaller than the whole."""
        return tuple(
            layer
            for layer in range(2, self.depth + 1)
            if (span := self.complete(layer)) is not None and span.right.shape[0] > self.rank
        )

    @property
    def column_layers(self) -> tuple[int, ...]:
        """The layers l < L whose sensitivities lie in a known space that is smaller than the whole."""
        return tuple(
            layer
            for layer in range(1, self.depth)
            if (span := self.complete(layer)) is not None and len(span.left) > self.rank
        )

    @property
    def mirrored(self) -> bool:
        """Whether the first hidden layer may confuse x and -x: it has no bias, and σ is odd up to a constant."""
        return self.network.first.bias is None and has_even_slope(self.network.first.activation)

    @property
    def even(self) -> bool:
        """Whether the network cannot tell x from -x: its first layer has no bias and an even activation."""
        first = self.network.first
        return (
            first.bias is None
            and isinstance(first.activation, Polynomial)
            and not any(first.activation.coefficients[1::2])
        )

    @property
    def degree(self) -> int:
        """How the network grows with its input, if no condition sees the norm of a sample.

        Returns
        -------
        int
            The degree of homogeneity k ≥ 1 of all hidden layers together; 0 if they have a bias, are not homogeneous, or if
            the last layer's extended input fixes the norm.
        """
        last = self.complete(self.depth)
        if last is not None and last.unit and self.depth in self.row_layers:
            return 0
        product = 1
        for layer in self.network.layers[:-1]:
            product *= 0 if layer.bias is not None else degree_of(layer.activation)
        return product

    @property
    def scale_free(self) -> bool:
        """Whether no condition sees the norm of a sample."""
        return self.degree > 0


def degree_of(activation: Activation) -> int:
    """Degree of homogeneity of an activation.

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    int
        k ≥ 1 with σ(tz) = tᵏσ(z) for t > 0; 0 if there is none.
    """
    if isinstance(activation, Polynomial):
        places = np.flatnonzero(activation.coefficients)
        return int(places[0]) if len(places) == 1 else 0
    return int(is_homogeneous(activation))


def has_even_slope(activation: Activation) -> bool:
    """Tell whether σ'(-z) = σ'(z).

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    bool
        True for tanh, sigmoid, erf, the identity and polynomials whose even part is constant.
    """
    if isinstance(activation, Polynomial):
        return not any(activation.coefficients[2::2])
    return isinstance(activation, Tanh | Sigmoid | Erf | Identity)


def has_affine_slope(activation: Activation) -> bool:
    """Tell whether σ' is affine, so that every point meets the first column condition.

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    bool
        True for polynomials of degree two at most and the identity.
    """
    if isinstance(activation, Polynomial):
        return not any(activation.coefficients[3:])
    return isinstance(activation, Identity)
