r"""A network that is homogeneous in its parameters satisfies Euler's identity with the number of its layers.

Let a network consist of linear and convolution layers, max and average pooling, flattening, residual blocks and activations
that are positively homogeneous of degree one (ReLU, leaky ReLU, identity). Let biases stand only where no parameters come
before, and let every path from the input to the output cross L layers with parameters. Then f(x; tθ) = t^L f(x; θ) for t > 0,
and ⟨∇_θ f_k(x; θ), θ⟩ = L f_k(x; θ) for every output k, every x and every θ, kinks included. In a chain, that is without
residual blocks, each layer contributes the same: ⟨∂f_k/∂W_l, W_l⟩ (plus ⟨∂f_k/∂b_1, b_1⟩ in the first one) = f_k.

Notes
-----
The degree D of a layer's output in θ is counted along the network: the input has degree 0, a linear or convolution layer adds
one, an activation of degree p multiplies by p, pooling and flattening change nothing and the two branches of a residual block
have to agree. A bias has degree one, so it fits only where the layer's input has degree 0:

.. math:: (tW)(t^D h) + tb = t^{D+1} (Wh + b) \quad\text{for all } t \iff D = 0 \text{ or } b = 0 .

The general statement is ⟨∇_θ f, θ⟩ = D f; monomial activations z^p are tried as well, and for them the l-th layer of a chain
contributes f times the product of the exponents behind it. An activation in front of the first layer sees no parameters
and may be anything. Layers in parallel branches need not contribute f each: for f = ax + bx with ax = 2 and bx = 3, L is 1
and f = 5, of which one branch contributes 2 and the other 3.

At a kink the identity holds for every choice s of the derivative, since there s·0 = 0 = σ(0): it is an identity for every
element of the Clarke subdifferential that backpropagation can produce.

Source: Euler; used for the norm of KKT points by Haim et al. (arXiv:2206.07758), whose released code has a bias in the first
layer only. Proof and degree count are derived here; the theorem's wording in that paper was not read.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import (
    Activation,
    Architecture,
    AvgPool2d,
    Conv2d,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    SiLU,
    Softplus,
    Tanh,
)
from provable.arithmetic import BALL, FLOAT64, MODULAR, RATIONAL
from provable.networks import Parameters, forward, tangents
from provable.theorems import Source, Theorem, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies import gaussian_arrays, readable_arrays

theorem = Theorem(
    statement=r"""If a network consists of linear and convolution layers, max and average pooling, flattening, residual blocks
    and activations that are positively homogeneous of degree one (ReLU, leaky ReLU, identity), if biases stand only where no
    parameters come before, and if all paths cross L layers with parameters, then f(x; t\theta) = t^L f(x; \theta) for t > 0
    and \langle \nabla_\theta f_k(x; \theta), \theta \rangle = L f_k(x; \theta). In a chain, without residual blocks, each
    layer contributes f_k(x; \theta).""",
    source=Source("derived", note="Euler's theorem; used against arXiv:2206.07758"),
    expected="proved",
)

BIASES, ACTIVATIONS, PATHS = "biases in the first layer only", "homogeneous activations", "paths of equal length"
HOMOGENEOUS = (ReLU(), LeakyReLU(negative_slope=0.25), Identity())
SQUARE, CUBE = Polynomial((0.0, 0.0, 1.0)), Polynomial((0.0, 0.0, 0.0, 2.0))


@dataclass(frozen=True)
class ScaledNetwork:
    """A network at θ with samples, and a factor t > 0."""

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    factor: float


def exponent(activation):
    """The p with σ(tz) = t^p σ(z) for t > 0, or None."""
    if isinstance(activation, ReLU | LeakyReLU | Identity):
        return 1
    if isinstance(activation, Polynomial):
        powers = [power for power, number in enumerate(activation.coefficients) if number]
        return powers[0] if len(powers) == 1 and powers[0] else None
    return None


def count_degree(layers, degree, faults):
    """Degree in θ of the output of a chain whose input has a given degree; what breaks homogeneity goes into `faults`."""
    for layer in layers:
        if isinstance(layer, Activation):
            if degree and exponent(layer) is None:
                faults.add(ACTIVATIONS)
            degree *= exponent(layer) or 1
        elif isinstance(layer, Linear | Conv2d):
            if layer.bias and degree:
                faults.add(BIASES)
            degree += 1
        elif isinstance(layer, Residual):
            straight = count_degree(layer.layers, degree, faults)
            around = count_degree(layer.shortcut, degree, faults)
            if straight != around:
                faults.add(PATHS)
            degree = max(straight, around)
    return degree


def degree_and_faults(case):
    """The degree of the network, and the set of broken hypotheses."""
    faults = set()
    return count_degree(case.architecture.layers, 0, faults), faults


def with_numbers(draw, architecture, *, samples=1, spread=False):
    """Give an architecture parameters, inputs and a factor; readable numbers come from one choice, which shrinks fast."""
    size = samples * architecture.input_size
    count = size + architecture.parameter_count
    numbers = draw(gaussian_arrays((count,)) if spread else readable_arrays((count,)))
    inputs = numbers[:size].reshape(samples, *architecture.input_shape)
    factor = draw(st.sampled_from((2.0, 0.5, 3.0, 1.25)))
    return ScaledNetwork(architecture, Parameters.from_vector(architecture, numbers[size:]), inputs, factor)


@theorem.instances
def homogeneous_networks(draw):
    activations = draw(st.sampled_from((HOMOGENEOUS, (Identity(),), (*HOMOGENEOUS, SQUARE), (SQUARE, CUBE))))
    first_bias, convolution = draw(st.booleans()), draw(st.integers(0, 3)) == 3
    depth, width = draw(st.integers(1, 3 if convolution else 4)), draw(st.integers(1, 2))
    layers, shape = [], (draw(st.integers(1, 2)),)
    if convolution:
        shape = (1, 3, 3)
        pooling = draw(st.sampled_from(((), (MaxPool2d(2),), (AvgPool2d(2),))))
        layers = [Conv2d(width, 2, bias=first_bias), draw(st.sampled_from(activations)), *pooling, Flatten()]
        depth -= 1
    for index in range(depth):
        linear = Linear(draw(st.integers(1, 2)) if index == depth - 1 else width, bias=first_bias and not layers)
        layers.append(Residual((linear,), shortcut=(linear,)) if draw(st.integers(0, 4)) == 4 else linear)
        if index < depth - 1:
            layers.append(draw(st.sampled_from(activations)))
    powers = any(isinstance(layer, Polynomial) for layer in layers)  # powers of 53-bit numbers are long rationals
    spread = not powers and draw(st.integers(0, 3)) == 3
    architecture = Architecture("drawn", shape, tuple(layers), "squared")
    return with_numbers(draw, architecture, samples=draw(st.integers(1, 2)), spread=spread)


def chain(depth, activation, biases, *, skip=False):
    """A chain with one input and output, of width 2; `biases` says which layers have one."""
    layers = []
    for index in range(depth):
        linear = Linear(1 if index == depth - 1 else 2, bias=biases[index])
        layers.extend((Residual((linear,)) if skip and 0 < index < depth - 1 else linear, activation))
    return Architecture(f"depth {depth}", (1,), tuple(layers[:-1]), "squared")


def drawn_from(*menu):
    """Instances for a false twin, from a short list of architectures: few choices shrink fast."""
    return st.composite(lambda draw: with_numbers(draw, draw(st.sampled_from(menu))))()


FIRST_BIAS = (True, False, False)
HOMOGENEOUS_CHAINS = drawn_from(
    *(chain(depth, activation, FIRST_BIAS) for depth in (1, 2, 3) for activation in HOMOGENEOUS)
)


@theorem.hypothesis(BIASES)
def biases_see_no_parameters(case):
    return BIASES not in degree_and_faults(case)[1]


@theorem.hypothesis(ACTIVATIONS)
def activations_are_homogeneous(case):
    return ACTIVATIONS not in degree_and_faults(case)[1]


@theorem.hypothesis(PATHS)
def branches_have_one_degree(case):
    return PATHS not in degree_and_faults(case)[1]


@theorem.degenerate
def output_is_zero(case):
    return not np.any(forward(case.architecture, case.parameters, case.inputs))


def size_of_sums(case):
    """Bound on all intermediate sums: the output with every number replaced by its absolute value; None for exact numbers."""
    if case.parameters.kind != "float64":
        return None
    absolute = case.parameters.map_numbers(np.abs)
    return np.abs(forward(case.architecture, absolute, np.abs(case.inputs))).max()


def contributions(case, t):
    """⟨∂f/∂W_l, W_l⟩ + ⟨∂f/∂b_l, b_l⟩ for every layer l of a plain chain, shape (n, C) each, by the layer's index."""
    result, start = {}, 0
    for name, array in case.parameters.items():
        block = t[..., start : start + array.size] @ array.reshape(-1)
        index = int(name.split("/")[0])
        result[index] = result[index] + block if index in result else block
        start += array.size
    return result


def euler(case, degree):
    """The checks with a given degree D."""
    f = forward(case.architecture, case.parameters, case.inputs)
    t, theta = tangents(case.architecture, case.parameters, case.inputs), case.parameters.vector()
    # every path through the network is a product of D factors and D sums of at most `wide` terms
    size, wide = size_of_sums(case), max(12, len(theta))
    k, magnitude = 4 * degree + wide, None if size is None else degree * size
    yield equal(t @ theta, f * degree, operations=k, magnitude=magnitude, name="⟨∇f, θ⟩ = D f")
    power = case.factor**degree
    scaled = forward(case.architecture, case.parameters.map_numbers(lambda a: a * case.factor), case.inputs)
    magnitude = None if size is None else power * size
    yield equal(scaled, f * power, operations=k, magnitude=magnitude, name="f(x; tθ) = t^D f(x; θ)")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, MODULAR, BALL))
def euler_identity(case):
    degree, _ = degree_and_faults(case)
    yield from euler(case, degree)
    if any(isinstance(layer, Residual) for layer in case.architecture.layers):
        return  # only in a chain does each layer contribute f
    f = forward(case.architecture, case.parameters, case.inputs)
    t, size = tangents(case.architecture, case.parameters, case.inputs), size_of_sums(case)
    parts, behind = contributions(case, t), 1
    for index, layer in reversed(list(enumerate(case.architecture.layers))):
        if isinstance(layer, Activation):
            behind *= exponent(layer) or 1
        elif index in parts:
            k, magnitude = 4 * degree + t.shape[-1] + 12, None if size is None else behind * size
            yield equal(parts[index], f * behind, operations=k, magnitude=magnitude, name="each layer contributes f")


@theorem.derivation
def degree_count():
    """Induction along the network: the derivative of a layer's output h in the direction θ is D h, D its degree.

    The network is a chain of the layers below, so each step takes a generic entry of one of them. For L layers and
    activations of degree one the recurrence D_0 = 0, D_{l+1} = D_l + 1 ends at D_L = L.
    """
    import sympy

    t, z, s, D, W, h, b, a = sympy.symbols("t z s D W h b a", real=True)
    p, level = sympy.symbols("p l", positive=True, integer=True)
    positive = sympy.Symbol("z", positive=True)

    def along(value, *inner):
        """Directional derivative along θ: dW = W, db = b, and dh = D h by the induction hypothesis."""
        return sum(sympy.diff(value, symbol) * direction for symbol, direction in inner)

    yield identity("the input has degree 0: its derivative along θ is 0·x", along(sympy.Symbol("x"), (W, W)), 0)
    affine = along(W * h + b, (W, W), (b, b), (h, D * h))
    yield identity("a linear layer without bias adds one: d(Wh) = (D+1) Wh", affine.subs(b, 0), (D + 1) * W * h)
    yield identity("a bias fits where D = 0: d(Wx + b) = Wx + b", affine.subs(D, 0), W * h + b)
    yield identity("elsewhere it leaves exactly −D b behind", affine - (D + 1) * (W * h + b), -D * b)
    for name, slope, where in (
        ("relu, z > 0", 1, positive),
        ("relu, z < 0", 0, -positive),
        ("leaky relu, z < 0", a, -positive),
        ("any σ with σ(0) = 0 at the kink, any selection s", s, sympy.Integer(0)),
    ):
        yield identity(f"{name}: dσ(z) = σ'(z) D z = D σ(z)", slope * D * where, D * (slope * where))
    yield identity("z^p multiplies the degree by p", along(z**p, (z, D * z)), p * D * z**p)
    first, second, weight = sympy.symbols("h_1 h_2 w")
    pooled = weight * first + (1 - weight) * second
    yield identity(
        "pooling, flattening and the sum of branches of one degree are linear: the degree stays",
        along(pooled, (first, D * first), (second, D * second)),
        D * pooled,
    )
    d_h, d_x = sympy.symbols("D_1 D_2")
    yield identity(
        "branches of degrees D₁ ≠ D₂ leave (D₂ − D₁)·(second branch) behind",
        along(first + second, (first, d_h * first), (second, d_x * second)) - d_h * (first + second),
        (d_x - d_h) * second,
    )
    yield identity("L layers: D_l = l solves D_{l+1} = D_l + 1, D_0 = 0", (level + 1) - level, 1)
    scale = sympy.Symbol("t", positive=True)
    yield identity("f(x; tθ): a layer without bias", (scale * W) * (scale**D * h), scale ** (D + 1) * (W * h))
    yield identity("f(x; tθ): a layer with bias, D = 0", (scale * W) * h + scale * b, scale * (W * h + b))
    yield identity(
        "f(x; tθ): an activation, whose slope t^D > 0 does not change", s * (scale**D * z), scale**D * (s * z)
    )
    yield identity("f(x; tθ): a power", (scale**D * positive) ** p, scale ** (p * D) * positive**p)
    yield identity(
        "f(x; tθ): pooling and branches of one degree",
        pooled.subs({first: scale**D * first, second: scale**D * second}, simultaneous=True),
        scale**D * pooled,
    )
    yield identity("and both agree: d/dt t^D at t = 1 is D", sympy.diff(t**D, t).subs(t, 1), D)
    yield from three_layers(sympy)


def three_layers(sympy):
    """The whole identity at once, for three generic layers of two units with free slopes s in place of the activations."""
    w1, w2, b = sympy.Matrix(2, 2, sympy.symbols("u:4")), sympy.Matrix(2, 2, sympy.symbols("v:4")), sympy.symbols("b:2")
    a, x, s = sympy.Matrix(1, 2, sympy.symbols("a:2")), sympy.Matrix(sympy.symbols("x:2")), sympy.symbols("s:4")
    hidden = sympy.diag(*s[:2]) * (w1 * x + sympy.Matrix(b))
    f = sympy.expand((a * sympy.diag(*s[2:]) * w2 * hidden)[0])
    blocks = ([*w1, *b], [*w2], [*a])
    parts = [sympy.expand(sum(sympy.diff(f, v) * v for v in block)) for block in blocks]
    for number, part in enumerate(parts, 1):
        yield identity(f"three generic layers: layer {number} contributes f", part, f)
    yield identity("three generic layers: ⟨∇f, θ⟩ = 3 f", sum(parts), 3 * f)


@theorem.without(BIASES)
def a_bias_at_the_output():
    architecture = Architecture("output bias", (1,), (Linear(1, bias=False), ReLU(), Linear(1)), "squared")
    return ScaledNetwork(architecture, Parameters.from_vector(architecture, np.ones(3)), np.ones((1, 1)), 2.0)


@theorem.without(ACTIVATIONS)
def a_smooth_activation():
    architecture = Architecture("tanh", (1,), (Linear(1, bias=False), Tanh(), Linear(1, bias=False)), "squared")
    return ScaledNetwork(architecture, Parameters.from_vector(architecture, np.ones(2)), np.ones((1, 1)), 2.0)


@theorem.without(PATHS)
def a_skip_connection():
    layers = (Linear(1, bias=False), Residual((Linear(1, bias=False),)))
    architecture = Architecture("skip", (1,), layers, "squared")
    return ScaledNetwork(architecture, Parameters.from_vector(architecture, np.ones(2)), np.ones((1, 1)), 2.0)


@theorem.false_twin("the degree is the number of hidden layers", instances=HOMOGENEOUS_CHAINS)
def hidden_layers_only(case):
    return next(euler(case, degree_and_faults(case)[0] - 1))


@theorem.false_twin("the first layer's bias need not be counted", instances=HOMOGENEOUS_CHAINS)
def weights_only(case):
    t, start, total = tangents(case.architecture, case.parameters, case.inputs), 0, 0
    for name, array in case.parameters.items():
        if name.endswith("weight"):
            total = total + t[..., start : start + array.size] @ array.reshape(-1)
        start += array.size
    f = forward(case.architecture, case.parameters, case.inputs)
    yield equal(total, f * degree_and_faults(case)[0], operations=t.shape[-1], magnitude=size_of_sums(case))


@theorem.false_twin(
    "a bias may stand at the output, which is linear",
    without=(BIASES,),
    instances=drawn_from(*(chain(depth, ReLU(), (False,) * (depth - 1) + (True,)) for depth in (2, 3))),
)
def output_bias(case):
    return euler_identity(case)


@theorem.false_twin(
    "an activation with σ(0) = 0 suffices",
    without=(ACTIVATIONS,),
    instances=drawn_from(chain(2, Tanh(), FIRST_BIAS), chain(2, SiLU(), FIRST_BIAS)),
    arithmetics=(FLOAT64, BALL),
)
def vanishing_at_zero(case):
    return euler_identity(case)


@theorem.false_twin(
    "a smoothed ReLU is as homogeneous as ReLU: f(x; tθ) = t^L f(x; θ)",
    without=(ACTIVATIONS,),
    instances=drawn_from(chain(2, Softplus(), FIRST_BIAS), chain(3, Softplus(), FIRST_BIAS)),
    arithmetics=(FLOAT64, BALL),
)
def smoothed(case):
    return list(euler(case, degree_and_faults(case)[0]))[-1]


@theorem.false_twin(
    "skip connections around a layer are allowed",
    without=(PATHS,),
    instances=drawn_from(*(chain(3, activation, FIRST_BIAS, skip=True) for activation in HOMOGENEOUS)),
)
def skip_connections(case):
    return euler_identity(case)
