r"""The error of the paper's two steps: √(d/m) outside of the span of the batch, 1/√m inside of it whatever d is.

The error part of Theorem 5.1, corrected in what it is up to. Algorithm 1 takes the span of the batch from the B leading
eigenvectors V of P̂ and the points in it from the third moment, x̂_i = V û_i. Let Eσ'' and Eσ''' not vanish, the samples be
independent and of norm one, and the residuals be bounded away from zero. Up to the order of the samples (and up to a sign for
activations without even part, whose span comes from elsewhere), as d/m tends to zero,

* the component of x̂_i outside of the span has the size √((d-B)/m): to first order it is (I - Π) P̂ P⁺ x_i, with mean square
  (d-B)/m · E[g² (wᵀP⁺x_i)²], P = Σ r_i Eσ'' x_i x_iᵀ;
* the component inside has an error of the size 1/√m, which does not depend on d.

With the exact span, which the row space of dL/dW is (``wang2023.gradient_row_space``), only the second remains.

Notes
-----
First-order perturbation of eigenvectors: with S = P̂ - P, VVᵀ - Π = (I - Π) S P⁺ + P⁺ S (I - Π) + O(‖S‖²), and (I - Π)P =
0. The mean square is that of ``wang2023.moment_errors``. Theorem 5.1 hides powers of B, the residuals and π_min in Õ; they
are in P⁺ here.

Measured for σ = He_2/2 + He_3/6, two samples at an angle of 60 to 120 degrees and residuals ±1; nothing is measured of the
dependence on B.
"""

import numpy as np

from provable.theorems import Source, Theorem, identity

theorem = Theorem(
    statement=r"""Let $\sigma$ have moments with $E\sigma'' \ne 0 \ne E\sigma'''$, the samples be independent unit vectors
    with residuals bounded away from zero, $\hat x_i = V\hat u_i$ the points of Algorithm 1. As $d/m \to 0$ the part of
    $\hat x_i$ outside of the span of the batch is of the order $\sqrt{(d-B)/m}$, with leading mean square
    $\frac{d-B}mE[g^2(w^TP^+x_i)^2]$, and the error inside is of the order $1/\sqrt m$, whatever $d$ is.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3",
        "Theorem 5.1, error part",
        "the printed form was read; the two parts and the constant are derived here",
    ),
    expected="supported",
    does_not_say="that these rates are proved: they are measured for one activation and two samples",
)


def estimates(width, dimension, rng):
    """RMS error outside of the span, distance of VVᵀX from its first-order form there, RMS error inside; for one instance."""
    angle = rng.uniform(np.pi / 3, 2 * np.pi / 3)
    points = np.zeros((2, dimension))
    points[:, :2] = [[1.0, 0.0], [np.cos(angle), np.sin(angle)]]
    residuals = rng.choice((1.0, -1.0), 2)
    weight = rng.standard_normal((width, dimension))
    z = weight @ points.T
    g = ((z**2 - 1) / 2 + (z**3 - 3 * z) / 6) @ residuals
    second = (weight * g[:, None]).T @ weight / width - g.mean() * np.eye(dimension)
    values, vectors = np.linalg.eigh(second)
    span = vectors[:, np.argsort(-np.abs(values))[:2]]
    found = decomposed(weight @ span, g) @ span.T
    exact = points.T @ (residuals[:, None] * points)
    turned = second[2:] @ np.linalg.pinv(exact) @ points.T - span[2:] @ span.T @ points.T
    inside = found[:, :2] / np.linalg.norm(found[:, :2], axis=1, keepdims=True)
    matched = min(
        sum(min(np.sum((u - x[:2]) ** 2), np.sum((u + x[:2]) ** 2)) for u, x in zip(order, points, strict=True))
        for order in (inside, inside[::-1])
    )
    outside = np.sqrt(np.sum(found[:, 2:] ** 2) / 2)
    return float(outside), float(np.linalg.norm(turned)), float(np.sqrt(matched / 2))


def decomposed(z, g):
    """Unit vectors of the third moment of g in two dimensions, by the best conditioned of twelve pencils."""
    third = np.einsum("j,ja,jb,jc->abc", g, z, z, z) / len(g)
    first, one = g @ z / len(g), np.eye(2)
    third -= (
        np.einsum("a,bc->abc", first, one) + np.einsum("b,ca->abc", first, one) + np.einsum("c,ab->abc", first, one)
    )
    turn = max(np.linspace(0, np.pi, 12), key=lambda t: abs(np.linalg.det(third @ [-np.sin(t), np.cos(t)])))
    pencil = np.linalg.solve(third @ [-np.sin(turn), np.cos(turn)], third @ [np.cos(turn), np.sin(turn)])
    vectors = np.linalg.eig(pencil.T)[1].real
    return (vectors / np.linalg.norm(vectors, axis=0)).T


@theorem.derivation(covers="the first-order form of the error outside of the span")
def by_perturbation():
    import sympy as sp

    a, b = sp.symbols("a b", nonzero=True)
    p, q, u, v, t = sp.symbols("p q u v t")
    # P = diag(a, b, 0), S symmetric, in coordinates in which the span is that of two axes and one more stands for all others
    moment = sp.diag(a, b, 0)
    change = sp.Matrix([[p, q, u], [q, t, v], [u, v, 0]])
    inverse, onto = sp.diag(1 / a, 1 / b, 0), sp.diag(1, 1, 0)
    off = sp.eye(3) - onto
    first = off * change * inverse + inverse * change * off
    yield identity(
        "the changed projection is symmetric and idempotent to first order", onto * first + first * onto, first
    )
    yield identity(
        "and commutes with P + S to first order", moment * first + change * onto, first * moment + onto * change
    )
    yield identity("(I - Π)S = (I - Π)P̂ since (I - Π)P = 0", off * (moment + change), off * change)


OUTSIDE, BEYOND_FIRST_ORDER, INSIDE = 0, 1, 2


@theorem.rate(
    exponent=-0.5,
    sizes=(2_000, 4_000, 8_000, 16_000),
    false_exponents={"the error outside of the span falls like 1/m": -1.0, "it falls like m^(-1/4)": -0.25},
)
def outside_in_width(width, rng):
    """Error outside of the span at d = 10."""
    return estimates(width, 10, rng)[OUTSIDE]


@theorem.rate(
    exponent=0.5,
    sizes=(4, 8, 16, 32),
    false_exponents={"the error outside of the span does not depend on d": 0.0, "it grows like d": 1.0},
)
def outside_in_dimension(gap, rng):
    """Error outside of the span at m = 8000 against d - B."""
    return estimates(8_000, gap + 2, rng)[OUTSIDE]


@theorem.rate(
    exponent=-1.0,
    sizes=(1_500, 4_500, 13_500, 27_000),
    false_exponents={"the first-order form misses the error by 1/√m": -0.5},
)
def beyond_first_order(width, rng):
    """‖(I - Π)(VVᵀ - P̂P⁺)X‖_F at d = 10, root mean square over two trials."""
    return float(np.sqrt(np.mean([estimates(width, 10, rng)[BEYOND_FIRST_ORDER] ** 2 for _ in range(2)])))


@theorem.rate(
    exponent=0.0,
    sizes=(2, 6, 20, 60),
    false_exponents={"the error inside of the span grows like √d": 0.5},
)
def inside_in_dimension(gap, rng):
    """Error inside of the span at m = 8000 against d - B."""
    return estimates(8_000, gap + 2, rng)[INSIDE]
