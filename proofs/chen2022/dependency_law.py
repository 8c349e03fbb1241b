r"""The forward and the gradient equations of a layer depend on one another.

A convolution (or linear layer) multiplies the patches of its input by its weight matrix: Z = W P. With D = ∂L/∂Z the
gradient of the weight is G = D Pᵀ. Whoever knows W, Z, D and G has the equations W P = Z and P Dᵀ = Gᵀ for the input, that
is U x = b with U = [F; K]: F is the matrix of the convolution x -> W P, with rows F_(o,p) for output o and position p, and K
that of x -> P Dᵀ, with rows K_(o,α) for output o and patch entry α. Three facts hold for every weight, input, loss and batch:

1. W Gᵀ = Z Dᵀ (Z without the bias): C_out² identities between the two sets of equations, whatever x is.
2. rank U <= rank F + rank K - q with q = dim span{Σ_p D_{o'}(p) F_(o,p)}, because these vectors lie in both row spaces.
3. On unrestricted patch matrices P the equations have rank exactly a r_D + b r_W - r_W r_D, with a entries per patch, b
   positions (of all samples), r_W = rank W and r_D = rank D.

Notes
-----
.. math:: W G^T = W P D^T = Z D^T, \qquad
          \sum_p D_{o'}(p)\, F_{(o,p)} = \sum_{\alpha} W_{o\alpha}\, K_{(o',\alpha)}, \qquad
          \{P : W P = 0,\ P D^T = 0\} = \ker W \otimes \ker D .

The second fact is Grassmann's formula, rank U = rank F + rank K - dim(R(F) ∩ R(K)), with the intersection bounded
from below. Equality fails even for generic numbers: one 1×3 filter with stride 2 and padding 2 on a 2×1×4 image has
rank 7 where the bound is 8, because windows at the border share more. The law corrects the parameter count
|x| - |W| - |z| of R-GAP's rank analysis (``zhu2021.rank_analysis_count``).

Source: the layer system is that of Zhu and Blaschko (arXiv:2010.07733) and of Chen and Campbell (arXiv:2111.10178), read in
the authors' code; the law is derived here. Chen and Campbell's code leaves the bias in Z, which breaks the first fact.
"""

import math
from dataclasses import dataclass, replace

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import Identity, LeakyReLU, Polynomial, ReLU, Tanh
from provable.architectures.layers import Conv2d, Flatten, Linear
from provable.arithmetic import constant, full, kind, rank, to_float
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.networks import Parameters, backpropagate, layers, loss_gradient, losses, trace
from provable.networks.windows import patches
from provable.theorems import FLOAT64, MODULAR, RATIONAL, Source, Theorem, equal, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For a convolution Z = WP with the kernel W as a matrix, patches P = P(x), D = dL/dZ and G = dL/dW = DP^T:
    WG^T = ZD^T for every input; so the layer system U = [F; K], of the matrices F of x -> WP and K of x -> PD^T, has
    rank U <= rank F + rank K - dim span{sum_p D_{o'}(p) F_(o,p)} for the rows F_(o,p) of F and the entries D_{o'}(p) of D;
    and on unrestricted patch matrices, with a entries per patch and b positions of all samples together, its rank is
    exactly a r_D + b r_W - r_W r_D for r_W = rank W and r_D = rank D.""",
    source=Source(
        "derived",
        "",
        "used against the parameter count of R-GAP (arXiv:2010.07733) and for the metric of arXiv:2111.10178",
    ),
    expected="proved",
)


@dataclass(frozen=True)
class Case:
    """A network that begins with a convolution, and a batch with labels."""

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    labels: np.ndarray


ACTIVATIONS = (LeakyReLU(negative_slope=0.25), ReLU(), Identity(), Polynomial((0.0, 1.0, 0.5)), Tanh())


def draw_convolution(draw, *, bias):
    """Input shape and a convolution on it."""
    height, width = draw(st.integers(1, 2)), draw(st.integers(1, 4))
    stride, padding = draw(st.sampled_from(((1, 0), (1, 0), (2, 0), (1, 1), (2, 1))))
    kernel = (draw(st.integers(1, height)), draw(st.integers(1, min(width, 3))))
    stride = (min(stride, height), min(stride, width + 2 * padding))
    shape = (draw(st.integers(1, 3)), height, width)
    return shape, Conv2d(draw(st.integers(1, 3)), kernel, stride, (0, padding), bias=bias)


def network(shape, convolution, activation, outputs):
    return Architecture("drawn", shape, (convolution, activation, Flatten(), Linear(outputs, bias=False)), "squared")


@theorem.instances
def convolutional_networks(draw):
    shape, convolution = draw_convolution(draw, bias=draw(st.booleans()))
    architecture = network(shape, convolution, draw(st.sampled_from(ACTIVATIONS)), draw(st.integers(1, 2)))
    size = draw(st.sampled_from((1, 1, 2)))
    values = {name: draw(readable_arrays(shape)) for name, shape in architecture.parameter_shapes.items()}
    return Case(
        architecture,
        Parameters(architecture, values),
        draw(readable_arrays((size, *architecture.input_shape))),
        draw(readable_arrays((size, architecture.output_size))),
    )


@theorem.degenerate
def no_sensitivity(case):
    return not np.any(FirstLayer(case).sensitivity) or not np.any(case.parameters["0/weight"])


class FirstLayer:
    """The first layer's matrices at a case: W, P, D, Z without bias, G, and the bias, all as matrices."""

    def __init__(self, case):
        architecture, parameters = case.architecture, case.parameters
        self.convolution = replace(architecture.layers[0], bias=False)
        traced = trace(architecture, parameters, case.inputs)
        residuals = losses.residual(architecture.loss, traced.output, case.labels)
        self.sensitivities = backpropagate(architecture, parameters, traced, residuals).outputs["0"]
        size, outputs = len(case.inputs), len(parameters["0/weight"])
        self.kernel = parameters["0/weight"]
        self.weight = self.kernel.reshape(outputs, -1)
        self.bias = parameters.get("0/bias", full((outputs,), 0, self.weight))
        self.sensitivity = self.sensitivities.reshape(size, outputs, -1).transpose(1, 0, 2).reshape(outputs, -1)
        self.with_bias = traced.inputs["1"].reshape(size, outputs, -1).transpose(1, 0, 2).reshape(outputs, -1)
        gradient = loss_gradient(architecture, parameters, case.inputs, case.labels)["0/weight"]
        self.gradient = gradient.reshape(outputs, -1)
        self.inputs = case.inputs

    def largest_product(self):
        """The largest product of a weight and a sensitivity; None for residues."""
        if kind(self.weight) == "modular":
            return None
        return np.abs(to_float(self.weight)).max() * np.abs(to_float(self.sensitivity)).max()

    def terms_of_the_law(self):
        """Size of the terms that cancel in W Gᵀ and Z Dᵀ; None for residues."""
        if kind(self.weight) == "modular":
            return None
        layer = self.convolution
        windows = patches(self.inputs, layer.kernel_size, layer.stride, layer.padding)
        patch = windows.reshape(len(self.inputs), self.weight.shape[1], -1).transpose(1, 0, 2)
        patch = patch.reshape(self.weight.shape[1], -1)
        outputs = np.abs(to_float(self.weight)) @ np.abs(to_float(patch)) + np.abs(to_float(self.bias))[:, None]
        return outputs @ np.abs(to_float(self.sensitivity)).T

    def forward_matrix(self):
        """F on all samples of the batch, by applying the layer to unit images."""
        units = self.units()
        once = layers.apply(self.convolution, "0", {"0/weight": self.kernel}, units).reshape(len(units), -1).T
        size = len(self.inputs)
        blocks = [[once if i == j else full(once.shape, 0, once) for j in range(size)] for i in range(size)]
        return np.block(blocks)

    def gradient_matrix(self):
        """K on all samples of the batch, by the gradients that unit images would leave."""
        units = self.units()
        parts = []
        for sensitivity in self.sensitivities:
            repeated = np.broadcast_to(sensitivity, (len(units), *sensitivity.shape))
            gradients = layers.sample_gradients(self.convolution, units, repeated)["weight"]
            parts.append(gradients.reshape(len(units), -1).T)
        return np.hstack(parts)

    def units(self):
        shape = self.inputs.shape[1:]
        return diagonal(math.prod(shape), self.weight).reshape(-1, *shape)

    def shared_vectors(self):
        """The vectors Σ_p D_{o'}(p) F_(o,p), one row for each pair (o, o')."""
        size, outputs = len(self.inputs), len(self.weight)
        rows = self.forward_matrix().reshape(size, outputs, self.sensitivities[0, 0].size, -1)
        weights = self.sensitivities.reshape(size, outputs, -1)
        return sum(np.tensordot(weights[i], rows[i], axes=(1, 1)).transpose(1, 0, 2) for i in range(size)).reshape(
            outputs**2, -1
        )

    def shared_vectors_by_gradients(self):
        """The same as Σ_α w_(o,α) K_(o',α)."""
        outputs, patch = self.weight.shape
        rows = self.gradient_matrix().reshape(outputs, patch, -1)
        return np.tensordot(self.weight, rows, axes=(1, 1)).reshape(outputs**2, -1)


def diagonal(size, like):
    matrix = full((size, size), 0, like)
    np.fill_diagonal(matrix, constant(1, like))
    return matrix


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, MODULAR))
def law(case):
    layer = FirstLayer(case)
    terms = sum(layer.weight.shape) + 2 * layer.sensitivity.shape[1]
    yield equal(
        layer.weight @ layer.gradient.T,
        (layer.with_bias - layer.bias[:, None]) @ layer.sensitivity.T,
        operations=terms,
        magnitude=layer.terms_of_the_law(),
        name="W G^T = Z D^T",
    )
    forward, backward = layer.forward_matrix(), layer.gradient_matrix()
    if len(case.inputs) == 1:
        system = LayerSystem.of_layer(layer.convolution, case.inputs.shape[1:])
        yield equal(system.forward_matrix(layer.kernel), forward, operations=1, name="the forward equations")
        yield equal(
            system.gradient_matrix(layer.sensitivities[0]), backward, operations=1, name="the gradient equations"
        )
    shared = layer.shared_vectors()
    yield equal(
        shared,
        layer.shared_vectors_by_gradients(),
        operations=terms,
        magnitude=layer.largest_product(),
        name="sum_p D_o'(p) F_(o,p) = sum_a w_(o,a) K_(o',a)",
    )
    if kind(layer.weight) == "float64":
        return  # ranks are decided in exact arithmetic only
    bound = rank(forward) + rank(backward) - rank(shared)
    yield holds(rank(np.vstack([forward, backward])) <= bound, name="rank U <= rank F + rank K - q")
    patch, positions = layer.weight.shape[1], layer.sensitivity.shape[1]
    r_weight, r_sensitivity = rank(layer.weight), rank(layer.sensitivity)
    yield holds(
        unrestricted_rank(layer) == patch * r_sensitivity + positions * r_weight - r_weight * r_sensitivity,
        name="the rank on unrestricted patch matrices is a r_D + b r_W - r_W r_D",
    )


def unrestricted_rank(layer):
    """Rank of P -> (W P, P Dᵀ) on all patch matrices P."""
    patch, positions = layer.weight.shape[1], layer.sensitivity.shape[1]
    forward = np.kron(layer.weight, diagonal(positions, layer.weight))
    backward = np.kron(diagonal(patch, layer.weight), layer.sensitivity)
    return rank(np.vstack([forward, backward]))


@theorem.derivation
def matrix_identities():
    import sympy

    def generic(name, rows, columns):
        return sympy.Matrix(rows, columns, sympy.symbols(f"{name}:{rows * columns}"))

    # Two of everything is generic: entries (o, o') are sums over patch entries and positions that meet pairwise only.
    weight, patch, sensitivity = (generic(name, 2, 2) for name in "wpd")
    gradient = sensitivity * patch.T
    yield identity("W (D P^T)^T = (W P) D^T", weight * gradient.T, (weight * patch) * sensitivity.T)
    # P is linear in x, P = sum_i x_i P_i: the column i of F and K is read off at P_i.
    direction = generic("q", 2, 2)
    x = sympy.Symbol("x")
    moved = patch + x * direction
    forward = (weight * moved).diff(x)
    backward = (sensitivity * moved.T).diff(x)
    yield identity(
        "sum_p D_o'(p) F_(o,p) = sum_a w_(o,a) K_(o',a), column by column: in the row space of F and in that of K",
        sympy.Matrix(2, 2, lambda o, other: sum(sensitivity[other, p] * forward[o, p] for p in range(2))),
        sympy.Matrix(2, 2, lambda o, other: sum(weight[o, a] * backward[other, a] for a in range(2))),
    )
    left, right = generic("l", 2, 2), generic("r", 2, 2)
    outer, inner = generic("f", 2, 2), generic("g", 2, 2)
    changed = right * patch * inner.T
    yield identity(
        "with W = A N B and D = C M E (A, B, C, E invertible) and P' = B P E^T: W P = 0 is N P' = 0",
        left * weight * right * patch * inner.T,
        left * weight * changed,
    )
    yield identity(
        "and P D^T = 0 is P' M^T = 0",
        right * patch * (outer * sensitivity * inner).T,
        changed * sensitivity.T * outer.T,
    )
    sizes = [(a, b, r, s) for a in range(1, 4) for b in range(1, 4) for r in range(a + 1) for s in range(b + 1)]
    yield fact(
        "for normal forms N, M of ranks r, s the rows of P' from r on and columns from s on are free: nullity (a - r)(b - s)",
        all(_normal_form_nullity(*size) == (size[0] - size[2]) * (size[1] - size[3]) for size in sizes),
    )
    a, b, r, s = sympy.symbols("a b r s")
    yield identity("a b - (a - r)(b - s) = a s + b r - r s", a * b - (a - r) * (b - s), a * s + b * r - r * s)


def _normal_form_nullity(entries, positions, r_weight, r_sensitivity):
    weight = np.diag([flint.fmpq(int(i < r_weight)) for i in range(entries)])
    sensitivity = np.diag([flint.fmpq(int(i < r_sensitivity)) for i in range(positions)])
    one = flint.fmpq(1)
    forward = np.kron(weight, diagonal(positions, one))
    backward = np.kron(diagonal(entries, one), sensitivity)
    return entries * positions - rank(np.vstack([forward, backward]))


def linear_case(draw, shape, convolution):
    """No activation, one sample, no entry zero: any defect of rank is due to the layer's shape or to coincidence."""
    architecture = network(shape, convolution, Identity(), 1)
    sizes = [architecture.parameter_count, architecture.input_size, 1]
    # One array for everything: a single choice of Hypothesis, which shrinks fast.
    vector, inputs, label = np.split(draw(readable_arrays((sum(sizes),), nonzero=True)), np.cumsum(sizes)[:-1])
    return Case(
        architecture,
        Parameters.from_vector(architecture, vector),
        inputs.reshape(1, *architecture.input_shape),
        label.reshape(1, 1),
    )


def linear_networks(draw):
    return linear_case(draw, *draw_convolution(draw, bias=False))


def biased_linear_networks(draw):
    return linear_case(draw, *draw_convolution(draw, bias=True))


@theorem.false_twin("the bias may stay in Z", instances=biased_linear_networks)
def with_bias(case):
    layer = FirstLayer(case)
    return equal(
        layer.weight @ layer.gradient.T,
        layer.with_bias @ layer.sensitivity.T,
        operations=sum(layer.weight.shape) + 2 * layer.sensitivity.shape[1],
        magnitude=layer.terms_of_the_law(),
        name="W G^T = (Z + b) D^T",
    )


class Ranks:
    """rank U, rank F, rank K, q, the number of covered unknowns, and whether W and D have independent rows."""

    def __init__(self, case):
        layer = FirstLayer(case)
        forward, backward = layer.forward_matrix(), layer.gradient_matrix()
        self.outputs = len(layer.weight)
        self.system = rank(np.vstack([forward, backward]))
        self.sum = rank(forward) + rank(backward)
        self.shared = rank(layer.shared_vectors())
        sizes = LayerSystem.of_layer(layer.convolution, case.inputs.shape[1:])
        self.covered = sizes.unknowns - sizes.uncovered_unknowns
        self.unrestricted = unrestricted_rank(layer)
        self.regular = rank(layer.weight) == rank(layer.sensitivity) == self.outputs


@theorem.false_twin(
    "units with nonzero weights and sensitivities make the C_out^2 identities independent",
    instances=linear_networks,
    arithmetics=(RATIONAL,),
)
def all_identities_count(case):
    found = Ranks(case)
    claimed = found.shared > 0
    return holds(
        not claimed or found.system <= found.sum - found.outputs**2, name="rank U <= rank F + rank K - C_out^2"
    )


@theorem.false_twin("there is one dependency more", instances=linear_networks, arithmetics=(RATIONAL,))
def one_dependency_more(case):
    found = Ranks(case)
    return holds(
        not found.regular or found.system <= found.sum - found.shared - 1, name="rank U <= rank F + rank K - q - 1"
    )


def networks_with_wide_borders(draw):
    """One filter on a row of pixels, many of whose windows reach into the padding."""
    step = draw(st.integers(1, 2))
    convolution = Conv2d(1, (1, step + 1), (1, step), (0, step), bias=False)
    return linear_case(draw, (draw(st.integers(2, 3)), 1, draw(st.integers(2, 4))), convolution)


@theorem.false_twin(
    "where W and D have independent rows, there are no other dependencies",
    instances=networks_with_wide_borders,
    arithmetics=(RATIONAL,),
)
def no_other_dependencies(case):
    found = Ranks(case)
    expected = min(found.covered, found.sum - found.shared)
    return holds(not found.regular or found.system == expected, name="rank U = min(n, rank F + rank K - q)")


@theorem.false_twin(
    "where W and D have independent rows, the patches of an image are as good as unrestricted ones",
    instances=linear_networks,
    arithmetics=(RATIONAL,),
)
def restriction_is_harmless(case):
    found = Ranks(case)
    expected = min(found.covered, found.unrestricted)
    return holds(not found.regular or found.system == expected, name="rank U = min(n, a r_D + b r_W - r_W r_D)")
