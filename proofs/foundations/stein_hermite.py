r"""Gaussian weights and Hermite tensors turn a network's output into moment tensors of its inputs.

For w ~ N(0, I_d) and the Hermite tensors H_1(w) = w, H_2(w) = w⊗w − I, H_3, H_4: E[g(w) H_p(w)] = E ∇^p g(w). For
g(w) = Σ_i r_i σ(wᵀx_i) this is Σ_i r_i E[σ^(p)(‖x_i‖Z)] x_i^{⊗p} with Z ~ N(0, 1). σ has to be so smooth that σ^(p−1) is
continuous (its derivative σ^(p) may jump); with ReLU and p = 2 the formula loses the Dirac mass of σ''. And σ and its
derivatives up to order p have to grow at most exponentially; a bound on σ alone is not enough, since for σ(z) = sin(exp(z²))
and p = 1 the right side diverges. Monte-Carlo averages over m weights approach the expectation like m^{-1/2}.

Notes
-----
.. math::

    H_p(w) = (-1)^p \nabla^p \varphi(w) / \varphi(w), \qquad
    \mathbb E[g H_p] = (-1)^p \int g\, \nabla^p \varphi = \int (\nabla^p g)\, \varphi ,

with no boundary terms when g and its derivatives up to order p grow at most exponentially. In coordinates
H_3 = w_i w_j w_k − w_i δ_jk − w_j δ_ki − w_k δ_ij, and H_4 has six terms w_i w_j δ_kl and three terms δ_ij δ_kl.
Contracted with a vector, H_4 needs no fourth-order tensor:
H_4(w)(·,·,·,a) = (a·w) w^{⊗3} − (a·w) w ⊗̃ I − Sym(a⊗w⊗w) + a ⊗̃ I.

Instances take σ = one polynomial left of zero and another one right of it, so that both sides are Gaussian moments and
half-moments: numbers a + b √(v/2π) with rational a, b, which are compared part by part (π is transcendental, so they are
equal if and only if both parts are). The left side expands (wᵀx)^k into monomials and multiplies by the components of H_p;
the right side differentiates σ and uses the law of ‖x‖Z. Both parts of σ coincide unless the inputs lie on coordinate axes,
because moments over other half-spaces are no such numbers.

Source: arXiv:2212.03714v3, Lemma 4.1 with equations 4.2 to 4.4, states the case of a batch and p = 2, 3 (read); the classical
statement is Stein's. The condition on σ^(p−1), the general order and the contraction are derived here.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, MODULAR, RATIONAL, full, kind, positive
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import gaussian_arrays, readable_arrays

theorem = Theorem(
    statement=r"""For w ~ N(0, I), p = 1, ..., 4 and \sigma with continuous \sigma^{(p-1)}, piecewise continuous
    \sigma^{(p)} and at most exponential growth of \sigma and of its derivatives up to order p:
    E[\sum_i r_i \sigma(w^T x_i) H_p(w)] = \sum_i r_i E[\sigma^{(p)}(\|x_i\| Z)] x_i^{\otimes p}.""",
    source=Source(
        "arXiv:2212.03714v3", "Lemma 4.1", "read; the order, the smoothness condition and piecewise σ are derived here"
    ),
    expected="proved",
    does_not_say="how many weights an estimate needs; the rate is in their number, at fixed dimension and batch",
)

SMOOTH, STANDARD = "the derivative of order p − 1 is continuous", "weights of variance one"


@dataclass(frozen=True)
class Batch:
    """Inputs (n, d), residuals (n,), σ's coefficients right and left of zero, the order p, the variance of the weights."""

    inputs: np.ndarray
    residuals: np.ndarray
    right: np.ndarray
    left: np.ndarray
    order: int
    variance: float

    @property
    def jump(self):
        """Coefficients of the polynomial that is added right of zero."""
        return self.right - self.left


def batch(draw, *, orders=(1, 2, 3, 4), first_jump=0, spliced=None, variances=(1.0,)):
    """Draw a batch; σ's right part differs from its left one from degree p + first_jump on, or not at all."""
    order = draw(st.sampled_from(orders))
    size, dimension = draw(st.integers(1, 2)), draw(st.integers(1, 3 if order < 4 else 2))
    degree = order + draw(st.integers(0, 2))
    spread = draw(st.integers(0, 4)) == 4
    spliced = draw(st.booleans()) if spliced is None else spliced
    count = size * dimension + size + 2 * (degree + 1)
    values = draw(gaussian_arrays((count,)) if spread else readable_arrays((count,)))
    points, residuals, left, right = np.split(values, np.cumsum([size * dimension, size, degree + 1]))
    points = points.reshape(size, dimension).copy()
    if spliced:
        axes = [draw(st.integers(0, dimension - 1)) for _ in range(size)]
        points *= np.eye(dimension)[axes]
        right = np.where(np.arange(degree + 1) < order + first_jump, left, right)
    return Batch(points, residuals, right if spliced else left, left, order, draw(st.sampled_from(variances)))


@theorem.instances
def batches(draw):
    return batch(draw)


@theorem.hypothesis(SMOOTH, arithmetic=RATIONAL)
def pieces_meet(case):
    return all(number == 0 for number in case.jump[: case.order])


@theorem.hypothesis(STANDARD)
def standard_weights(case):
    return case.variance == 1


@theorem.degenerate
def expectation_vanishes(case):
    return not any(np.any(part) for part in right_side(case))


def double_factorial(n):
    """n!! for n ≥ −1."""
    return math.prod(range(n, 0, -2))


def moment(power, variance):
    """E[w^power] for w ~ N(0, variance)."""
    return 0 if power % 2 else double_factorial(power - 1) * variance ** (power // 2)


def half_moment(power, variance):
    """E[w^power; w > 0] as (a, b), meaning a + b √(variance / 2π)."""
    value = double_factorial(power - 1) * variance ** (power // 2)
    return (0, value) if power % 2 else (value / 2, 0)


def hermite(indices, sign=-1):
    """The component H_p(w)_indices as a list of (factor, indices of the w that are multiplied)."""
    everything = range(len(indices))
    terms = [(1, indices)]
    pairs = [pair for pair in itertools.combinations(everything, 2) if indices[pair[0]] == indices[pair[1]]]
    terms += [(sign, tuple(indices[k] for k in everything if k not in pair)) for pair in pairs]
    if len(indices) == 4:
        terms += [(1, ()) for one, other in itertools.combinations(pairs, 2) if not set(one) & set(other)]
    return terms


def powers_of(point, exponent):
    """(wᵀx)^exponent as a list of (coefficient, powers of w)."""
    result = []
    for powers in itertools.product(range(exponent + 1), repeat=len(point)):
        if sum(powers) == exponent:
            multinomial = math.factorial(exponent) // math.prod(map(math.factorial, powers))
            result.append((multinomial * math.prod(x**k for x, k in zip(point, powers, strict=True)), powers))
    return result


def components(case):
    """Index tuples of the distinct components of a symmetric tensor."""
    return list(itertools.combinations_with_replacement(range(case.inputs.shape[1]), case.order))


def left_side(case, component=hermite):
    """E[Σ r_i σ(wᵀx_i) H_p(w)]: rational parts and coefficients of √(v/2π), one entry for each distinct component."""
    tensor = full((2, len(components(case))), 0, case.inputs)
    terms = [
        (place, factor, [monomial.count(axis) for axis in range(case.inputs.shape[1])])
        for place, indices in enumerate(components(case))
        for factor, monomial in component(indices)
    ]
    for point, residual in zip(case.inputs, case.residuals, strict=True):
        for exponent, (left, jump) in enumerate(zip(case.left, case.jump, strict=True)):
            if left == 0 and jump == 0:
                continue
            for coefficient, powers in powers_of(point, exponent):
                for place, factor, monomial in terms:
                    total = [power + more for power, more in zip(powers, monomial, strict=True)]
                    scale = residual * coefficient * factor
                    expectation = math.prod(moment(power, case.variance) for power in total)
                    if expectation != 0:
                        tensor[0, place] += scale * left * expectation
                    if jump != 0:
                        rational, irrational = right_of_zero(case, point, total)
                        tensor[0, place] += scale * jump * rational
                        tensor[1, place] += scale * jump * irrational
    return tensor


def right_of_zero(case, point, powers):
    """E[w^powers; wᵀx > 0] in the two parts, for an input x on a coordinate axis."""
    if not any(number != 0 for number in point):
        return 0, 0
    (axis,) = (k for k, number in enumerate(point) if number != 0)
    others = math.prod(moment(power, case.variance) for k, power in enumerate(powers) if k != axis)
    sign = 1 if positive(point[axis]) or powers[axis] % 2 == 0 else -1
    return tuple(sign * part * others for part in half_moment(powers[axis], case.variance))


def right_side(case, *, unit_norm=False):
    """Σ r_i E[σ^(p)(‖x_i‖Z)] x_i^{⊗p} in the same form, with Z ~ N(0, v)."""
    tensor = full((2, len(components(case))), 0, case.inputs)
    for point, residual in zip(case.inputs, case.residuals, strict=True):
        square = 1 if unit_norm else sum(x * x for x in point)
        for exponent in range(case.order, len(case.left)):
            rest = exponent - case.order
            slope = residual * math.perm(exponent, case.order)
            even = slope * square ** (rest // 2)
            expectations = [even * case.left[exponent] * moment(rest, case.variance), 0]
            if case.jump[exponent] != 0:  # then x lies on an axis, and its norm is rational
                norm_power = even if rest % 2 == 0 else even * sum(x if positive(x) else -x for x in point)
                for part, half in enumerate(half_moment(rest, case.variance)):
                    expectations[part] = expectations[part] + norm_power * case.jump[exponent] * half
            for place, indices in enumerate(components(case)):
                product = math.prod(point[index] for index in indices)
                for part, expectation in enumerate(expectations):
                    tensor[part, place] += expectation * product
    return tensor


def sum_of_sizes(case):
    """The left side with every term replaced by its absolute value; None for exact numbers."""
    if kind(case.inputs) != "float64":
        return None
    jump = np.abs(case.jump)
    absolute = Batch(np.abs(case.inputs), np.abs(case.residuals), jump, 0 * jump, case.order, case.variance)
    smooth = Batch(absolute.inputs, absolute.residuals, np.abs(case.left), np.abs(case.left), case.order, case.variance)
    parts = [
        left_side(one, lambda indices: hermite(indices, sign=1)) for one in (absolute, smooth) if np.any(one.right)
    ]
    return max((part.max() for part in parts), default=0.0) + np.abs(right_side(case)).max()


def compare(case, left, right):
    """Both parts of the moments agree."""
    # sums of at most 200 terms, each a product of a dozen numbers
    size = sum_of_sizes(case)
    yield equal(left[0], right[0], operations=200, magnitude=size, name="rational parts")
    yield equal(left[1], right[1], operations=200, magnitude=size, name="coefficients of √(v/2π)")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, MODULAR))
def moments_agree(case):
    yield from compare(case, left_side(case), right_side(case))


def patterns(order):
    """Index tuples up to renaming of the coordinates: they are exchangeable, so one tuple of each kind is generic."""
    for indices in itertools.combinations_with_replacement(range(order), order):
        if all(later <= earlier + 1 for earlier, later in itertools.pairwise((-1, *indices))):
            yield indices


@theorem.derivation
def integration_by_parts():
    """One partial integration per order; the fourth order touches at most four coordinates, so four of them are generic."""
    import sympy

    w = sympy.symbols("w_1:5")
    density = sympy.exp(-sum(v * v for v in w) / 2)
    for order in (1, 2, 3, 4):
        derivatives, tensor = [], []
        for indices in patterns(order):
            derivatives.append((-1) ** order * sympy.diff(density, *(w[k] for k in indices)) / density)
            tensor.append(sum(factor * math.prod(w[k] for k in rest) for factor, rest in hermite(indices)))
        name = f"H_{order} = (−1)^{order} ∇^{order}φ / φ, every component"
        yield identity(name, sympy.Matrix(derivatives), sympy.Matrix(tensor))
    g, psi = sympy.Function("g")(*w[:2]), sympy.Function("psi")(*w[:2])
    yield identity(
        "product rule: g ∂_iψ = ∂_i(gψ) − (∂_i g)ψ, so each order moves one derivative from φ to g",
        g * psi.diff(w[0]),
        (g * psi).diff(w[0]) - g.diff(w[0]) * psi,
    )
    z, x1, x2, t = sympy.symbols("z x_1 x_2 t", real=True)
    function = sympy.Function("F")
    inner = x1 * w[0] + x2 * w[1]
    yield identity(
        "chain rule, once per order: ∂_i F(wᵀx) = x_i F'(wᵀx)",
        function(inner).diff(w[0]),
        x1 * sympy.Subs(function(z).diff(z), z, inner),
    )
    yield identity(
        "wᵀx is distributed as ‖x‖Z: the characteristic functions agree",
        sympy.exp(-((t * x1) ** 2) / 2) * sympy.exp(-((t * x2) ** 2) / 2),
        sympy.exp(-(t**2) * (x1**2 + x2**2) / 2),
    )
    yield from contraction(sympy)
    scale = sympy.Symbol("s", positive=True)
    weight = sympy.exp(-(z**2) * (1 + 2 * scale**2) / 2) / sympy.sqrt(2 * sympy.pi)
    slope = 2 / sympy.sqrt(sympy.pi) * (4 * (scale * z) ** 2 - 2)
    yield identity(
        "the case of the rate: E erf'''(sZ) = −4 / (√π (1 + 2s²)^{3/2})",
        sympy.integrate(slope * weight, (z, -sympy.oo, sympy.oo)),
        -4 / (sympy.sqrt(sympy.pi) * (1 + 2 * scale**2) ** sympy.Rational(3, 2)),
    )


def contraction(sympy):
    """The contraction of H_4 with a vector, in three coordinates: three free indices touch no more."""
    w, a = sympy.symbols("w_1:4"), sympy.symbols("a_1:4")
    delta = sympy.KroneckerDelta
    along, contracted, formulas = sum(p * q for p, q in zip(a, w, strict=True)), [], []

    def tensor(indices):
        return sum(factor * math.prod(w[k] for k in rest) for factor, rest in hermite(indices))

    for i, j, k in patterns(3):
        contracted.append(sum(a[axis] * tensor((i, j, k, axis)) for axis in range(3)))
        formula = along * (w[i] * w[j] * w[k] - w[i] * delta(j, k) - w[j] * delta(k, i) - w[k] * delta(i, j))
        formula += -(a[i] * w[j] * w[k] + a[j] * w[k] * w[i] + a[k] * w[i] * w[j])
        formula += a[i] * delta(j, k) + a[j] * delta(k, i) + a[k] * delta(i, j)
        formulas.append(formula)
    name = "H_4(w)(·,·,·,a) = (a·w) w⊗w⊗w − (a·w) w⊗̃I − Sym(a⊗w⊗w) + a⊗̃I"
    yield identity(name, sympy.Matrix(contracted), sympy.Matrix(formulas))


@theorem.rate(
    exponent=-0.5,
    sizes=(400, 1600, 6400, 25600),
    false_exponents={"the error of the average falls like 1/m": -1.0},
)
def monte_carlo_error(size, rng):
    """Root mean square, over 4 trials, of the error of (1/m) Σ_j g(w_j) H_3(w_j) for g(w) = erf(wᵀx) − ½ erf(wᵀy)."""
    from scipy.special import erf

    inputs, residuals = np.array([[1.0, 0.0], [0.6, -1.2]]), np.array([1.0, -0.5])
    factors = residuals * -4 / math.sqrt(math.pi) / (1 + 2 * np.sum(inputs**2, axis=1)) ** 1.5
    weights = rng.standard_normal((2, 4, size))
    values, total = np.tensordot(residuals, erf(np.tensordot(inputs, weights, 1)), 1), 0.0
    for indices, multiplicity in (((0, 0, 0), 1), ((0, 0, 1), 3), ((0, 1, 1), 3), ((1, 1, 1), 1)):
        component = sum(factor * math.prod(weights[k] for k in rest) for factor, rest in hermite(indices))
        expected = factors @ np.prod(inputs[:, list(indices)], axis=1)
        total += multiplicity * np.mean((np.mean(values * component, axis=1) - expected) ** 2)
    return math.sqrt(total)


@theorem.without(SMOOTH)
def relu_at_order_two():
    return Batch(np.ones((1, 1)), np.ones(1), np.array([0.0, 1.0]), np.zeros(2), 2, 1.0)


@theorem.without(STANDARD)
def weights_of_half_the_variance():
    return Batch(np.ones((1, 1)), np.ones(1), np.array([0.0, 1.0]), np.array([0.0, 1.0]), 1, 0.5)


@theorem.false_twin(
    "H_3 = w⊗w⊗w − w⊗I, not symmetrised", instances=lambda draw: batch(draw, orders=(3,), spliced=False)
)
def one_term_of_three(case):
    def component(indices):
        i, j, k = indices
        return [(1, indices), *([(-1, (i,))] if j == k else [])]

    yield from compare(case, left_side(case, component), right_side(case))


@theorem.false_twin(
    "inputs need not have norm one: E σ^(p)(Z) serves", instances=lambda draw: batch(draw, spliced=False)
)
def unit_norm_assumed(case):
    yield from compare(case, left_side(case), right_side(case, unit_norm=True))


@theorem.false_twin(
    "a continuous derivative of order p − 2 suffices",
    without=(SMOOTH,),
    instances=lambda draw: batch(draw, first_jump=-1, spliced=True),
)
def one_derivative_less(case):
    if any(number != 0 for number in case.jump[: max(case.order - 1, 0)]):
        return holds(True, name="nothing is claimed")
    return list(moments_agree(case))


@theorem.false_twin(
    "the variance of the weights does not matter",
    without=(STANDARD,),
    instances=lambda draw: batch(draw, spliced=False, variances=(1.0, 0.5, 0.25)),
)
def any_variance(case):
    yield from moments_agree(case)


@theorem.false_twin(
    "H_4 has six terms w⊗w⊗I and one term I⊗I",
    instances=lambda draw: batch(draw, orders=(4,), spliced=False),
)
def one_double_contraction(case):
    def component(indices):
        terms = hermite(indices)
        constants = [term for term in terms if term[1] == ()]
        return [term for term in terms if term[1] != ()] + constants[:1]

    yield from compare(case, left_side(case, component), right_side(case))
