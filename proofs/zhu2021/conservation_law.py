r"""Between neighbouring layers with a homogeneous activation, the gradients obey one linear law for every channel.

Let layer i have the outputs z = W x + b, let x' = s(z) with s positively homogeneous of degree k, so z s'(z) = k s(z) (ReLU,
leaky ReLU and identity have k = 1), then possibly pooling, and let the next layer read x' with weights W'. For every channel
o of z, every batch, every loss and every network behind

    ⟨W_o, ∂L/∂W_o⟩ + b_o ∂L/∂b_o = k ⟨W'_{:,o}, ∂L/∂W'_{:,o}⟩,

with W_o the weights into the channel and W'_{:,o} those out of it. So of the gradients of two neighbouring layers as
functions of the sample, one equation for each channel says nothing new. Counts of equations and unknowns, such as R-GAP's,
are too optimistic by that much: it is why the fifth network of its rank figure leaves 38 dimensions open, not 32. Without an
activation the law holds for every pair of channels: ⟨W_o, ∂L/∂W_q⟩ + b_o ∂L/∂b_q = ⟨W'_{:,q}, ∂L/∂W'_{:,o}⟩.

Notes
-----
With D = ∂L/∂z and sums over samples and positions, both sides are Euler's formula at the channel's values:

.. math:: \langle W_o, \nabla_{W_o} L \rangle + b_o \nabla_{b_o} L = \sum z_o D_o
          = \sum z_o s'(z_o)\, \frac{\partial L}{\partial x'_o} = k \sum x'_o \frac{\partial L}{\partial x'_o}
          = k \langle W'_{:,o}, \nabla_{W'_{:,o}} L \rangle .

Pooling is linear or picks entries, so Σ x' ∂L/∂x' is the same before and after it. At a kink z = 0 both sides vanish.

Source: the law is what makes layers balanced along gradient flow (Du, Hu and Lee, arXiv:1806.00900, from memory); here it is
used against the rank analysis of Zhu and Blaschko (arXiv:2010.07733), whose figure was read. 38 and 32 are from our own
measurement and count of that network.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import Identity, LeakyReLU, Polynomial, ReLU
from provable.architectures.layers import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d
from provable.arithmetic import constant, full, rank
from provable.networks import Parameters, gradient_jacobian, loss_gradient
from provable.theorems import RATIONAL, Source, Theorem, equal, fact, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let a layer with weights W and bias b be followed by an activation that is positively homogeneous of degree
    k, possibly pooling, and a layer with weights W'. Then for every channel o between them, every batch, label and loss,
    <W_o, dL/dW_o> + b_o dL/db_o = k <W'_{:,o}, dL/dW'_{:,o}>.""",
    source=Source("arXiv:1806.00900", "", "from memory; derived here, and used against counts as in arXiv:2010.07733"),
    expected="proved",
    does_not_say="nothing about activations without homogeneity, for which no such law is known",
)

HOMOGENEOUS = {
    ReLU(): 1,
    LeakyReLU(negative_slope=0.25): 1,
    Identity(): 1,
    Polynomial((0.0, 0.0, 0.5)): 2,
    Polynomial((0.0, 0.0, 0.0, 1.0)): 3,
}


@dataclass(frozen=True)
class Case:
    """A network that begins with a layer, an activation and perhaps pooling; a batch with labels."""

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    labels: np.ndarray


def filled(draw, shape, chain, *, size=1, nonzero=False):
    """All numbers from one array: a single choice of Hypothesis, which shrinks fast."""
    architecture = Architecture("drawn", shape, chain, "squared")
    counts = (architecture.parameter_count, size * architecture.input_size, size * architecture.output_size)
    numbers = draw(readable_arrays((sum(counts),), nonzero=nonzero))
    vector, inputs, labels = np.split(numbers, np.cumsum(counts)[:-1])
    parameters = Parameters.from_vector(architecture, vector)
    return Case(architecture, parameters, inputs.reshape(size, *shape), labels.reshape(size, -1))


@theorem.instances
def networks(draw):
    activation = draw(st.sampled_from(list(HOMOGENEOUS)))
    size, bias = draw(st.sampled_from((1, 1, 2))), draw(st.booleans())
    last = Linear(draw(st.integers(1, 2)), bias=draw(st.booleans()))
    if draw(st.booleans()):
        dense = (Linear(draw(st.integers(1, 3)), bias=bias), activation, last)
        return filled(draw, (draw(st.integers(1, 3)),), dense, size=size)
    width, padding = draw(st.integers(2, 4)), draw(st.integers(0, 1))
    first = Conv2d(draw(st.integers(1, 3)), (1, draw(st.integers(1, 2))), (1, 1), (0, padding), bias=bias)
    pooling = draw(st.sampled_from(((), (), (AvgPool2d((1, 2), 1),), (MaxPool2d((1, 2), 1),))))
    if first.kernel_size[1] == 2 and width == 2 and padding == 0:
        pooling = ()
    behind = draw(st.sampled_from(list(HOMOGENEOUS)))
    second = draw(st.sampled_from(((), (Conv2d(draw(st.integers(1, 2)), 1), behind))))
    shape = (draw(st.integers(1, 2)), 1, width)
    return filled(draw, shape, (first, activation, *pooling, *second, Flatten(), last), size=size)


@theorem.hypothesis("a homogeneous activation")
def is_homogeneous(case):
    return case.architecture.layers[1] in HOMOGENEOUS


def next_layer(case):
    chain = case.architecture.layers
    return next(index for index in range(1, len(chain)) if isinstance(chain[index], Conv2d | Linear))


def incoming(case, gradient, o, q):
    """⟨W_o, ∂L/∂W_q⟩ and b_o ∂L/∂b_q."""
    weights = (case.parameters["0/weight"][o] * gradient["0/weight"][q]).sum()
    if "0/bias" not in case.parameters:
        return weights, constant(0, case.inputs)
    return weights, case.parameters["0/bias"][o] * gradient["0/bias"][q]


def outgoing(case, gradient, o, q):
    """⟨W'_{:,q}, ∂L/∂W'_{:,o}⟩; a linear layer behind a flattened image reads a channel through several columns."""
    channels = len(case.parameters["0/weight"])
    weight, by_weight = case.parameters[f"{next_layer(case)}/weight"], gradient[f"{next_layer(case)}/weight"]
    weight, by_weight = (part.reshape(len(part), channels, -1) for part in (weight, by_weight))
    return (weight[:, q] * by_weight[:, o]).sum()


def gradient_of(case):
    return loss_gradient(case.architecture, case.parameters, case.inputs, case.labels)


def compare(left, right, name):
    return equal(np.asarray(left), np.asarray(right), operations=1, name=name)


@theorem.claim(arithmetics=(RATIONAL,))
def law(case):
    gradient, degree = gradient_of(case), HOMOGENEOUS.get(case.architecture.layers[1], 1)
    channels = range(len(case.parameters["0/weight"]))
    left = [sum(incoming(case, gradient, o, o)) for o in channels]
    right = [degree * outgoing(case, gradient, o, o) for o in channels]
    yield compare(left, right, "<W_o, G_o> + b_o g_o = k <W'_{:,o}, G'_{:,o}>")
    if case.architecture.layers[1] == Identity() and isinstance(case.architecture.layers[2], Conv2d | Linear):
        left = [sum(incoming(case, gradient, o, q)) for o in channels for q in channels]
        right = [outgoing(case, gradient, o, q) for o in channels for q in channels]
        yield compare(left, right, "<W_o, G_q> + b_o g_q = <W'_{:,q}, G'_{:,o}>")


@theorem.derivation
def euler():
    import sympy

    # Two inputs, two positions and two readers of one channel are generic.
    w, b = sympy.symbols("w:2"), sympy.Symbol("b")
    x = sympy.Matrix(2, 2, sympy.symbols("x:4"))
    d = sympy.symbols("d:2")
    z = [w[0] * x[0, p] + w[1] * x[1, p] + b for p in range(2)]
    by_weight = [sum(d[p] * x[c, p] for p in range(2)) for c in range(2)]
    yield identity(
        "<w, sum_p D(p) x(p)> + b sum_p D(p) = sum_p z(p) D(p)",
        sum(w[c] * by_weight[c] for c in range(2)) + b * sum(d),
        sum(z[p] * d[p] for p in range(2)),
    )
    degree, one = sympy.Symbol("k", positive=True), sympy.Symbol("z", positive=True)
    yield identity(
        "for z > 0 and s = a z^k: z s'(z) = k s(z)", one * sympy.diff(one**degree, one), degree * one**degree
    )
    left = sympy.Symbol("a") * one**degree
    yield identity("for z < 0, with u = -z and s = a u^k, too", one * sympy.diff(left, one), degree * left)
    u, e = sympy.symbols("u:2"), sympy.symbols("e:2")
    readers = sympy.Matrix(2, 2, sympy.symbols("v:4"))
    back = [sum(readers[r, q] * e[r] for r in range(2)) for q in range(2)]
    by_reader = sympy.Matrix(2, 2, lambda r, q: e[r] * u[q])
    for q in range(2):
        for o in range(2):
            yield identity(
                f"<W'_(:,{q}), dL/dW'_(:,{o})> = x'_{o} dL/dx'_{q}",
                sum(readers[r, q] * by_reader[r, o] for r in range(2)),
                u[o] * back[q],
            )
    pool = sympy.Matrix(2, 2, sympy.symbols("m:4"))
    above = sympy.symbols("g:2")
    pooled = pool * sympy.Matrix(u)
    yield identity(
        "pooling x'' = M x' keeps sum x' dL/dx' = sum x'' dL/dx'' (maximum pooling is such an M near x')",
        (sympy.Matrix([u]) * pool.T * sympy.Matrix(above))[0],
        (pooled.T * sympy.Matrix(above))[0],
    )


@theorem.derivation(covers="a 1×1 filter, leaky ReLU, two windows of two pixels side by side, and a linear output")
def laws_cost_dimensions():
    """The first layer's one gradient would add one dimension to what the layers behind see, were it not for the law."""
    ranks = []
    for activation in (LeakyReLU(negative_slope=0.25), Polynomial((0.0, 1.0, 0.5, 0.25, 0.125))):
        chain = (
            Conv2d(1, 1, bias=False),
            activation,
            Conv2d(1, (1, 2), (1, 2), bias=False),
            activation,
            Flatten(),
            Linear(1, bias=False),
        )
        architecture = Architecture("chain", (1, 1, 6), chain, "squared")
        numbers = np.array([2.0, 3.0, -1.0, 1.0, 2.0, -3.0])
        parameters = RATIONAL.convert(Parameters.from_vector(architecture, numbers))
        inputs = RATIONAL.convert(np.array([[[[1.0, -2.0, 3.0, 1.0, -1.0, 2.0]]]]))
        label = RATIONAL.convert(np.array([[1.0]]))
        units = full((6, 6), 0, inputs)
        np.fill_diagonal(units, constant(1, inputs))
        jacobian = gradient_jacobian(architecture, parameters, inputs, label)
        ranks.append(rank(jacobian.push_forward(units.reshape(6, 1, 1, 1, 6))))
    yield fact("with leaky ReLU the gradients see 4 dimensions of 6, with a quartic activation 5", ranks == [4, 5])


def hidden_unit(activation, *, bias=False):
    """One unit, all numbers one; label zero."""
    architecture = Architecture("unit", (1,), (Linear(1, bias=bias), activation, Linear(1, bias=False)), "squared")
    parameters = Parameters.from_vector(architecture, np.ones(architecture.parameter_count))
    return Case(architecture, parameters, np.ones((1, 1)), np.zeros((1, 1)))


@theorem.without("a homogeneous activation")
def z_plus_half_its_square():
    return hidden_unit(Polynomial((0.0, 1.0, 0.5)))


def units_with(activations):
    def strategy(draw):
        chain = (Linear(draw(st.integers(1, 2)), bias=draw(st.booleans())), draw(st.sampled_from(activations)))
        return filled(draw, (draw(st.integers(1, 2)),), (*chain, Linear(1, bias=False)), nonzero=True)

    return strategy


@theorem.false_twin("the bias may be left out", instances=units_with((ReLU(), LeakyReLU(negative_slope=0.25))))
def no_bias(case):
    gradient = gradient_of(case)
    channels = range(len(case.parameters["0/weight"]))
    left = [incoming(case, gradient, o, o)[0] for o in channels]
    return compare(left, [outgoing(case, gradient, o, o) for o in channels], "<W_o, G_o> = <W'_{:,o}, G'_{:,o}>")


@theorem.false_twin(
    "with leaky ReLU the law holds for every pair of channels", instances=units_with((LeakyReLU(negative_slope=0.25),))
)
def every_pair(case):
    gradient = gradient_of(case)
    channels = range(len(case.parameters["0/weight"]))
    left = [sum(incoming(case, gradient, o, q)) for o in channels for q in channels]
    right = [outgoing(case, gradient, o, q) for o in channels for q in channels]
    return compare(left, right, "<W_o, G_q> + b_o g_q = <W'_{:,q}, G'_{:,o}>")


@theorem.false_twin("the degree does not matter", instances=units_with(list(HOMOGENEOUS)))
def no_degree(case):
    gradient = gradient_of(case)
    channels = range(len(case.parameters["0/weight"]))
    left = [sum(incoming(case, gradient, o, o)) for o in channels]
    return compare(left, [outgoing(case, gradient, o, o) for o in channels], "the law with k = 1")


@theorem.false_twin(
    "a sum of homogeneous functions is as good",
    without=("a homogeneous activation",),
    instances=units_with((Polynomial((0.0, 1.0, 0.5)),)),
)
def sum_of_homogeneous(case):
    return law(case)


@theorem.false_twin("the squared norms of the two gradients agree as well", instances=units_with((Identity(),)))
def norms(case):
    gradient = gradient_of(case)
    channels = range(len(case.parameters["0/weight"]))
    left = [(gradient["0/weight"][o] ** 2).sum() for o in channels]
    right = [(gradient["2/weight"][:, o] ** 2).sum() for o in channels]
    return compare(left, right, "|G_o|^2 = |G'_{:,o}|^2")
