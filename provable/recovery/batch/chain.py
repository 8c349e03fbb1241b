r"""A fully connected network and its observed gradients, as the matrices that the recovery of a batch works with.

Layer :math:`l = 1, \dots, L` has :math:`s_l = W_l h_{l-1} + b_l`, :math:`h_l = \sigma_l(s_l)`, :math:`h_0 = x`. Over a batch,
with :math:`\Delta_l = (\delta_l(x_1), \dots, \delta_l(x_B))` the sensitivities, coefficients included, and
:math:`H_l = (h_l(x_1), \dots, h_l(x_B))`,

.. math:: \frac{\partial L}{\partial W_l} = \Delta_l H_{l-1}^T, \qquad \frac{\partial L}{\partial b_l} = \Delta_l 1 .
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from provable.architectures import (
    Activation,
    Erf,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Tanh,
)
from provable.arithmetic import EPSILON
from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.symmetries import scaling_name

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class LinearLayer:
    """One linear layer, the activation behind it, and what was observed of its gradient.

    Parameters
    ----------
    index : int
        Position in ``architecture.layers``; parameters and pieces of the gradient carry it in their names.
    weight : array of shape (m, k)
        W.
    bias : array of shape (m,) or None
        b.
    activation : Activation
        σ; `Identity` if nothing follows.
    weight_gradient : array of shape (m, k) or None
        The gradient of W, None if it was not observed.
    bias_gradient : array of shape (m,) or None
        The gradient of b, None if it was not observed or there is no bias.
    """

    index: int
    weight: Float
    bias: Float | None
    activation: Activation
    weight_gradient: Float | None
    bias_gradient: Float | None

    @property
    def gradient(self) -> Float | None:
        """What was observed, one row per neuron: [∂L/∂W, ∂L/∂b], [∂L/∂W], or None without ∂L/∂W."""
        if self.weight_gradient is None or self.bias_gradient is None:
            return self.weight_gradient
        return np.column_stack([self.weight_gradient, self.bias_gradient])


@dataclasses.dataclass(frozen=True, eq=False)
class FullyConnected:
    """A chain of linear layers with activations between them.

    Parameters
    ----------
    layers : tuple of LinearLayer
        In the order of evaluation; at least one.
    """

    layers: tuple[LinearLayer, ...]

    @property
    def first(self) -> LinearLayer:
        """The layer that sees the input."""
        return self.layers[0]

    @property
    def last(self) -> LinearLayer:
        """The layer that gives the output."""
        return self.layers[-1]

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Symmetries of the embedding that every atom has on its own, whatever was observed.

        ``"joint-sign"`` if no layer has a bias and every activation is odd, (x, c) and (-x, -c) having the same image;
        ``"positive-scaling"`` if no layer has a bias and every activation is positively homogeneous of degree one,
        (x, c) and (t x, c / t) having the same image, and ``"positive-scaling:p"`` if they are monomials or piecewise linear
        and their degrees have the product p > 1, (x, c) and (t x, c / tᵖ) having the same image; ``"point-sign"`` if the
        network is an even function of x, (x, c) and (-x, c) having the same image, because an even activation comes first
        or behind odd ones, and no layer up to it has a bias.
        """
        kinds = [layer.activation for layer in self.layers]
        found = []
        for layer in self.layers:
            if layer.bias is not None:
                break
            if is_even(layer.activation):
                found.append("point-sign")
            if not is_odd(layer.activation):
                break
        if any(layer.bias is not None for layer in self.layers):
            return tuple(found)
        if all(map(is_odd, kinds)):
            found.append("joint-sign")
        degrees = [homogeneity(kind) for kind in kinds]
        if all(degrees):
            found.append(scaling_name(math.prod(degrees)))
        return tuple(found)

    @property
    def is_piecewise_affine(self) -> bool:
        """Whether samples with the same active neurons are to the network what their weighted mean may be."""
        kinds = (layer.activation for layer in self.layers)
        return all(isinstance(kind, ReLU | LeakyReLU) or is_affine(kind) for kind in kinds)

    @classmethod
    def of(cls, observation: Observation) -> FullyConnected:
        """Read a network and its observed gradient.

        Parameters
        ----------
        observation : Observation
            One for which `reason_against` has no reason.

        Returns
        -------
        FullyConnected
            The matrices.

        Raises
        ------
        UnsupportedError
            If the network is no such chain; the message names the layer.
        """
        if (reason := reason_against(observation)) is not None:
            raise UnsupportedError(reason)
        layers: list[LinearLayer] = []
        for index, layer in enumerate(observation.architecture.layers):
            if isinstance(layer, Linear):
                layers.append(
                    LinearLayer(
                        index,
                        observation.parameters[f"{index}/weight"],
                        observation.parameters[f"{index}/bias"] if layer.bias else None,
                        Identity(),
                        observation.vector.get(f"{index}/weight"),
                        observation.vector.get(f"{index}/bias"),
                    )
                )
            elif isinstance(layer, Activation) and not isinstance(layer, Identity):
                layers[-1] = dataclasses.replace(layers[-1], activation=plain(layer))
        return cls(tuple(layers))


def is_odd(activation: Activation) -> bool:
    """Tell whether σ(-z) = -σ(z).

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    bool
        True for tanh, erf, the identity and odd polynomials.
    """
    if isinstance(activation, Polynomial):
        return not any(activation.coefficients[::2])
    return isinstance(activation, Tanh | Erf | Identity)


def is_even(activation: Activation) -> bool:
    """Tell whether σ(-z) = σ(z).

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    bool
        True for even polynomials.
    """
    return isinstance(activation, Polynomial) and not any(activation.coefficients[1::2])


def homogeneity(activation: Activation) -> int:
    """Give the p with σ(tz) = tᵖσ(z) for t > 0.

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    int
        1 for the piecewise linear ones, the degree of a monomial of positive degree, 0 if there is no such p > 0.
    """
    if isinstance(activation, Polynomial):
        degrees = np.flatnonzero(activation.coefficients)
        return int(degrees[0]) if len(degrees) == 1 else 0
    return int(is_homogeneous(activation))


def is_homogeneous(activation: Activation) -> bool:
    """Tell whether σ(tz) = tσ(z) for t > 0.

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    bool
        True for the piecewise linear ones.
    """
    return isinstance(activation, ReLU | LeakyReLU | Identity)


def plain(activation: Activation) -> Activation:
    """Call an activation by its simplest name.

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    Activation
        The identity for a leaky ReLU of slope one and the polynomial z, ReLU for a leaky ReLU of slope zero; otherwise σ.
    """
    if isinstance(activation, LeakyReLU) and activation.negative_slope in (0.0, 1.0):
        return Identity() if activation.negative_slope else ReLU()
    if isinstance(activation, Polynomial) and activation.coefficients[:2] == (0.0, 1.0) and is_affine(activation):
        return Identity()
    return activation


def is_affine(activation: Activation) -> bool:
    """Tell whether σ is an affine function, under whatever name.

    Parameters
    ----------
    activation : Activation
        σ.

    Returns
    -------
    bool
        True for the identity, a leaky ReLU of slope one and polynomials of degree one at most.
    """
    if isinstance(activation, Polynomial):
        return not any(activation.coefficients[2:])
    return isinstance(activation, Identity) or (isinstance(activation, LeakyReLU) and activation.negative_slope == 1)


def reason_against(observation: Observation) -> str | None:
    """Tell why an observation is not a sum of tangents of a fully connected network.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it is, otherwise what is in the way.
    """
    linear_seen, bent = False, False
    for position, layer in enumerate(observation.architecture.layers):
        if isinstance(layer, Linear):
            linear_seen, bent = True, False
        elif isinstance(layer, Flatten | Identity):
            continue
        elif not isinstance(layer, Activation):
            return f"layer {position} ({layer.type}) is neither linear, nor flatten, nor an activation"
        elif not linear_seen:
            return f"layer {position} ({layer.type}) comes before the first linear one; flatten alone may"
        elif bent:
            return f"layer {position} ({layer.type}) is a second activation behind one linear layer; one is accepted"
        else:
            bent = True
    return None if linear_seen else "the architecture has no linear layer"


def numerical_rank(matrix: Float, precision: float = EPSILON) -> int:
    """Count the singular values above the level of rounding.

    Parameters
    ----------
    matrix : array of shape (m, k)
        Finite numbers.
    precision : float, optional
        Unit of rounding of the entries, as `provable.recovery.batch.precision.precision` finds it.

    Returns
    -------
    int
        How many singular values exceed 16 (√m + √k) times the unit of rounding times the largest magnitude of an entry:
        independent errors of that size per entry have a spectral norm of at most (√m + √k) times it, up to a small
        factor, and the products behind an entry cancel.
    """
    largest = float(np.max(np.abs(matrix), initial=0.0))
    if largest == 0.0:
        return 0
    # A power of two keeps squares of very large and very small numbers finite.
    power = -int(np.frexp(largest)[1])
    singular = np.linalg.svd(np.ldexp(matrix, power), compute_uv=False)
    level = 16 * precision * (math.sqrt(matrix.shape[0]) + math.sqrt(matrix.shape[1])) * math.ldexp(largest, power)
    return int(np.count_nonzero(singular > level))
