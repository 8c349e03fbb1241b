r"""The degree of homogeneity of a network in its parameters, in all of them together and layer by layer.

Notes
-----
A network is positively homogeneous of degree L if Φ(cθ; x) = c^L Φ(θ; x) for all c > 0. In a chain the degree of every
intermediate value follows from that of the value before it:

* an input has degree 0, and stays so under anything that has no parameters;
* a linear layer or a convolution without bias adds 1; with a bias it must meet a value of degree 0, because W h + b mixes
  the degree of h plus one with the degree of b, which is one;
* ReLU, leaky ReLU, identity, pooling and flattening keep the degree;
* a monomial z^p multiplies it by p;
* a residual block needs branches of one degree.

With the degree m_l in the parameters of layer l alone, Euler's identity ⟨θ_l, ∂Φ/∂θ_l⟩ = m_l Φ holds for each layer, and
L = Σ_l m_l. For ReLU networks without biases behind the first layer all m_l are one and L is the number of layers.
"""

from __future__ import annotations

from collections.abc import Sequence

from provable.architectures import (
    Activation,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
)
from provable.errors import InputError

ACCEPTED = "relu, leaky_relu, identity and monomials are accepted"


def _not_homogeneous(path: str, layer: Layer, found: str, accepted: str) -> InputError:
    return InputError(f"layer {path} ({layer.type}): found {found}, so the network is not homogeneous; {accepted}")


def _power(layer: Polynomial, path: str) -> int:
    powers = [power for power, coefficient in enumerate(layer.coefficients) if coefficient != 0]
    if len(powers) == 1:
        return powers[0]
    found = (
        f"a polynomial with terms of degrees {', '.join(map(str, powers))}" if powers else "a polynomial that is zero"
    )
    raise _not_homogeneous(path, layer, found, "a monomial is accepted")


def _after(layer: Layer, path: str, degree: int) -> int:
    """The degree of a layer's output."""
    match layer:
        case Linear() | Conv2d():
            if layer.bias and degree:
                found = f"a bias, of degree 1, beside a term of degree {degree + 1}"
                raise _not_homogeneous(path, layer, found, "a bias is accepted in the first layer only")
            return degree + 1
        case Residual():
            straight = _through(layer.layers, f"{path}.", degree)
            around = _through(layer.shortcut, f"{path}.shortcut.", degree)
            if straight != around:
                found = f"branches of degrees {straight} and {around} (shortcut)"
                raise _not_homogeneous(path, layer, found, "branches of one degree are accepted")
            return straight
        case Polynomial():
            return _power(layer, path) * degree if degree else 0
        case ReLU() | LeakyReLU() | Identity() | Flatten() | AvgPool2d() | MaxPool2d():
            return degree
        case BatchNorm2d():
            raise _not_homogeneous(path, layer, "a normalisation with an offset", "networks without it are accepted")
        case Activation():
            if degree:
                raise _not_homogeneous(path, layer, "an activation that is not homogeneous", ACCEPTED)
            return degree
    raise _not_homogeneous(
        path, layer, "a layer whose degree is not known", "linear layers and convolutions are accepted"
    )


def _through(chain: Sequence[Layer], prefix: str, degree: int) -> int:
    for index, layer in enumerate(chain):
        degree = _after(layer, f"{prefix}{index}", degree)
    return degree


def degree_of_homogeneity(architecture: Architecture) -> int:
    """The degree L with Φ(cθ; x) = c^L Φ(θ; x) for all c > 0.

    Parameters
    ----------
    architecture : Architecture
        The network: linear layers and convolutions (a bias in the first of them only), ReLU, leaky ReLU, identity, monomials,
        pooling, flattening and residual blocks with branches of one degree. In front of the first layer that has parameters
        any activation may stand.

    Returns
    -------
    int
        L ≥ 1.

    Raises
    ------
    InputError
        If the network is not homogeneous, or of degree zero; the message names the layer.
    """
    degree = _through(architecture.layers, "", 0)
    if degree == 0:
        raise InputError(
            f"layers: found an output of {architecture.name} that does not depend on the parameters' size; "
            "a network of degree 1 or more is accepted"
        )
    return degree


def layer_degrees(architecture: Architecture) -> dict[str, int]:
    """The degree m_l of a homogeneous chain in the parameters of each layer alone, weight and bias together.

    Parameters
    ----------
    architecture : Architecture
        A homogeneous network without residual blocks.

    Returns
    -------
    dict of str to int
        By the layer's path, for the layers that have parameters; the degrees add up to `degree_of_homogeneity`.

    Raises
    ------
    InputError
        If the network is not homogeneous, or has a residual block, which has no degree in the layers inside.
    """
    degree_of_homogeneity(architecture)
    degrees: dict[str, int] = {}
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Residual):
            raise InputError(f"layer {index} (residual): found a residual block; a chain of layers is accepted")
        if isinstance(layer, Linear | Conv2d):
            degrees[str(index)] = 1
        elif isinstance(layer, Polynomial) and degrees:
            power = _power(layer, str(index))
            degrees = {path: degree * power for path, degree in degrees.items()}
    return degrees
