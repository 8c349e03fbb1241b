"""Moments of an odd network determine samples and residuals at most up to joint signs, and under conditions they do.

The corrected form of Theorem 5.1 of Wang, Lee and Lei. Let σ be odd with finite a_k(s) = E[σ(sZ) He_k(Z)], let the samples
x_i = s_i u_i (s_i > 0, ‖u_i‖ = 1) be linearly independent and their residuals r_i nonzero. The population moments of the
gradient of the output weights, g(w) = Σ_i r_i σ(w·x_i) with w ~ N(0, I), are M_k = Σ_i r_i a_k(s_i) u_i^{⊗k} for k = 1, 3.
They do not change when some pairs (x_i, r_i) change sign. If a_3 does not vanish at the norms, M_1 and M_3 determine the
lines through the x_i and, for u_i or -u_i, the numbers r_i a_1(s_i) and r_i a_3(s_i). If it is known for each line which norm
s_i its sample has (the set of norms is not enough), or if the ratio a_3/a_1 is injective (infinite where a_1 vanishes), the
pairs (x_i, r_i) follow up to a joint sign, and with y_i = f(x_i) - r_i the labels as well. No other batch that meets these
conditions, of whatever size, has the same moments; batches with dependent samples may have.

The ratio is injective for αz + βz³ with αβ ≠ 0, where it is 6βs²/(α + 3βs²), and for erf, where it is -2s²/(1 + 2s²). For the
cubic the moments need no limit: they are differences of the gradient at finitely many weights, so the claim below recovers
the batch from a network's gradient exactly, in rationals. The claim's evidence is for the cubic alone, with the norms
unknown; erf, other odd activations and known norms rest on the derivation.

Notes
-----
Given z = w·u_i, the components of He_k(w) across u_i have mean zero and the one along it is He_k(z); hence the formula for
M_k, whether σ is smooth or not. Uniqueness is Jennrich's argument: with y_j the basis dual to the u_i in their span,
M_3(·, p) y_j = r_j a_3 (p·u_j) u_j, so u_j is the eigenvector of the pencil (M_3(·, p), M_3(·, q)) with the eigenvalue
(p·u_j)/(q·u_j), and for independent u_j these differ for almost all p and q. By linearity each step concerns one atom and any
other one; two generic atoms stand for all.

At finite width the moments are means over m weights. The rate below measures the resulting estimate for tanh with unit norms:
third moment in the span of the batch, which is read off dL/dW, then the pencil.
"""

import functools
from dataclasses import dataclass
from itertools import product
from math import isqrt

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial, Tanh
from provable.arithmetic import constant, full, rank, solve
from provable.measures import Measure
from provable.networks import Parameters, forward, loss_gradient
from provable.theorems import RATIONAL, Source, Theorem, different, equal, holds, identity
from provable.theorems.strategies import gaussian_arrays, readable_arrays

theorem = Theorem(
    statement=r"""Let $\sigma$ be odd with finite $a_k(s) = E[\sigma(sZ)He_k(Z)]$, $g(w) = \sum_i r_i\sigma(w^Tx_i)$ with
    linearly independent $x_i = s_iu_i$, $s_i > 0$, $\|u_i\| = 1$, and $r_i \ne 0$. For $w \sim N(0, I)$ and $k = 1, 3$ the
    moments $M_k = E[g(w)He_k(w)] = \sum_i r_ia_k(s_i)u_i^{\otimes k}$ are invariant under
    $(x_i, r_i) \mapsto (-x_i, -r_i)$ for any subset. If $a_3(s_i) \ne 0$, and if for each line $\mathbb{R}x_i$ the norm
    $s_i$ of its sample is known or $a_3/a_1$ is injective, as for $\alpha z + \beta z^3$ with $\alpha\beta \ne 0$ and for
    erf, then among the batches that meet these conditions $M_1$ and $M_3$ determine $\{\pm(x_i, r_i)\}$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3", "Theorem 5.1, corrected", "derived here; the printed form was read"
    ),
    expected="proved",
    does_not_say=(
        "the claim is checked for the cubic activation with unknown norms only, the other cases rest on the derivation; "
        "the rate of the finite-width estimate is measured for tanh with two samples and unit norms, not proved"
    ),
)


@dataclass(frozen=True)
class Batch:
    """Samples x_i with residuals r_i; the activation is linear·z + cubic·z³."""

    linear: float
    cubic: float
    inputs: np.ndarray
    residuals: np.ndarray


@st.composite
def batches(draw, *, sizes=(1, 2, 3), extra=(0, 1), readable_only=False):
    size = draw(st.sampled_from(sizes))
    dimension = max(1, size + draw(st.sampled_from(extra)))
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((size * (dimension + 1) + 2,)))
    inputs, factors = numbers[: size * dimension].reshape(size, dimension), numbers[size * dimension :]
    linear, cubic, *residuals = np.where(factors == 0, 1.0, factors)
    if size > 1 and not readable_only and draw(st.integers(0, 3)) == 0:  # nearly dependent samples
        inputs[-1] = inputs[0] + 2.0**-20 * draw(gaussian_arrays((dimension,)))
    return Batch(float(linear), float(cubic), inputs, np.array(residuals))


small_batches = batches(sizes=(1, 2), readable_only=True)
theorem.instances(batches())


@theorem.hypothesis("the samples are linearly independent", arithmetic=RATIONAL)
def independent(batch):
    return rank(batch.inputs) == len(batch.inputs)


@theorem.hypothesis("no residual is zero")
def nonzero_residuals(batch):
    return all(residual != 0 for residual in batch.residuals)


@theorem.hypothesis("the activation has a linear part")
def linear_part(batch):
    return batch.linear != 0


@theorem.hypothesis("the activation has a cubic part")
def cubic_part(batch):
    return batch.cubic != 0


def observed(batch, inputs, residuals):
    """dL/da_j at the weights w_j = n for all multi-indices n with 1 <= |n| <= 3, by the package: a function n -> g(n)."""
    dimension = inputs.shape[1]
    queries = [n for n in product(range(4), repeat=dimension) if 1 <= sum(n) <= 3]
    activation = Polynomial((0.0, float(batch.linear), 0.0, float(batch.cubic)))
    layers = (Linear(len(queries), bias=False), activation, Linear(1, bias=False))
    network = Architecture("queries", (dimension,), layers, "squared")
    weight = full((len(queries), dimension), 0, inputs)
    for row, query in zip(weight, queries, strict=True):
        row[:] = [constant(n, inputs) for n in query]
    parameters = Parameters(network, {"0/weight": weight, "2/weight": full((1, len(queries)), 0.25, inputs)})
    labels = forward(network, parameters, inputs)[:, 0] - residuals  # the labels that leave these residuals
    values = loss_gradient(network, parameters, inputs, labels)["2/weight"][0]
    return dict(zip(queries, values, strict=True))


def moments(values, dimension):
    """M_1 and M_3 of a cubic g without constant and quadratic part, from its values at small multi-indices."""
    unit = [tuple(int(i == k) for k in range(dimension)) for i in range(dimension)]

    def at(*axes):
        return values[tuple(sum(unit[axis][k] for axis in axes) for k in range(dimension))]

    third = np.empty((dimension,) * 3, dtype=object)
    for i, j, k in np.ndindex(third.shape):  # the third difference of a cubic is its third derivative
        third[i, j, k] = at(i, j, k) - at(i, j) - at(i, k) - at(j, k) + at(i) + at(j) + at(k)
    gradient_at_zero = np.array([at(i) - third[i, i, i] / 6 for i in range(dimension)], dtype=object)
    return gradient_at_zero + np.trace(third) / 2, third


def pivots(matrix):
    """Indices of rows that form a basis of the row space."""
    chosen: list[int] = []
    for row in range(len(matrix)):
        if rank(matrix[[*chosen, row]]) > len(chosen):
            chosen.append(row)
    return chosen


def square_root(number):
    """The rational square root, or None."""
    number = flint.fmpq(number)
    if number < 0:
        return None
    roots = [isqrt(int(part)) for part in (number.p, number.q)]
    root = flint.fmpq(*roots)
    return root if root * root == number else None


def directions(core):
    """Jennrich: the vectors v_j of a decomposition Σ v_j^{⊗3} c_j with as many independent terms as dimensions, or None."""
    size = len(core)
    # p = (1, t, t², …) and q = (1, u, u², …) fail where a polynomial vanishes: the product of all gaps of eigenvalues and
    # all q·u_j. It is not zero if the atoms are independent, so it does not vanish on all of this grid, which exceeds its
    # degrees
    gaps = (size - 1) * size * (size - 1) // 2
    for u, t in product(range(gaps + size * (size - 1) + 1), range(gaps + 1)):
        one, other = (core @ np.array([flint.fmpq(n**k) for k in range(size)], dtype=object) for n in (t, u))
        if rank(other) < size:
            continue
        pencil = solve(other, one).T  # one · other⁻¹, since both are symmetric
        _, factors = flint.fmpq_mat(size, size, list(pencil.reshape(-1))).charpoly().factor()
        eigenvalues = [-factor[0] / factor[1] for factor, power in factors if factor.degree() == power == 1]
        if len(eigenvalues) < size:
            continue
        vectors = []
        for eigenvalue in eigenvalues:
            reduced = pencil.copy()
            reduced[range(size), range(size)] -= eigenvalue
            null, nullity = flint.fmpz_mat(*integers(reduced)).nullspace()
            assert nullity == 1
            vectors.append([flint.fmpq(null[row, 0]) for row in range(size)])
        return np.array(vectors, dtype=object)
    return None


def integers(matrix):
    """Size and entries of an integer matrix with the same null space."""
    rows = []
    for row in matrix:
        multiple = 1
        for entry in row:
            multiple *= int(entry.q)
        rows += [int((entry * multiple).p) for entry in row]
    return len(matrix), len(matrix), rows


def recovered(batch, first, third):
    """The pairs (x_i, r_i) from the two moments, one of each pair of opposite ones; None if they are not determined."""
    dimension = len(first)
    flat = third.reshape(dimension, -1)
    basis = pivots(flat)
    if not basis:
        return []
    vectors = directions(third[np.ix_(basis, basis, basis)])
    if vectors is None:
        return None
    size = len(basis)
    unit = full((size, size), 0, third)
    unit[range(size), range(size)] = constant(1, third)
    duals = solve(vectors, unit).T
    gradient_at_zero = first - np.trace(third) / 2
    pairs = []
    for dual in duals:
        inner = third[np.ix_(range(dimension), basis, basis)] @ dual @ dual
        weight = inner[basis] @ dual  # 6 β r t³ for x = t v
        vector = inner / weight
        slope = gradient_at_zero[basis] @ dual  # α r t
        square = None if slope == 0 else batch.linear * weight / (6 * batch.cubic * slope)
        scale = None if square is None else square_root(square)
        if scale is None or scale == 0 or batch.linear == 0:
            return None
        pairs.append((scale * vector, slope / (batch.linear * scale)))
    return pairs


def canonical(pairs):
    """Pairs with the first nonzero coordinate of the point made positive, in a fixed order."""
    result = []
    for point, residual in pairs:
        leading = next((entry for entry in point if entry != 0), 1)
        sign = 1 if leading > 0 else -1
        result.append((*(sign * entry for entry in point), sign * residual))
    return sorted(result)


def closed_form(batch, cubic_factor=3):
    """Σ r_i a_k(s_i) u_i^{⊗k} for k = 1, 3: a_1(s) = αs + 3βs³ and a_3(s) = 6βs³."""
    x, r = batch.inputs, batch.residuals
    squares = (x * x).sum(axis=1)
    first = (r * (batch.linear + cubic_factor * batch.cubic * squares)) @ x
    third = 6 * batch.cubic * np.einsum("i,ij,ik,il->jkl", r, x, x, x)
    return first, third


def moments_of(batch, inputs=None, residuals=None):
    inputs = batch.inputs if inputs is None else inputs
    values = observed(batch, inputs, batch.residuals if residuals is None else residuals)
    return moments(values, inputs.shape[1])


@theorem.claim(arithmetics=(RATIONAL,))
def determined_up_to_joint_sign(batch):
    first, third = moments_of(batch)
    expected = closed_form(batch)
    yield equal(first, expected[0], operations=1, name="M_1 is Σ r_i a_1(s_i) u_i")
    yield equal(third, expected[1], operations=1, name="M_3 is Σ r_i a_3(s_i) u_i^⊗3")
    flipped = moments_of(batch, -batch.inputs, -batch.residuals)
    yield equal(first, flipped[0], operations=1, name="M_1 does not see joint signs")
    yield equal(third, flipped[1], operations=1, name="M_3 does not see joint signs")
    yield batch_is_recovered(batch, first, third)


def batch_is_recovered(batch, first, third):
    """The pairs that the two moments give are those of the batch, up to joint signs."""
    found = recovered(batch, first, third)
    truth = list(zip(batch.inputs, batch.residuals, strict=True))
    return holds(
        found is not None and canonical(found) == canonical(truth), name="M_1 and M_3 give the batch up to joint signs"
    )


@theorem.derivation
def by_jennrich():
    import sympy as sp

    z = sp.symbols("z", real=True)
    s = sp.symbols("s", positive=True)
    alpha, beta, r, t = sp.symbols("alpha beta r t", nonzero=True)
    density = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)

    def mean(function):
        return sp.simplify(sp.integrate(sp.expand(function) * density, (z, -sp.oo, sp.oo)))

    def polynomial_mean(function):  # E Z^(2n) = (2n - 1)!!
        return sum(c * sp.factorial2(k - 1) for (k,), c in sp.Poly(function, z).terms() if k % 2 == 0)

    yield identity("Gaussian moments are double factorials, as in E Z⁴ = 3", mean(z**4), polynomial_mean(z**4))
    cubic = alpha * s * z + beta * (s * z) ** 3
    a_1, a_3 = polynomial_mean(cubic * z), polynomial_mean(cubic * (z**3 - 3 * z))
    yield identity("αz + βz³: a_1(s) = αs + 3βs³", a_1, alpha * s + 3 * beta * s**3)
    yield identity("αz + βz³: a_3(s) = 6βs³", a_3, 6 * beta * s**3)
    along, other = sp.symbols("w_u w_v")
    # He_3 with one, two or three indices across u; each is odd in z or has the factor z² - 1
    across = ((along**2 - 1) * z, along * (z**2 - 1), along * z * other, z**3 - 3 * z, (z**2 - 1) * other)
    yield identity(
        "given w·u, the components of He_3(w) across u have mean zero: one atom has M_3 = E[σ He_3(w·u)] u^⊗3",
        sp.Matrix([polynomial_mean(part) for part in across]),
        sp.zeros(5, 1),
    )
    ratio = a_3 / a_1
    yield identity("αz + βz³: s² = αρ/(3β(2 - ρ)) for the ratio ρ", alpha * ratio / (3 * beta * (2 - ratio)), s**2)

    u = sp.symbols("u", real=True)
    narrow = sp.sqrt(1 + 2 * s**2)
    yield identity(
        "erf: erf' has the factor e^(-u²), and e^(-s²z²) φ(z) is φ(v) at z = v/√(1 + 2s²)",
        (sp.exp(-((s * z) ** 2)) * density).subs(z, z / narrow),
        density,
    )
    slopes = [sp.expand(sp.diff(sp.erf(u), u, k) * sp.exp(u**2)).subs(u, s * z / narrow) for k in (1, 3)]
    b_1, b_3 = (s**k * polynomial_mean(slope) / narrow for k, slope in zip((1, 3), slopes, strict=True))
    yield identity(
        "erf: a_3/a_1 = -2s²/(1 + 2s²), by Stein's identity a_k = s^k Eσ^(k)", b_3 / b_1, -2 * s**2 / (1 + 2 * s**2)
    )
    yield identity("erf: s² = -ρ/(2(1 + ρ)) for the ratio ρ", -(b_3 / b_1) / (2 * (1 + b_3 / b_1)), s**2)

    atoms = [sp.Matrix(sp.symbols(f"u{i}0 u{i}1")) for i in range(2)]
    weights = sp.symbols("c0 c1", nonzero=True)
    p, q = (sp.Matrix(sp.symbols(f"{name}0 {name}1")) for name in "pq")
    dual = sp.Matrix.hstack(*atoms).T.inv()[:, 0]
    yield identity("the dual vector of one atom does not see the other", atoms[1].dot(dual))

    def contracted(vector):
        return sum((c * atom.dot(vector) * atom * atom.T for c, atom in zip(weights, atoms, strict=True)), sp.zeros(2))

    one, other = contracted(p) * dual, contracted(q) * dual
    yield identity("pencil: M_3(p) y (q·u) = M_3(q) y (p·u)", one * q.dot(atoms[0]), other * p.dot(atoms[0]))
    yield identity("and M_3(q) y is the atom itself, up to a factor", other, weights[0] * q.dot(atoms[0]) * atoms[0])
    gap = p.dot(atoms[0]) * q.dot(atoms[1]) - p.dot(atoms[1]) * q.dot(atoms[0])
    yield identity(
        "eigenvalues of two atoms differ for almost all p, q if the atoms are independent",
        gap,
        sp.Matrix.hstack(p, q).det() * sp.Matrix.hstack(*atoms).det(),
    )
    yield identity("an odd power takes up the sign of the residual", (-r) * (-t) ** 3, r * t**3)


@theorem.without("the samples are linearly independent")
def one_direction():
    return Batch(1.0, 1.0, np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([1.0, 1.0]))


@theorem.without("no residual is zero")
def an_invisible_sample():
    return Batch(1.0, 1.0, np.eye(2), np.array([1.0, 0.0]))


@theorem.without("the activation has a linear part")
def homogeneous():
    return Batch(0.0, 1.0, np.array([[1.0]]), np.array([1.0]))  # (x, r) and (2x, r/8) look the same


@theorem.without("the activation has a cubic part")
def linear():
    return Batch(1.0, 0.0, np.eye(2), np.array([1.0, 1.0]))  # only Σ r_i x_i is seen


@functools.cache
def tanh_third_coefficient():
    """E[tanh(Z) He_3(Z)] by Gaussian quadrature, far more accurately than the rate needs."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    return float(weights @ (np.tanh(nodes) * (nodes**3 - 3 * nodes)) / np.sqrt(2 * np.pi))


@theorem.rate(
    exponent=-0.5,
    sizes=(256, 1024, 4096, 16384),
    false_exponents={"the error falls like 1/m": -1.0, "the error falls like m^(-1/4)": -0.25},
)
def finite_width_error(width, rng):
    """Root mean square of the estimate's error over four batches."""
    return float(np.sqrt(np.mean([one_estimate(width, rng) ** 2 for _ in range(4)])))


def one_estimate(width, rng):
    """Error of the pencil's estimate from m random weights: tanh, two unit samples in three dimensions."""
    basis = np.linalg.qr(rng.standard_normal((3, 2)))[0]
    angle = rng.uniform(np.pi / 3, 2 * np.pi / 3)
    points = np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]]) @ basis.T
    residuals = rng.choice((1.0, -1.0), 2)
    network = Architecture("wide", (3,), (Linear(width, bias=False), Tanh(), Linear(1, bias=False)), "squared")
    weight = rng.standard_normal((width, 3))
    parameters = Parameters(network, {"0/weight": weight, "2/weight": np.full((1, width), 1 / width)})
    labels = forward(network, parameters, points)[:, 0] - residuals
    gradient = loss_gradient(network, parameters, points, labels)
    span = np.linalg.eigh(gradient["0/weight"].T @ gradient["0/weight"])[1][:, 1:]
    seen, values = weight @ span, gradient["2/weight"][0]
    values = values - seen @ np.linalg.solve(seen.T @ seen, seen.T @ values)  # its linear part only adds noise to M_3
    third = ((values[:, None] * seen).T @ (seen[:, :, None] * seen[:, None, :]).reshape(width, 4)).reshape(
        2, 2, 2
    ) / width
    turn = max(np.linspace(0, np.pi, 12), key=lambda t: abs(np.linalg.det(third @ [-np.sin(t), np.cos(t)])))
    one, other = third @ [np.cos(turn), np.sin(turn)], third @ [-np.sin(turn), np.cos(turn)]
    vectors = np.linalg.eig(np.linalg.solve(other, one).T)[1].real
    vectors /= np.linalg.norm(vectors, axis=0)
    powers = np.stack([np.kron(np.kron(v, v), v) for v in vectors.T], axis=1)
    weights = np.linalg.lstsq(powers, third.reshape(-1), rcond=None)[0] / tanh_third_coefficient()
    found = Measure((span @ vectors).T, weights)
    return found.matching(Measure(points, residuals), fibre=("permutation", "joint-sign")).error


@theorem.false_twin("the signs of the points are determined as well", instances=small_batches)
def signs_are_determined(batch):
    found = recovered(batch, *moments_of(batch))
    truth = [(*point, residual) for point, residual in zip(batch.inputs, batch.residuals, strict=True)]
    return holds(found is None or canonical(found) == sorted(truth), name="M_1 and M_3 give the batch")


@theorem.false_twin("the third moment alone determines the norms", instances=small_batches)
def third_moment_alone(batch):
    shorter = moments_of(batch, batch.inputs / 2, 8 * batch.residuals)
    return different(moments_of(batch)[1], shorter[1], operations=1, name="M_3 tells the batches apart")


@theorem.false_twin(
    "it is enough that no two samples are parallel",
    without=("the samples are linearly independent",),
    instances=batches(sizes=(3,), extra=(-1,), readable_only=True),
)
def no_two_parallel(batch):
    pairs = ((0, 1), (0, 2), (1, 2))
    if all(rank(batch.inputs[list(pair)]) == 2 for pair in pairs):
        return batch_is_recovered(batch, *moments_of(batch))
    return holds(True, name="nothing is claimed")


@theorem.false_twin("a_1(s) = αs + 2βs³", instances=small_batches)
def smaller_coefficient(batch):
    return equal(moments_of(batch)[0], closed_form(batch, cubic_factor=2)[0], operations=1, name="M_1 is Σ r_i a_1 u_i")
