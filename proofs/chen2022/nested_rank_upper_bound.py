r"""How many dimensions of a sample the gradients can see: an upper bound, layer by layer from the loss to the input.

For the input x_i of layer i let Γ_i(x_i) be the gradients of the parameters of layer i and of all layers behind it, and
ρ_i the rank of its derivative. Behind the last layer ρ = 0. For all parameters, all inputs, every loss and every label

    ρ_i <= rank U_i    and    ρ_i <= p_i + min(ρ_{i+1}, rank F_i),

with p_i the number of the layer's own parameters. Applied from the last layer down, this bounds ρ_1, so at least n_1 - ρ_1
dimensions of the sample change no gradient to first order. Neither bound alone suffices: the first one does not see what
layers behind have lost, and the second one counts own gradients that only repeat what is known.

Notes
-----
.. math:: \Gamma_i = (G_i, \Gamma_{i+1} \circ s \circ (F_i \cdot + b_i)), \qquad
          dG_i[v] = (dD[F_i v]) P^T + K_i v .

Everything behind the layer, and its sensitivity D, is a function of z = F_i x + b_i. So the rows of dΓ_i are those of the own
gradients and combinations of dΓ_{i+1} diag(s') F_i. And if F_i v = 0 and K_i v = 0, then neither z nor D nor G_i changes
along v: the null space of U_i is in that of dΓ_i. Derivatives at kinks are those of the code, the same in all formulas.

Source: derived here. The rank of the Jacobian of all gradients is what layer-wise ranks (arXiv:2010.07733, arXiv:2111.10178)
approximate. Jacobians are exact: rational numbers, differentiated by the chain rule.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import Identity, LeakyReLU, Polynomial, ReLU
from provable.architectures.layers import Conv2d, Flatten, Linear
from provable.arithmetic import constant, full, rank
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.networks import Parameters, backpropagate, gradient_jacobian, losses, trace
from provable.theorems import RATIONAL, Source, Theorem, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For a chain of convolutions and a linear layer, let rho_i be the rank of the derivative of the parameter
    gradients of layer i and all layers behind it, as functions of the input of layer i. Then rho_i <= rank U_i and
    rho_i <= p_i + min(rho_{i+1}, rank F_i) with p_i parameters of layer i, U_i = [F_i; K_i] its layer system and rho = 0
    behind the last layer: at least n_1 - rho_1 dimensions of the sample change no gradient to first order.""",
    source=Source("derived", "", "for ranks of layers as in arXiv:2010.07733 and arXiv:2111.10178"),
    expected="proved",
    does_not_say="nothing about dimensions that no gradient of first order sees but a finite change does",
)

ACTIVATIONS = (Polynomial((0.0, 1.0, 0.5)), Polynomial((0.0, 1.0, 0.5, 0.25)), LeakyReLU(0.25), ReLU(), Identity())


@dataclass(frozen=True)
class Case:
    """A network, one sample, (1, ...), and its label, (1, outputs)."""

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    label: np.ndarray


def filled(draw, shape, convolutions, activation, *, last=None, nonzero=False):
    """All numbers from one array: a single choice of Hypothesis, which shrinks fast."""
    chain = [layer for one in convolutions for layer in (one, activation)]
    last = Linear(1, bias=False) if last is None else last
    architecture = Architecture("drawn", shape, (*chain, Flatten(), last), "squared")
    sizes = (architecture.parameter_count, architecture.input_size, architecture.output_size)
    vector, inputs, label = np.split(draw(readable_arrays((sum(sizes),), nonzero=nonzero)), np.cumsum(sizes)[:-1])
    return Case(
        architecture, Parameters.from_vector(architecture, vector), inputs.reshape(1, *shape), label.reshape(1, -1)
    )


@theorem.instances
def networks(draw):
    """Two convolutions, the second often short: more channels and pixels than filters, or pixels that it leaves out."""
    height, width = draw(st.integers(1, 2)), draw(st.integers(2, 4))
    first = Conv2d(draw(st.integers(1, 3)), (1, draw(st.sampled_from((1, 1, 2)))), bias=draw(st.booleans()))
    step = draw(st.sampled_from((1, 1, 2)))
    kernel = (1, draw(st.integers(1, min(2, width - first.kernel_size[1] + 1))))
    second = Conv2d(draw(st.sampled_from((1, 1, 2))), kernel, (1, min(step, kernel[1])), bias=draw(st.booleans()))
    shape = (draw(st.integers(1, 2)), height, width)
    last = Linear(draw(st.integers(1, 2)), bias=draw(st.booleans()))
    return filled(draw, shape, (first, second), draw(st.sampled_from(ACTIVATIONS)), last=last)


def residual(case):
    traced = trace(case.architecture, case.parameters, case.inputs)
    return traced, losses.residual("squared", traced.output, case.label)


@theorem.degenerate
def fitted(case):
    return not np.any(residual(case)[1])


def units(shape, like):
    size = int(np.prod(shape))
    matrix = full((size, size), 0, like)
    np.fill_diagonal(matrix, constant(1, like))
    return matrix.reshape(size, 1, *shape)


def seen_behind(case, index, inputs):
    """ρ at the input of a layer: the rank of the derivative of all gradients of the rest of the network."""
    tail = Architecture("rest", case.architecture.shapes[index], case.architecture.layers[index:], "squared")
    values = {
        f"{int(path.partition('/')[0]) - index}/{path.partition('/')[2]}": array
        for path, array in case.parameters.items()
        if int(path.partition("/")[0]) >= index
    }
    jacobian = gradient_jacobian(tail, Parameters(tail, values), inputs, case.label)
    return rank(jacobian.push_forward(units(tail.input_shape, inputs)))


class Layers:
    """ρ, rank U, rank F, the number of parameters, C_out and the input size of each layer with weights, first to last."""

    def __init__(self, case):
        traced, found = residual(case)
        sensitivities = backpropagate(case.architecture, case.parameters, traced, found).outputs
        indices = [index for index, layer in enumerate(case.architecture.layers) if isinstance(layer, Conv2d | Linear)]
        systems = [LayerSystem.of_layer(case.architecture.layers[i], case.architecture.shapes[i]) for i in indices]
        self.seen = [seen_behind(case, index, traced.inputs[str(index)]) for index in indices]
        self.of_system, self.of_forward, self.parameters = [], [], []
        for index, system in zip(indices, systems, strict=True):
            weight = case.parameters[f"{index}/weight"]
            sensitivity = sensitivities[str(index)].reshape(system.sensitivity_shape)
            forward = system.forward_matrix(weight)
            self.of_forward.append(rank(forward))
            self.of_system.append(rank(np.vstack([forward, system.gradient_matrix(sensitivity)])))
            biases = case.parameters.get(f"{index}/bias")
            self.parameters.append(weight.size + (0 if biases is None else biases.size))
        self.unknowns = [system.unknowns for system in systems]
        self.outputs = [system.out_channels for system in systems]

    def bound(self):
        """What the recursion gives for ρ_1."""
        value = 0
        for system, forward, own in zip(
            self.of_system[::-1], self.of_forward[::-1], self.parameters[::-1], strict=True
        ):
            value = min(system, own + min(value, forward))
        return value


@theorem.claim(arithmetics=(RATIONAL,))
def bounds(case):
    found = Layers(case)
    for index, seen in enumerate(found.seen):
        behind = [*found.seen, 0][index + 1]
        yield holds(seen <= found.of_system[index], name=f"rho_{index + 1} <= rank U_{index + 1}")
        yield holds(
            seen <= found.parameters[index] + min(behind, found.of_forward[index]),
            name=f"rho_{index + 1} <= p_{index + 1} + min(rho_{index + 2}, rank F_{index + 1})",
        )
    yield holds(found.seen[0] <= found.bound(), name="rho_1 <= the bound by recursion")


@theorem.derivation
def chain_rule():
    import sympy

    # Two weights, outputs and inputs are generic: shared weights w_k multiply matrices M_k, as in a convolution.
    x, v = (sympy.Matrix(sympy.symbols(f"{name}:2")) for name in "xv")
    w, t = sympy.symbols("w:2"), sympy.Symbol("t")
    maps = [sympy.Matrix(2, 2, sympy.symbols(f"m{k}_:4")) for k in range(2)]
    forward = w[0] * maps[0] + w[1] * maps[1]
    sensitivity = [sympy.Function(f"D{o}") for o in range(2)]
    y = sympy.symbols("y:2")

    def at(vector):
        return sympy.Matrix([one(*vector) for one in sensitivity])

    z, moved = forward * x, forward * (x + t * v)
    table = sympy.Matrix(2, 2, lambda o, other: sensitivity[o](*y).diff(y[other])).subs(dict(zip(y, z, strict=True)))
    for k in range(2):
        yield identity(
            f"d/dt <D(z), M_{k} x> along v = <dD[F v], M_{k} x> + (K v)_{k}, with D a function of z",
            ((at(moved).T * maps[k] * (x + t * v))[0]).diff(t).subs(t, 0).doit(),
            ((table * forward * v).T * maps[k] * x)[0] + (at(z).T * maps[k] * v)[0],
        )
    behind, activation = sympy.Function("Gamma"), sympy.Function("s")
    hidden = [activation(one) for one in moved]
    outer = [behind(*y).diff(one).subs(dict(zip(y, [activation(one) for one in z], strict=True))) for one in y]
    slopes = [activation(u).diff(u).subs(u, one) for u, one in zip(y, z, strict=True)]
    yield identity(
        "d/dt Gamma(s(F (x + t v))) = dGamma diag(s') F v: the rows of the layers behind factor through F",
        behind(*hidden).diff(t).subs(t, 0).doit(),
        sum(outer[o] * slopes[o] * (forward * v)[o] for o in range(2)),
    )
    own, factor, last = (sympy.Matrix(2, 2, sympy.symbols(f"{name}:4")) for name in "agf")
    direction = sympy.Matrix(sympy.symbols("n:2"))
    yield identity(
        "rows A of the own gradients above rows G F: what A and F send to zero is sent to zero",
        own.col_join(factor * last) * direction,
        (own * direction).col_join(factor * (last * direction)),
    )


def small_networks(draw):
    """Two convolutions without biases, all numbers nonzero."""
    width = draw(st.integers(2, 3))
    first = Conv2d(draw(st.integers(1, 2)), 1, bias=False)
    second = Conv2d(1, (1, draw(st.integers(1, 2))), bias=False)
    activation = draw(st.sampled_from((ACTIVATIONS[0], Identity())))
    return filled(draw, (draw(st.integers(1, 2)), 1, width), (first, second), activation, nonzero=True)


@theorem.false_twin("the layer's own gradients add nothing", instances=small_networks)
def own_gradients_add_nothing(case):
    found = Layers(case)
    return holds(found.seen[0] <= min(found.seen[1], found.of_forward[0]), name="rho_1 <= min(rho_2, rank F_1)")


@theorem.false_twin("of the own gradients, C_out^2 always repeat what is known", instances=small_networks)
def always_redundant(case):
    found = Layers(case)
    own = max(found.parameters[0] - found.outputs[0] ** 2, 0)
    return holds(
        found.seen[0] <= own + min(found.seen[1], found.of_forward[0]),
        name="rho_1 <= (p_1 - C_out^2)+ + min(rho_2, rank F_1)",
    )


@theorem.false_twin("what an inner layer lacks is lost: rho_1 <= n_1 - (n_2 - rank U_2)", instances=small_networks)
def inner_layers_lose(case):
    found = Layers(case)
    lost = found.unknowns[1] - found.of_system[1]
    return holds(found.seen[0] <= found.unknowns[0] - lost, name="rho_1 <= n_1 - (n_2 - rank U_2)")


@theorem.false_twin("the recursion is attained where no number vanishes", instances=small_networks)
def attained(case):
    found = Layers(case)
    return holds(found.seen[0] == found.bound(), name="rho_1 = the bound by recursion")


@theorem.false_twin("the layer systems alone are attained: rho_1 = rank U_1", instances=small_networks)
def first_system_attained(case):
    found = Layers(case)
    return holds(found.seen[0] == found.of_system[0], name="rho_1 = rank U_1")


def pointwise_with_bias(draw):
    """A 1×1 filter with bias, then windows of two pixels side by side, which are short."""
    first, second = Conv2d(1, 1), Conv2d(1, (1, 2), (1, 2), bias=False)
    return filled(draw, (1, 1, 2 * draw(st.integers(2, 4))), (first, second), ACTIVATIONS[1], nonzero=True)


@theorem.false_twin("bias gradients add nothing to the weights' gradients", instances=pointwise_with_bias)
def biases_add_nothing(case):
    found = Layers(case)
    weights = found.parameters[0] - found.outputs[0]
    return holds(
        found.seen[0] <= weights + min(found.seen[1], found.of_forward[0]), name="rho_1 <= |W_1| + min(rho_2, rank F_1)"
    )
