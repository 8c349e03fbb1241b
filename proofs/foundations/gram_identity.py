r"""The squared length of an embedded measure is the quadratic form of the tangent kernel.

For every network f, every θ and every finite signed measure μ = Σ_j c_j δ_{x_j} with coefficients c_j ∈ R^C, the tangent
embedding Φ_θ μ = Σ_j Σ_k c_jk ∇_θ f_k(x_j; θ) has ‖Φ_θ μ‖² = cᵀKc with K_{(i,k),(j,l)} = ⟨∇_θ f_k(x_i; θ), ∇_θ f_l(x_j; θ)⟩.
The index of K runs over samples *and* outputs: entries between different outputs count.
Polarised, ⟨Φ_θ μ, Φ_θ ν⟩ = cᵀK(X, Z)d.

Notes
-----
Writing t_a for the tangent of the pair a = (j, k), both sides are bilinear in the tangents:

.. math:: \Big\|\sum_a c_a t_a\Big\|^2 = \sum_{a,b} c_a c_b \langle t_a, t_b \rangle .

There is no hypothesis: where f is not differentiable, any choice of the derivative serves, if both sides make the same one
(this package takes the left derivative at a kink). Hence the kernel view (infinite width) and the parameter view (finite
width) of reconstruction look at one object: the reconstruction loss ‖v − Φ_θ μ̂‖² is a squared distance of measures in the
Hilbert space of K, and Φ_θ μ = 0 if and only if Kc = 0.

The left sides below come from one backward pass per measure (`provable.networks.embed`), the right sides from
`provable.networks.tangent_kernel`, which works layer by layer with Gram matrices and never forms Φ_θ μ. Instances are
networks with readable weights, which polynomial activations carry into GF(p) and balls carry through tanh or erf.

Source: standard (the identity behind the empirical tangent kernel); the polarised form and the index over outputs are written
out here because both are easily got wrong.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Activation, Architecture, Conv2d, Identity, Linear, Polynomial, ReLU
from provable.arithmetic import BALL, FLOAT64, MODULAR, RATIONAL, constant, full, to_float
from provable.measures import Measure
from provable.networks import Parameters, embed, tangent_kernel, tangents, trace
from provable.networks.activations import derivative
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies import (
    PIECEWISE_LINEAR_ACTIVATIONS,
    SMOOTH_ACTIVATIONS,
    architectures,
    measures,
    parameters,
    readable_arrays,
)

theorem = Theorem(
    statement=r"""For every network f with C outputs and a gradient in \theta (at a kink, any one choice of it), finite
    signed measures \mu = \sum_j c_j \delta_{x_j}, \nu = \sum_j d_j \delta_{z_j} with coefficients in R^C:
    \|\Phi_\theta \mu\|^2 = c^T K(X, X) c and \langle \Phi_\theta \mu, \Phi_\theta \nu \rangle = c^T K(X, Z) d, where
    K_{(i,k),(j,l)} = \langle \nabla_\theta f_k(x_i), \nabla_\theta f_l(z_j) \rangle.""",
    source=Source("derived", note="standard; bilinearity of the tangent embedding"),
    expected="proved",
    does_not_say="nothing about a kernel at other parameters or about the limit of infinite width",
)

POLYNOMIALS = (Polynomial((0.0, 1.0, 0.5)), Polynomial((1.0, -1.0, 0.0, 0.25)))


@dataclass(frozen=True)
class TwoMeasures:
    """A network at θ, and two measures on its inputs."""

    architecture: Architecture
    parameters: Parameters
    first: Measure
    second: Measure


@theorem.instances
def networks_with_measures(draw):
    # one activation family per draw: the first two are exact in rationals, the second modulo p as well
    family = draw(st.sampled_from((PIECEWISE_LINEAR_ACTIVATIONS, POLYNOMIALS, SMOOTH_ACTIVATIONS)))
    architecture = draw(architectures(max_width=3, activations=family))
    readable = True if family is POLYNOMIALS else None  # powers of 53-bit numbers would be long rationals
    return TwoMeasures(
        architecture,
        draw(parameters(architecture, readable=readable)),
        draw(measures(architecture.input_shape, outputs=architecture.output_size)),
        draw(measures(architecture.input_shape, max_atoms=2, outputs=architecture.output_size)),
    )


@st.composite
def one_measure_on_a_small_network(draw):
    """For the false twins: few and readable numbers from one choice, so that counterexamples shrink fast."""
    inputs, units, outputs, atoms = (draw(st.integers(1, 2)) for _ in range(4))
    layers = (Linear(units), draw(st.sampled_from((Identity(), ReLU(), POLYNOMIALS[0]))), Linear(outputs))
    architecture = Architecture("small", (inputs,), layers, "squared")
    ends = np.cumsum([atoms * outputs, atoms * inputs])
    c, x, theta = np.split(draw(readable_arrays((ends[-1] + architecture.parameter_count,))), ends)
    measure = Measure(x.reshape(atoms, inputs), c.reshape(atoms, outputs))
    return TwoMeasures(architecture, Parameters.from_vector(architecture, theta), measure, measure)


@theorem.degenerate
def embeds_to_zero(pair):
    return not np.any(embed(pair.architecture, pair.parameters, pair.first).vector())


def reach(pair, measure):
    """An upper bound Σ_j ‖c_j‖ ∏ ‖...‖ on every intermediate sum of the backward pass; None outside float64.

    The gradients themselves would be too small a magnitude: a product Wᵀδ may cancel on the way and the rounding error stays.
    """
    if pair.parameters.kind != "float64":
        return None
    traced = trace(pair.architecture, pair.parameters, measure.points)
    factor, total = np.linalg.norm(to_float(measure.coefficients)), 0.0
    for index, layer in reversed(list(enumerate(pair.architecture.layers))):
        received = traced.inputs[str(index)]
        if isinstance(layer, Activation):
            factor *= np.abs(derivative(layer, received)).max(initial=0.0)
        elif isinstance(layer, Linear | Conv2d):
            places = np.prod(layer.output_shape(received.shape[1:])[1:]) if isinstance(layer, Conv2d) else 1.0
            total += factor * places**0.5 * (np.linalg.norm(received) + 1.0)
            factor *= np.linalg.norm(pair.parameters[f"{index}/weight"]) * places**0.5
    return total


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, MODULAR, BALL))
def both_views_agree(pair):
    network = (pair.architecture, pair.parameters)
    first, second = embed(*network, pair.first).vector(), embed(*network, pair.second).vector()
    c, d = pair.first.coefficients.reshape(-1), pair.second.coefficients.reshape(-1)
    # the longest chain: a sum over the parameters after one over samples and outputs after the backward pass
    k = len(first) + c.size + d.size + 8 * len(pair.architecture.layers)
    reaches = reach(pair, pair.first), reach(pair, pair.second)
    sizes = (None, None) if None in reaches else (reaches[0] ** 2, reaches[0] * reaches[1])
    kernel = tangent_kernel(*network, pair.first.points)
    yield equal(first @ first, c @ kernel @ c, operations=k, magnitude=sizes[0], name="‖Φμ‖² = cᵀKc")
    crossed = tangent_kernel(*network, pair.first.points, pair.second.points)
    yield equal(first @ second, c @ crossed @ d, operations=k, magnitude=sizes[1], name="⟨Φμ, Φν⟩ = cᵀK(X,Z)d")


@theorem.derivation
def bilinearity():
    """Induction over the pairs (j, k): one more atom changes both sides by the same amount, coordinate by coordinate.

    Without atoms both sides are zero. Everything is linear in the parameters' coordinates, so a generic coordinate p, a
    generic row of K with three entries and a generic 2×2 block stand for any number of them.
    """
    import sympy

    v, w, t, c, d = sympy.symbols("v_p w_p t_p c d")
    yield identity(
        "one more atom (c, t), any coordinate p: (v_p + c t_p)² = v_p² + 2c v_p t_p + c² t_p²",
        (v + c * t) ** 2,
        v**2 + 2 * c * (v * t) + c**2 * (t * t),
    )
    yield identity(
        "polarised, any coordinate p: (v_p + c t_p) w_p = v_p w_p + c t_p w_p", (v + c * t) * w, v * w + c * t * w
    )
    # with v = Σ_b c_b t_b the increment of the left side is 2c Σ_b c_b ⟨t_b, t⟩ + c² ⟨t, t⟩: the new row, column and corner
    kernel = sympy.MatrixSymbol("K", 3, 3).as_explicit()
    row = sympy.Matrix(3, 1, sympy.symbols("k_1:4"))
    corner = sympy.Symbol("k")
    symmetric = (kernel + kernel.T) / 2
    coefficients = sympy.Matrix(3, 1, sympy.symbols("c_1:4"))
    bordered = sympy.Matrix(sympy.BlockMatrix([[symmetric, row], [row.T, sympy.Matrix([[corner]])]]))
    longer = coefficients.col_join(sympy.Matrix([[c]]))
    yield identity(
        "bordering K by a row k, its transpose and a corner adds 2c Σ_b c_b k_b + c² k to the form",
        (longer.T * bordered * longer)[0],
        (coefficients.T * symmetric * coefficients)[0] + 2 * c * (row.T * coefficients)[0] + c**2 * corner,
    )
    # a parameter enters f = W h through δ hᵀ: its two tangents contract to products of the layer's Gram matrices
    delta, eta, h, g = (sympy.Matrix(2, 1, sympy.symbols(f"{name}_1:3")) for name in ("delta", "eta", "h", "g"))
    yield identity(
        "a linear layer: ⟨δhᵀ, ηgᵀ⟩ = ⟨δ, η⟩⟨h, g⟩, entry by entry of the generic 2×2 block",
        sum((delta * h.T).multiply_elementwise(eta * g.T)),
        (delta.T * eta)[0] * (h.T * g)[0],
    )
    yield identity("two measures: the coefficients of both factor out", (c * v) * (d * w), c * d * (v * w))


@theorem.false_twin("outputs do not interact: only ⟨∇f_k, ∇f_k⟩ counts", instances=one_measure_on_a_small_network())
def block_diagonal_kernel(pair):
    first = embed(pair.architecture, pair.parameters, pair.first).vector()
    t, c = tangents(pair.architecture, pair.parameters, pair.first.points), pair.first.coefficients
    form = sum(c[:, k] @ (t[:, k] @ t[:, k].T) @ c[:, k] for k in range(pair.architecture.output_size))
    size = reach(pair, pair.first)
    yield equal(first @ first, form, operations=len(first) + c.size, magnitude=None if size is None else size**2)


@theorem.false_twin("the weights' kernel suffices, biases cancel", instances=one_measure_on_a_small_network())
def kernel_of_the_weights(pair):
    first = embed(pair.architecture, pair.parameters, pair.first).vector()
    is_weight = np.concatenate(
        [np.full(array.size, name.endswith("weight")) for name, array in pair.parameters.items()]
    )
    t, c = tangents(pair.architecture, pair.parameters, pair.first.points), pair.first.coefficients.reshape(-1)
    t = t.reshape(c.size, -1)[:, is_weight]
    size = reach(pair, pair.first)
    yield equal(first @ first, c @ (t @ t.T) @ c, operations=len(first), magnitude=None if size is None else size**2)


@theorem.false_twin("the kernel of the last layer is the tangent kernel", instances=one_measure_on_a_small_network())
def conjugate_kernel(pair):
    last = f"{len(pair.architecture.layers) - 1}/"
    first = embed(pair.architecture, pair.parameters, pair.first)
    in_last = np.concatenate([np.full(array.size, name.startswith(last)) for name, array in first.items()])
    t, c = tangents(pair.architecture, pair.parameters, pair.first.points), pair.first.coefficients.reshape(-1)
    t, v = t.reshape(c.size, -1)[:, in_last], first.vector()
    size = reach(pair, pair.first)
    yield equal(v @ v, c @ (t @ t.T) @ c, operations=len(v), magnitude=None if size is None else size**2)


@theorem.false_twin(
    "1 % less: ‖Φμ‖² ≤ 0.99 cᵀKc", instances=one_measure_on_a_small_network(), arithmetics=(FLOAT64, RATIONAL, BALL)
)
def a_little_less(pair):
    first = embed(pair.architecture, pair.parameters, pair.first).vector()
    kernel, c = (
        tangent_kernel(pair.architecture, pair.parameters, pair.first.points),
        pair.first.coefficients.reshape(-1),
    )
    size = reach(pair, pair.first)
    bound = constant(0.99, first) * (c @ kernel @ c)
    yield at_most(first @ first, bound, operations=len(first), magnitude=None if size is None else size**2)


@theorem.false_twin(
    "the order of samples and outputs in the index of the kernel does not matter",
    instances=one_measure_on_a_small_network(),
)
def output_major_coefficients(pair):
    first = embed(pair.architecture, pair.parameters, pair.first).vector()
    kernel = tangent_kernel(pair.architecture, pair.parameters, pair.first.points)
    c = pair.first.coefficients.T.reshape(-1) + full((len(kernel),), 0, first)
    size = reach(pair, pair.first)
    yield equal(first @ first, c @ kernel @ c, operations=len(first), magnitude=None if size is None else size**2)
