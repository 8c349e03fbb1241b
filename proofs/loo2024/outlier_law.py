r"""The outlier law: deleting a sample costs its leave-one-out residual squared over its conditional variance.

Let k be a kernel, K its invertible matrix on the training points, h = Σ_i α_i k(·, x_i) a trained function, and U_j the span
of the k(·, x_i) with i ≠ j. With 1/[K⁻¹]_jj = v_j:

1. v_j is the squared distance of k(·, x_j) to U_j (the conditional variance of x_j given the others);
2. if (K + λI)α = y, then y_j - h_{-j}(x_j) = α_j/[(K + λI)⁻¹]_jj with h_{-j} fitted, with the same λ, to the other samples;
   for λ = 0 this is α_j v_j;
3. min ‖h - g‖² over g in U_j is α_j² v_j, for every α; for λ = 0 that is the squared leave-one-out residual times [K⁻¹]_jj.

The third is what an attacker's best reconstruction without x_j leaves over: samples are hard to do without in the order of
α_j² v_j, not of |α_j|. It holds at every stopping time of training and with a ridge; there, α_j v_j is the residual of h's
own value, h(x_j) less what the interpolant of h at the other points says, and not that of the label.

Notes
-----
Proof. k(·, x_j) = p + q with p ∈ U_j and q ⟂ U_j, q ≠ 0 as K is invertible. The function w with ⟨w, k(·, x_i)⟩ = δ_ij in the
span of all has the coefficients K⁻¹e_j, so ‖w‖² = [K⁻¹]_jj; and w = q/‖q‖², so ‖w‖² = 1/‖q‖². Next h = (a + α_j p) + α_j q
with a ∈ U_j: the best g is a + α_j p, what is left is α_j q, whose squared norm is α_j² v_j. The projection of h to U_j
interpolates h at the other points, so h(x_j) minus its value there is ⟨α_j q, k(·, x_j)⟩ = α_j v_j. With a ridge the same
is done with K + λI, the kernel matrix of k + λδ.

With a ridge the deletion cost keeps K, without λ: K + λI in its place is a false twin.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, kind, rank, solve, to_float
from provable.distillation import conditional_variances, deletion_costs, leave_one_out_residuals
from provable.theorems import Source, Theorem, at_most, equal, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $K$ be an invertible kernel matrix of points $x_i$, $h = \sum_i\alpha_ik(\cdot,x_i)$ and
    $v_j = 1/[K^{-1}]_{jj}$. Then $v_j = \mathrm{dist}^2(k(\cdot,x_j), U_j)$ with $U_j$ the span of the others;
    $\min_{g\in U_j}\|h-g\|^2 = \alpha_j^2v_j$ for every $\alpha$, which is positive if $\alpha_j \ne 0$;
    $h(x_j) - g_j(x_j) = \alpha_jv_j$ for the interpolant $g_j \in U_j$ of $h$ at the other points; and if
    $(K+\lambda I)\alpha = y$, then $y_j - h_{-j}(x_j) = \alpha_j/[(K+\lambda I)^{-1}]_{jj}$ with $h_{-j}$ fitted to the other
    samples.""",
    source=Source(
        "Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2",
        "outliers are reconstructed first",
        "the claim is read in the abstract; law and proof derived here, the residual formula being textbook material",
    ),
    expected="proved",
    does_not_say="that an attack finds the optimum, or anything about the distance in pixels of what replaces a sample",
)

INVERTIBLE = "the kernel matrix is invertible"


@dataclass(frozen=True)
class Fit:
    """Features whose inner products are the kernel (n, D), coefficients, labels, the ridge, and a change to other weights."""

    features: np.ndarray
    coefficients: np.ndarray
    labels: np.ndarray
    ridge: float
    change: np.ndarray


def fit(features, coefficients, ridge, change):
    """Labels that the coefficients fit; all numbers are short dyadic rationals, so that they are exact in float64."""
    labels = features @ (features.T @ coefficients) + ridge * coefficients
    return Fit(features, coefficients, labels, ridge, change)


@st.composite
def fits(draw, *, ridges=(0.0, 0.0, 0.0, 1.0, 0.25, 2.0**-10)):
    size = draw(st.integers(1, 3))
    dimension = size + draw(st.integers(0, 1))
    numbers = draw(readable_arrays((size * dimension + 2 * size,)))
    features = numbers[: size * dimension].reshape(size, dimension)
    if draw(st.integers(0, 4)) == 4 and size > 1:  # the last two points nearly coincide
        features[-1] = features[-2]
        features[-1, -1] += 2.0 ** -draw(st.integers(2, 12))
    alpha, change = numbers[-2 * size : -size], numbers[-size:]
    return fit(features, alpha, draw(st.sampled_from(ridges)), change)


@st.composite
def stopped_fits(draw):
    """Training from zero for some steps: α ← α + η(y - Kα)."""
    size = draw(st.integers(1, 3))
    numbers = draw(readable_arrays((size * size + 2 * size,)))
    features, labels = numbers[: size * size].reshape(size, size), numbers[size * size : -size]
    alpha = np.zeros(size)
    for _ in range(draw(st.integers(1, 3))):
        alpha = alpha + (labels - features @ (features.T @ alpha)) / 16
    return Fit(features, alpha, labels, 0.0, numbers[-size:])


theorem.instances(st.one_of(fits(), fits(), stopped_fits()))


@theorem.hypothesis(INVERTIBLE, arithmetic=RATIONAL)
def invertible(case):
    return rank(case.features) == len(case.features)


@theorem.degenerate
def no_function(case):
    return not case.coefficients.any()


def gram(case):
    return case.features @ case.features.T


def without(array, j):
    return array[[i for i in range(len(array)) if i != j]]


def projected(case, vector, j):
    """The projection of a vector of the feature space to the span of all features but the j-th."""
    others = without(case.features, j)
    if len(others) == 0:
        return 0 * vector
    return others.T @ solve(others @ others.T, others @ vector)


def prediction(case, j, *, ridge, values):
    """At x_j, the fit of values at the other points with a ridge."""
    others = without(case.features, j)
    if len(others) == 0:
        return 0 * values[j]
    inner = others @ others.T
    for place in range(len(inner)):
        inner[place, place] = inner[place, place] + ridge
    return (others @ case.features[j]) @ solve(inner, without(values, j))


def with_ridge(case):
    matrix = gram(case)
    for place in range(len(matrix)):
        matrix[place, place] = matrix[place, place] + case.ridge
    return matrix


def error_unit(case):
    """Size and condition of what is computed: solves with K, whose entries are sums of at most 5 products."""
    if kind(case.features) != "float64":
        return {"operations": 1}
    matrix = to_float(gram(case))
    size = (1 + np.abs(case.coefficients).max()) ** 2 * (1 + np.abs(matrix).max()) + np.abs(case.labels).max()
    # two solves one after the other: the condition enters twice
    return {"operations": 40, "condition": np.linalg.cond(matrix) ** 2, "magnitude": size}


def fitted_exactly(case):
    """Whether (K + λI)α = y: a stopped run is not fitted, and the law speaks of h's own values alone."""
    gap = with_ridge(case) @ case.coefficients - case.labels
    return all(entry == 0 for entry in gap)


def costs_by_fitting_again(case):
    """What is left of h after the best approximation without each sample."""
    h = case.features.T @ case.coefficients
    left = [h - projected(case, h, j) for j in range(len(case.features))]
    return np.array([vector @ vector for vector in left])


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def the_law(case):
    unit, size = error_unit(case), len(case.features)
    if size == 1 or all(rank(without(case.features, j)) == size - 1 for j in range(size)):
        again = costs_by_fitting_again(case)
        for j in range(size):
            if case.coefficients[j] != 0:
                yield less(
                    0 * again[j], again[j], **unit, name="a sample with a coefficient is not deleted for nothing"
                )
    matrix = gram(case)
    if rank(case.features) < size:
        return
    costs, variances = deletion_costs(matrix, case.coefficients), conditional_variances(matrix)
    yield equal(costs, again, **unit, name="deletion cost")
    values = matrix @ case.coefficients
    own, ridged = leave_one_out_residuals(matrix, case.coefficients), with_ridge(case)
    for j in range(size):
        left = case.features[j] - projected(case, case.features[j], j)
        yield equal(variances[j], left @ left, **unit, name="conditional variance")
        gap = values[j] - prediction(case, j, ridge=0 * values[j], values=values)
        yield equal(own[j], gap, **unit, name="h(x_j) - g_j(x_j) = α_j v_j")
        yield equal(costs[j] * variances[j], gap * gap, **unit, name="cost = residual² [K⁻¹]_jj")
        moved = case.features.T @ case.coefficients - projected(case, case.features.T @ case.coefficients, j)
        moved = moved + without(case.features, j).T @ without(case.change, j)
        yield at_most(costs[j], moved @ moved, **unit, name="other weights cost more")
        if fitted_exactly(case):
            residual = case.labels[j] - prediction(case, j, ridge=case.ridge, values=case.labels)
            formula = leave_one_out_residuals(ridged, case.coefficients)[j]
            yield equal(formula, residual, **unit, name="leave-one-out residual of the labels")


@theorem.derivation
def in_the_span_of_the_others_and_one_direction():
    """U_j enters through three of its vectors, p, a and g, whose products are bilinear: two coordinates stand for all."""
    import sympy as sp

    alpha, s, p0, p1, a0, a1, g0, g1 = sp.symbols("alpha s p0 p1 a0 a1 g0 g1", real=True)
    p, a, g, q = sp.Matrix([p0, p1, 0]), sp.Matrix([a0, a1, 0]), sp.Matrix([g0, g1, 0]), sp.Matrix([0, 0, s])
    section = p + q  # k(·, x_j), with s ≠ 0
    w = q / s**2
    yield identity("w = q/‖q‖² is orthogonal to U_j", w.dot(g), 0)
    yield identity("and has the product 1 with k(·, x_j)", w.dot(section), 1)
    yield identity("so [K⁻¹]_jj = ‖w‖² = 1/‖q‖²", w.dot(w), 1 / q.dot(q))
    h = a + alpha * section
    best = a + alpha * p
    yield identity("h - (a + α p) is orthogonal to U_j", (h - best).dot(g), 0)
    yield identity("the best g in U_j leaves α² v", (h - best).dot(h - best), alpha**2 * s**2)
    yield identity(
        "every other leaves ‖g - best‖² more", (h - g).dot(h - g), alpha**2 * s**2 + (g - best).dot(g - best)
    )
    yield identity("at x_j the best g misses h by α v", (h - best).dot(section), alpha * s**2)
    # in a basis of the other samples in which K_oo + λI is the identity and the vector k_oj has one entry c
    c, d, y, f = sp.symbols("c d y f")
    inverse = sp.Matrix([[1, c], [c, d]]).inv()
    yield identity(
        "ridge: α_j/[(K + λI)⁻¹]_jj = y_j - k_joᵀ(K_oo + λI)⁻¹y_o",
        (inverse * sp.Matrix([f, y]))[1],
        (y - c * f) * inverse[1, 1],
    )


@theorem.without(INVERTIBLE)
def two_samples_at_one_point():
    # h = k(·, x) from the first of two equal samples: the other one replaces it at no cost
    return Fit(np.ones((2, 1)), np.array([1.0, 0.0]), np.ones(2), 0.0, np.zeros(2))


EXACT = (RATIONAL,)


@theorem.false_twin("samples are hard to do without in the order of |α_j|", arithmetics=EXACT)
def order_of_the_coefficients(case):
    costs, sizes = deletion_costs(gram(case), case.coefficients), abs(case.coefficients)
    for i in range(len(sizes)):
        for j in range(len(sizes)):
            if sizes[i] > sizes[j]:
                yield at_most(costs[j], costs[i], operations=40)
    yield equal(0 * sizes, 0 * sizes, operations=1)


@theorem.false_twin("the cost is α_j² k(x_j, x_j): the other weights stay as they are", arithmetics=EXACT)
def weights_that_stay(case):
    return equal(
        deletion_costs(gram(case), case.coefficients), case.coefficients**2 * np.diag(gram(case)), operations=40
    )


@theorem.false_twin("the cost is the squared residual times the conditional variance", arithmetics=EXACT)
def times_instead_of_over(case):
    residuals, variances = leave_one_out_residuals(gram(case), case.coefficients), conditional_variances(gram(case))
    return equal(deletion_costs(gram(case), case.coefficients), residuals * residuals * variances, operations=40)


@theorem.false_twin(
    "at every stopping time α_j v_j is the residual of the label", instances=stopped_fits(), arithmetics=EXACT
)
def labels_before_convergence(case):
    residuals = leave_one_out_residuals(gram(case), case.coefficients)
    for j in range(len(residuals)):
        gap = case.labels[j] - prediction(case, j, ridge=case.ridge, values=case.labels)
        yield equal(residuals[j], gap, operations=40)


@theorem.false_twin("with a ridge, K + λI takes the place of K in the deletion cost", arithmetics=EXACT)
def ridge_in_the_cost(case):
    return equal(deletion_costs(with_ridge(case), case.coefficients), costs_by_fitting_again(case), operations=40)


@theorem.false_twin("deleting two samples costs the sum of both costs", arithmetics=EXACT)
def costs_add_up(case):
    if len(case.features) < 2:
        return equal(0 * case.ridge, 0 * case.ridge, operations=1)
    h, kept = case.features.T @ case.coefficients, case.features[2:]
    if len(kept):
        h = h - kept.T @ solve(kept @ kept.T, kept @ h)
    costs = deletion_costs(gram(case), case.coefficients)
    return equal(h @ h, costs[0] + costs[1], operations=40)
