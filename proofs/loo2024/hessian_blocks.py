r"""Blocks of the Hessian of a trained function span the squares of the projected training points, and so count the points.

Let h(z) = Σ_j α_j k(z, x_j) with k(z, x) = F(z·x, ‖z‖²), F allowed to depend on ‖x‖ too, as for every dense network of
infinite width. Split the space into Z and its complement W with orthonormal bases U and W, and let z lie in Z. Then

    WᵀHess h(z) W = Σ_j c_j(z) p_j p_jᵀ + s(z) I,   UᵀHess h(z) W = Σ_j (c_j(z) q_j + b_j(z) Uᵀz) p_jᵀ

with p_j = Wᵀx_j, q_j = Uᵀx_j, c_j = α_j F_tt, b_j = 2 α_j F_tr, s = 2 Σ_j α_j F_r, where t = z·x and r = ‖z‖². Over points
z_1, …, z_m of Z the blocks on W span all p_j p_jᵀ and the identity, hence have rank N + 1, if these N + 1 matrices are
independent and so are the N + 1 vectors (c_j(z_i))_i and (s(z_i))_i. Rows of the mixed block that are orthogonal to z are
free of the second term.

Notes
-----
A derivative of F(z·x, ‖z‖²) along v, w is F_tt (v·x)(w·x) + 2F_tr [(v·x)(w·z) + (w·x)(v·z)] + 4F_rr (v·z)(w·z) + 2F_r v·w,
and v·z = 0 for v in W. The matrix of blocks factors into the coefficients times the squares, and a product of a matrix of
full column rank with one of full row rank has that rank.

The exact evidence takes polynomial kernels, for which second differences with two nodes on either side are the
second derivatives themselves, over the rationals and without any formula for them.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import constant, rank
from provable.theorems import RATIONAL, Source, Theorem, equal, holds
from provable.theorems.derivation import fact, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $h(z) = \sum_{j\le N}\alpha_jF(z^Tx_j, \|z\|^2)$ and $z$ in a coordinate space $Z$ with complement $W$.
    With $p_j$, $q_j$ the parts of $x_j$ in $W$ and $Z$, the block of $\mathrm{Hess}\,h(z)$ on $W$ is
    $\sum_jc_j(z)p_jp_j^T + s(z)I$ and its block between $Z$ and $W$ is $\sum_j(c_j(z)q_j + b_j(z)z)p_j^T$,
    $c_j = \alpha_jF_{tt}$, $b_j = 2\alpha_jF_{tr}$, $s = 2\sum_j\alpha_jF_r$. If the $p_jp_j^T$ and $I$ are independent and
    so are the functions $c_j$ and $s$ on a set of points of $Z$, the blocks there span exactly these $N + 1$ matrices.""",
    source=Source("derived", note="the algebraic route from a trained function to its data; used in provable.recovery"),
    expected="proved",
    does_not_say="for which kernels and points the functions c_j are independent: that is read off the rank itself",
)

SQUARES = "the squares of the projections and the identity are independent"
WEIGHTS = "the weights c_j and s are independent on the points"
INSIDE = "the function is asked inside Z"


@dataclass(frozen=True)
class Setting:
    """Points (N, 2 + n), coefficients (N,), places (m, 2) in Z, an offset (n,) out of it, and coefficients of F."""

    points: np.ndarray
    coefficients: np.ndarray
    places: np.ndarray
    offset: np.ndarray
    kernel: np.ndarray


POWERS = ((2, 0), (3, 0), (0, 1), (2, 1), (1, 1))
"""F = Σ of t^a r^b with these exponents: at most degree 4 in z along any line."""


@st.composite
def settings(draw, *, inside=True):
    count, size = draw(st.integers(1, 2)), draw(st.sampled_from((2, 2, 2, 3)))
    points = draw(readable_arrays((count, 2 + size), nonzero=True))
    numbers = draw(readable_arrays((count + 5,), nonzero=True))
    places = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0], [2.0, -1.0]])
    offset = np.zeros(size) if inside else draw(readable_arrays((size,), nonzero=True))
    return Setting(points, numbers[:count], places, offset, numbers[count:])


theorem.instances(settings())


def kernel_parts(case, z):
    """F_tt, F_tr and F_r at z and each x_j."""
    t, r = case.points @ z, z @ z
    tt, tr, first = (0 * t for _ in range(3))
    for weight, (a, b) in zip(case.kernel, POWERS, strict=True):
        if a >= 2:
            tt = tt + weight * a * (a - 1) * t ** (a - 2) * r**b
        if a and b:
            tr = tr + weight * a * b * t ** (a - 1) * r ** (b - 1)
        if b:
            first = first + weight * b * t**a * r ** (b - 1)
    return tt, tr, first


def function(case, z):
    """h(z)."""
    t, r = case.points @ z, z @ z
    return case.coefficients @ sum(weight * t**a * r**b for weight, (a, b) in zip(case.kernel, POWERS, strict=True))


def centre(case, place):
    """The point of the whole space with these coordinates in Z, moved out of it by the offset."""
    return np.concatenate([place, case.offset])


def hessian(case, z, rows, columns):
    """Entries of Hess h(z) by second differences, exact for polynomials of degree at most 5 on each line."""
    size = len(z)
    unit = [np.array([constant(float(i == k), z) for i in range(size)]) for k in range(size)]
    middle = 2 * function(case, z)
    known = {}

    def along(i, k):
        """The second derivative along e_i, or along e_i + e_k."""
        if (i, k) not in known:
            v = unit[i] if i == k else unit[i] + unit[k]
            near, far = (function(case, z + step * v) + function(case, z - step * v) - middle for step in (1, 2))
            known[i, k] = (16 * near - far) / 12
        return known[i, k]

    def entry(i, k):
        i, k = min(i, k), max(i, k)
        return along(i, i) if i == k else (along(i, k) - along(i, i) - along(k, k)) / 2

    return np.array([[entry(i, k) for k in columns] for i in rows])


def weights(case):
    """Rows (c_1, …, c_N, s) at the places."""
    rows = []
    for place in case.places:
        tt, _, first = kernel_parts(case, centre(case, place))
        rows.append(np.append(case.coefficients * tt, 2 * (case.coefficients @ first)))
    return np.array(rows)


def squares(case):
    """Rows p_j p_jᵀ and I, flattened."""
    size = case.points.shape[1] - 2
    one = np.array([[constant(float(i == k), case.points) for i in range(size)] for k in range(size)])
    return np.array([np.outer(p, p).reshape(-1) for p in case.points[:, 2:]] + [one.reshape(-1)])


def blocks(case):
    outside = range(2, case.points.shape[1])
    return np.array([hessian(case, centre(case, place), outside, outside).reshape(-1) for place in case.places])


@theorem.hypothesis(INSIDE, arithmetic=RATIONAL)
def inside_z(case):
    return all(number == 0 for number in case.offset)


@theorem.hypothesis(SQUARES, arithmetic=RATIONAL)
def independent_squares(case):
    return rank(squares(case)) == len(case.points) + 1


@theorem.hypothesis(WEIGHTS, arithmetic=RATIONAL)
def independent_weights(case):
    return rank(weights(case)) == len(case.points) + 1


def mixed_check(case, second=2):
    """The block between Z and W at one place, the factor of the term along z being 2."""
    place = case.places[2]
    z = centre(case, place)
    tt, tr, _ = kernel_parts(case, z)
    left = (case.coefficients * tt)[:, None] * case.points[:, :2]
    left = left + second * (case.coefficients * tr)[:, None] * place[None]
    found = hessian(case, z, range(2), range(2, len(z)))
    return equal(found, left.T @ case.points[:, 2:], operations=1, name="the block between Z and W")


def dimension_check(case, extra=1):
    return holds(rank(blocks(case)) == len(case.points) + extra, name="the blocks have rank N + 1")


@theorem.claim(arithmetics=(RATIONAL,))
def blocks_are_sums_of_squares(case):
    found = blocks(case)
    yield equal(found, weights(case) @ squares(case), operations=1, name="the block on W")
    yield mixed_check(case)
    yield holds(rank(found) == len(case.points) + 1, name="the blocks have rank N + 1")
    together = np.concatenate([found, squares(case)])
    yield holds(rank(together) == len(case.points) + 1, name="the span of the blocks holds every square")


@theorem.derivation
def chain_rule():
    """Entries of the Hessian at (z_1, z_2) in Z and (w_1, w_2) in W: an entry involves no more than two coordinates."""
    import sympy

    z1, z2, x1, x2, y1, y2 = sympy.symbols("z1 z2 x1 x2 y1 y2")
    e1, e2, w1, w2 = moves = sympy.symbols("e1 e2 w1 w2")  # from the point (z_1, z_2) along Z, and along W
    first_t, first_r, tt, tr, rr = sympy.symbols("F_t F_r F_tt F_tr F_rr")
    # what z·x and ‖z‖² change by, the other coordinates being fixed; F to second order, which is all that a Hessian sees
    t = e1 * x1 + e2 * x2 + w1 * y1 + w2 * y2
    r = 2 * (z1 * e1 + z2 * e2) + e1**2 + e2**2 + w1**2 + w2**2
    local = first_t * t + first_r * r + tt * t**2 / 2 + tr * t * r + rr * r**2 / 2

    def entry(one, other):
        return sympy.diff(local, one, other).subs(dict.fromkeys(moves, 0))

    yield identity("off the diagonal of the block on W: F_tt p_1 p_2", entry(w1, w2), tt * y1 * y2)
    yield identity("on the diagonal: F_tt p_1² + 2 F_r", entry(w1, w1), tt * y1**2 + 2 * first_r)
    yield identity("between Z and W: (F_tt q_1 + 2 F_tr z_1) p_1", entry(e1, w1), (tt * x1 + 2 * tr * z1) * y1)
    yield identity(
        "contracted with u = (-z_2, z_1), orthogonal to z, the second term is gone",
        -z2 * entry(e1, w1) + z1 * entry(e2, w1),
        tt * (-z2 * x1 + z1 * x2) * y1,
    )
    size = sympy.Symbol("n", integer=True, positive=True)
    chosen = sympy.MatrixSymbol("C", size, size)  # n = N + 1 rows of the weights that are independent
    squared = sympy.MatrixSymbol("S", size, sympy.Symbol("m", integer=True, positive=True))
    yield fact(
        "C⁻¹ (C S) = S: rows of the blocks combine to every square", (chosen.I * (chosen * squared)).doit() == squared
    )


@theorem.without(INSIDE)
def a_place_outside():
    return Setting(
        np.array([[1.0, 1.0, 1.0, 2.0]]),
        np.array([1.0]),
        np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0], [2.0, -1.0]]),
        np.array([1.0, -1.0]),
        np.array([1.0, 1.0, 1.0, 1.0, 1.0]),
    )


@theorem.without(SQUARES)
def two_points_with_one_projection():
    case = a_place_outside()
    points = np.array([[1.0, 1.0, 1.0, 2.0], [1.0, -2.0, 1.0, 2.0]])
    return Setting(points, np.array([1.0, 2.0]), case.places, np.zeros(2), case.kernel)


@theorem.without(WEIGHTS)
def two_points_that_agree_in_z():
    case = a_place_outside()
    points = np.array([[1.0, 1.0, 1.0, 2.0], [1.0, 1.0, -2.0, 2.0]])
    return Setting(points, np.array([1.0, 2.0]), case.places, np.zeros(2), case.kernel)


@theorem.false_twin("the rank is the number of points", arithmetics=(RATIONAL,))
def no_identity(case):
    return dimension_check(case, extra=0)


@theorem.false_twin(
    "the block on W is a sum of squares at every point",
    without=(INSIDE, SQUARES, WEIGHTS),
    instances=settings(inside=False),
)
def anywhere(case):
    return equal(blocks(case), weights(case) @ squares(case), operations=1)


@theorem.false_twin("points that agree in Z are told apart", without=(WEIGHTS,))
def any_weights(case):
    return dimension_check(case)


@theorem.false_twin("the mixed block has the weights c_j alone", arithmetics=(RATIONAL,))
def no_second_term(case):
    return mixed_check(case, second=0)
