r"""Algorithm 2: a deep network whose weights the attacker chose so that Algorithm 1 applies to its last hidden layer.

Notes
-----
For :math:`f(x) = a \cdot \sigma_l(W_l \sigma_{l-1}(\cdots \sigma_1(W_1 x)))` with ReLUs in the first l - 1 layers,
:math:`W_1 = [I, -I, 0]^T`, identities behind it and last rows :math:`(z_j, -z_j, 0)` with :math:`z_j \sim N(0, I)` give
:math:`w_j \cdot h_{l-1}(x) = z_j \cdot x`; with leaky ReLUs of slopes :math:`\alpha_k` they give
:math:`(1 + \prod_k \alpha_k)\, z_j \cdot x`, which the last rows are divided by. With tanh or the sigmoid, identities give
:math:`h_{l-1}(x)` entry by entry: Algorithm 1 finds its direction, and its norm is the one whose preimage has norm 1. For the
sigmoid two norms do that, in general; the one that fits the ratios of moments of several orders is taken.

References
----------
Z. Wang, J. Lee, Q. Lei, Reconstructing training data from model gradient, provably, AISTATS 2023, Algorithm 2.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import scipy.special

from provable.architectures import Architecture
from provable.architectures.activations import Activation, LeakyReLU, ReLU, Sigmoid, Tanh
from provable.architectures.layers import Flatten, Linear
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters, forward
from provable.networks.activations import value
from provable.networks.hermite_coefficients import hermite_coefficient
from provable.observations import Observation
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.wang2023.errata import Erratum, Options
from provable.recovery.batch.wang2023.moments import weights_of_powers
from provable.recovery.batch.wang2023.two_layers import Estimate, TwoLayerGradient, algorithm_1

PRINTED_LEAKY_FACTOR = 1.01
"""The factor that Algorithm 2 divides by, whatever the depth."""

_NORMS_TRIED = 4096


@dataclasses.dataclass(frozen=True)
class _Chain:
    """Positions of the linear layers, and the activation behind each hidden one."""

    linear: tuple[int, ...]
    activations: tuple[Activation, ...]
    dimension: int

    @property
    def features(self) -> tuple[Activation, ...]:
        return self.activations[:-1]

    @property
    def is_linear(self) -> bool:
        return isinstance(self.activations[0], ReLU | LeakyReLU)


def _chain(architecture: Architecture) -> _Chain:
    layers = [(index, layer) for index, layer in enumerate(architecture.layers) if not isinstance(layer, Flatten)]
    linear, activations = layers[::2], [layer for _, layer in layers[1::2]]
    found = " ".join(layer.type for _, layer in layers)
    if (
        len(layers) % 2 == 0
        or not all(isinstance(layer, Linear) for _, layer in linear)
        or not all(isinstance(layer, Activation) for layer in activations)
        or len(activations) < 2
        or architecture.output_size != 1
    ):
        raise UnsupportedError(
            f"architecture: found {found} with {architecture.output_size} outputs; linear layers with an activation "
            "behind each hidden one, at least two hidden ones and one output are accepted"
        )
    behind = tuple(layer for layer in activations if isinstance(layer, Activation))
    families = ((ReLU, LeakyReLU), (Tanh, Sigmoid))
    if not any(all(isinstance(kind, family) for kind in behind[:-1]) for family in families):
        raise UnsupportedError(
            f"architecture: found {', '.join(kind.type for kind in behind[:-1])} before the last hidden layer; relu and "
            "leaky_relu, or tanh and sigmoid, are accepted"
        )
    chain = _Chain(tuple(index for index, _ in linear), behind, architecture.input_size)
    needed = 2 * chain.dimension if chain.is_linear else chain.dimension
    for index in chain.linear[:-2]:
        width = architecture.parameter_shapes[f"{index}/weight"][0]
        if width < needed:
            raise UnsupportedError(f"layer {index} (linear): has {width} neurons; at least {needed} are needed")
    return chain


def leaky_factor(activations: tuple[Activation, ...], *, as_printed: bool = False) -> float:
    """Give the factor with which crafted (leaky) ReLU layers pass an input on.

    Parameters
    ----------
    activations : tuple of Activation
        Those of the layers in front of the last hidden one, ReLUs and leaky ReLUs.
    as_printed : bool, optional
        Whether to give 1.01 as soon as one is leaky.

    Returns
    -------
    float
        h(x)₊ - h(x)₋ = factor · x: 1 plus the product of the slopes, 1 for ReLUs.
    """
    slopes = [kind.negative_slope if isinstance(kind, LeakyReLU) else 0.0 for kind in activations]
    if as_printed:
        return PRINTED_LEAKY_FACTOR if any(slopes) else 1.0
    return 1.0 + math.prod(slopes)


def crafted_parameters(
    architecture: Architecture,
    *,
    output_bias: float = 0.0,
    options: Options | None = None,
    rng: int | np.random.Generator | None = None,
) -> Parameters:
    """Choose the weights of Algorithm 2.

    Parameters
    ----------
    architecture : Architecture
        Linear layers with an activation behind each hidden one: relu and leaky_relu, or tanh and sigmoid, in front of the
        last hidden layer; any behind it; one output.
    output_bias : float, optional
        M, which needs a bias in the last layer if it is not zero.
    options : Options, optional
        Whether the leaky factor is as printed.
    rng : int or Generator, optional
        Seed or generator of the z_j.

    Returns
    -------
    Parameters
        The crafted weights; all biases zero but that of the output, which is M.

    Raises
    ------
    InputError
        If M is not zero and the last layer has no bias.
    UnsupportedError
        If the architecture is another one, or a layer is narrower than d (2d for relu and leaky_relu).
    """
    chain = _chain(architecture)
    chosen, generator = options or Options(), np.random.default_rng(rng)
    shapes = architecture.parameter_shapes
    arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
    for position, index in enumerate(chain.linear[:-2]):
        arrays[f"{index}/weight"] = _passing(chain, position, shapes[f"{index}/weight"])
    last = arrays[f"{chain.linear[-2]}/weight"]
    neurons = generator.standard_normal((len(last), chain.dimension))
    if chain.is_linear:
        neurons /= leaky_factor(chain.features, as_printed=chosen.printed(Erratum.LEAKY_FACTOR))
        last[:, chain.dimension : 2 * chain.dimension] = -neurons
    last[:, : chain.dimension] = neurons
    arrays[f"{chain.linear[-1]}/weight"][:] = 1 / len(last)
    bias = f"{chain.linear[-1]}/bias"
    if bias in arrays:
        arrays[bias][:] = output_bias
    elif output_bias != 0:
        raise InputError(
            f"output_bias: found {output_bias}; layer {chain.linear[-1]} (linear) has no bias, so 0 is accepted"
        )
    return Parameters(architecture, arrays)


def _passing(chain: _Chain, position: int, shape: tuple[int, ...]) -> Float:
    """The weight of a layer that passes the input on."""
    weight, dimension = np.zeros(shape), chain.dimension
    if position == 0:
        weight[:dimension] = np.eye(dimension)
        if chain.is_linear:
            weight[dimension : 2 * dimension] = -np.eye(dimension)
    else:
        size = 2 * dimension if chain.is_linear else dimension
        weight[:size, :size] = np.eye(size)
    return weight


def algorithm_2(
    observation: Observation,
    samples: int,
    *,
    options: Options | None = None,
    direction: Float | None = None,
    rng: int | np.random.Generator | None = None,
) -> Estimate:
    """Estimate the samples behind the gradient of a deep network with crafted weights.

    Parameters
    ----------
    observation : Observation
        A gradient at `crafted_parameters`, the last two weights' at least as far as `options` needs them.
    samples : int
        B, at most d.
    options : Options, optional
        Which gradient the moments are made of and which steps are run as printed; the leaky factor as it was crafted.
    direction : ndarray of shape (d,), optional
        The vector a of Remarks 3 and 4, as in `algorithm_1`.
    rng : int or Generator, optional
        Seed or generator, as in `algorithm_1`.

    Returns
    -------
    Estimate
        Points of norm 1; nan where no preimage exists, because an entry of the estimated feature is out of range.

    Raises
    ------
    InputError
        If the weights are not crafted.
    UnsupportedError
        If the architecture is another one, or Algorithm 1 does not apply to the last hidden layer.
    """
    chosen = options or Options()
    chain = _chain(observation.architecture)
    network = FullyConnected.of(observation)
    _check_crafted(chain, network)
    hidden, output, dimension = network.layers[-2], network.last, chain.dimension
    factor = 1.0
    neurons, gradient = hidden.weight[:, :dimension], hidden.weight_gradient
    if chain.is_linear:
        factor = leaky_factor(chain.features, as_printed=chosen.printed(Erratum.LEAKY_FACTOR))
        if gradient is not None:
            gradient = gradient[:, :dimension] - gradient[:, dimension : 2 * dimension]
    elif gradient is not None:
        gradient = gradient[:, :dimension]
    two_layers = TwoLayerGradient(
        weights=factor * neurons,
        output_weights=output.weight[0],
        activation=hidden.activation,
        output_weight_gradient=None if output.weight_gradient is None else output.weight_gradient[0],
        first_layer_gradient=None if gradient is None else gradient / factor,
        output_bias=0.0 if output.bias is None else float(output.bias[0]),
    )
    estimate = algorithm_1(two_layers, samples, options=chosen, direction=direction, rng=rng)
    if not chain.is_linear:
        estimate = _inverted(chain, two_layers, estimate, chosen)
    if chosen.printed(Erratum.DEEP_LABEL):
        labels = estimate.residuals
    else:
        finite = np.all(np.isfinite(estimate.points), axis=1)
        labels = np.full(len(finite), math.nan)
        inputs = estimate.points[finite].reshape(-1, *observation.architecture.input_shape)
        if len(inputs):
            outputs = forward(observation.architecture, observation.parameters, inputs)[:, 0]
            count = samples if observation.reduction == "mean" else 1
            labels[finite] = outputs - count * estimate.residuals[finite]
    return dataclasses.replace(estimate, labels=labels)


def _check_crafted(chain: _Chain, network: FullyConnected) -> None:
    for position, layer in enumerate(network.layers[:-1]):
        passing = position < len(network.layers) - 2
        if layer.bias is not None and np.any(layer.bias):
            raise InputError(
                f"parameters/{layer.index}/bias: is not zero; the weights of crafted_parameters are accepted"
            )
        if passing:
            crafted = np.array_equal(layer.weight, _passing(chain, position, layer.weight.shape))
        else:
            split = chain.dimension
            rest = layer.weight[:, 2 * split if chain.is_linear else split :]
            mirrored = not chain.is_linear or np.array_equal(
                layer.weight[:, split : 2 * split], -layer.weight[:, :split]
            )
            crafted = mirrored and not np.any(rest)
        if not crafted:
            raise InputError(
                f"parameters/{layer.index}/weight: is not crafted; those of crafted_parameters are accepted"
            )


def _image(activations: tuple[Activation, ...]) -> tuple[float, float]:
    """The open interval of values that the composed activations take."""
    ends = np.array([-math.inf, math.inf])
    for kind in activations:
        ends = value(kind, ends)
    return float(ends[0]), float(ends[1])


def _preimage(activations: tuple[Activation, ...], features: Float) -> Float:
    """σ₁⁻¹(…σ_k⁻¹(h)), entry by entry; not finite outside the image."""
    with np.errstate(all="ignore"):
        for kind in reversed(activations):
            features = np.arctanh(features) if isinstance(kind, Tanh) else scipy.special.logit(features)
    return features


def feature_norms(activations: tuple[Activation, ...], direction: Float) -> list[float]:
    """Find the norms of a feature for which its preimage has norm one.

    Parameters
    ----------
    activations : tuple of Activation
        Those in front of the feature, first to last, tanh or sigmoid.
    direction : ndarray of shape (d,)
        The feature divided by its norm.

    Returns
    -------
    list of float
        All α with ‖σ₁⁻¹(…σ_k⁻¹(α·direction))‖ = 1, ascending: one for tanh, up to two for the sigmoid. Where noise leaves
        none, the α that comes nearest; empty if the direction has no preimage at any norm.
    """
    low, high = _image(activations)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # each entry α h has to be in (low, high)
        bounds = np.sort(
            np.where(direction == 0, np.array([[-math.inf], [math.inf]]), np.array([[low], [high]]) / direction), axis=0
        )
    if np.any(direction == 0) and not low < 0 < high:
        return []
    least, most = max(float(np.max(bounds[0])), 0.0), float(np.min(bounds[1]))
    if not least < most or not math.isfinite(most):
        return []

    def excess(norms: Float) -> Float:
        sizes = np.linalg.norm(_preimage(activations, np.multiply.outer(norms, direction)), axis=-1)
        return np.asarray(np.where(np.isfinite(sizes), sizes - 1, math.inf))

    # denser towards both ends, where the preimage grows without bound
    places = least + (most - least) * (1 - np.cos(np.linspace(0, math.pi, _NORMS_TRIED)[1:-1])) / 2
    values = excess(places)
    found = []
    for index in np.flatnonzero(np.signbit(values[1:]) != np.signbit(values[:-1])):
        found.append(
            _bisected(lambda norm: float(excess(np.array(norm))), float(places[index]), float(places[index + 1]))
        )
    return found or [float(places[int(np.argmin(np.abs(values)))])]


def _bisected(function: Callable[[float], float], left: float, right: float) -> float:
    """A zero between two places of different signs, to the last digit."""
    negative_left = function(left) < 0
    while True:
        middle = (left + right) / 2
        if not left < middle < right:
            return middle
        if (function(middle) < 0) == negative_left:
            left = middle
        else:
            right = middle


def _inverted(chain: _Chain, network: TwoLayerGradient, estimate: Estimate, options: Options) -> Estimate:
    """Give the estimated directions of features their norms, and take the preimages."""
    directions, weights = estimate.points, estimate.weights
    symmetries = estimate.symmetries
    positive = _image(chain.features)[0] >= 0
    order = estimate.orders[1]
    if positive:
        # the sigmoid's features are positive, which tells the sign of each direction; λ turns with it at odd orders
        signs = np.where(np.sum(directions, axis=1) < 0, -1.0, 1.0)
        directions, symmetries = signs[:, None] * directions, ()
        weights = signs * weights if order == 3 else weights
    # other orders tell which of two norms it is: their weights are r c_p(norm) with the same r
    basis, moments = estimate.subspace, network.moments(options.observed)
    others = [k for k in (1, 2, 3) if k != order and network.coefficients[k]]
    seen = {k: weights_of_powers(moments.inside(basis, k), basis.T @ directions.T) for k in others}
    points, residuals = np.full(directions.shape, math.nan), np.full(len(directions), math.nan)
    for sample, direction in enumerate(directions):
        fits = []
        for norm in feature_norms(chain.features, direction):
            coefficients = {k: float(hermite_coefficient(network.activation, k, norm)) for k in (*others, order)}
            residual = weights[sample] / coefficients[order]
            misfit = sum((residual * coefficients[k] / seen[k][sample] - 1) ** 2 for k in others)
            fits.append((misfit, norm, residual))
        if fits:
            _, norm, residuals[sample] = min(fits)
            points[sample] = _preimage(chain.features, norm * direction)
    return dataclasses.replace(estimate, points=points, residuals=residuals, weights=weights, symmetries=symmetries)
