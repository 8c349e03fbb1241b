r"""What training does to one eigenvector of the kernel: closed forms at any stopping time.

Notes
-----
Linearised training on the squared loss decouples in an eigenbasis of the kernel. With eigenvalue λ, learning rate η and
:math:`x = \eta\lambda`, the component of the residual y - f_t is :math:`p_t(x)` times that of y - f_0, and the
component of the coefficients is :math:`\eta g_t(x)` times it, where :math:`p_t = 1 - x g_t`:

================  ==========================================================================
gradient descent  :math:`p_t = (1 - x)^t`
gradient flow     :math:`p_t = e^{-\lambda t}`
heavy ball        :math:`p_{t+1} = (1 + \rho - x) p_t - \rho p_{t-1}`
Nesterov          :math:`p_{t+1} = (1 - x)((1 + \rho) p_t - \rho p_{t-1})`
================  ==========================================================================

The last two, :math:`p_{t+1} = \tau p_t - \delta p_{t-1}` with :math:`p_0 = 1, p_1 = 1 - x`, are solved by
:math:`p_t = (1 - x) S_t - \delta S_{t-1}` with :math:`S_t = (r_1^t - r_2^t)/(r_1 - r_2)` of the roots of
:math:`r^2 - \tau r + \delta`. Since :math:`(1 - r_1)(1 - r_2) = x`, also
:math:`g_t = (\varphi(r_1) - \varphi(r_2))/(r_1 - r_2)` with :math:`\varphi(r) = r(1 - r^t)/(1 - r)`, which keeps its relative
accuracy for small x, where 1 - p_t has none.

Errors in float64 are a small multiple of ε/(1 - ρ)² relative to g_t and absolute in p_t, plus what a rounding of x and ρ
does to them: t·ε next to the stability limit, where |p_t| falls slowly, and nothing that grows with t elsewhere.
"""

from __future__ import annotations

import numpy as np

from provable.arithmetic import Float

Factors = tuple[Float, Float]
"""p_t and g_t, each of the shape of x."""


def descent(x: Float, steps: int) -> Factors:
    """Factors of gradient descent without momentum.

    Parameters
    ----------
    x : ndarray
        Learning rate times eigenvalue, in (0, 2).
    steps : int
        t >= 0.

    Returns
    -------
    residual, coefficient : ndarray
        p_t = (1 - x)ᵗ and g_t = (1 - p_t) / x.
    """
    if steps == 0:
        return np.ones_like(x), np.zeros_like(x)
    below, odd = x < 1, steps % 2 == 1
    # beyond 1 the factor is negative, and known best by its distance 2 - x from -1, which is exact
    with np.errstate(divide="ignore"):  # x = 1 leaves nothing after one step
        logarithm = steps * np.log1p(-np.where(below, x, 2.0 - x))
    alternating = ~below & odd
    residual = np.where(alternating, -1.0, 1.0) * np.exp(logarithm)
    missing = np.where(alternating, 1.0 - residual, -np.expm1(logarithm))
    return residual, missing / x


def flow(x: Float) -> Factors:
    """Factors of gradient flow.

    Parameters
    ----------
    x : ndarray
        Time times eigenvalue, positive.

    Returns
    -------
    residual, coefficient : ndarray
        exp(-x) and (1 - exp(-x)) / x; the latter is to be multiplied with the time, as it is with the learning rate
        elsewhere.
    """
    return np.exp(-x), -np.expm1(-x) / x


def momentum(x: Float, rate: float, steps: int, *, nesterov: bool) -> Factors:
    """Factors of gradient descent with momentum, from rest.

    Parameters
    ----------
    x : ndarray
        Learning rate times eigenvalue, positive and below the stability limit.
    rate : float
        ρ in [0, 1), by which the velocity decays.
    steps : int
        t >= 0.
    nesterov : bool
        Whether the gradient is taken where the velocity leads, not where the parameters are.

    Returns
    -------
    residual, coefficient : ndarray
        p_t and g_t.
    """
    if steps == 0:
        return np.ones_like(x), np.zeros_like(x)
    if nesterov:
        half, product = (1.0 - x) * (1.0 + rate) / 2.0, (1.0 - x) * rate
        discriminant = (1.0 - x) * ((1.0 - rate) ** 2 - x * (1.0 + rate) ** 2) / 4.0
        below_limit = 2.0 * (1.0 + rate) - (1.0 + 2.0 * rate) * x
    else:
        half, product = (1.0 + rate - x) / 2.0, np.full_like(x, rate)
        discriminant = ((1.0 - rate) ** 2 - 2.0 * x * (1.0 + rate) + x * x) / 4.0
        below_limit = 2.0 * (1.0 + rate) - x
    root = np.sqrt(np.abs(discriminant))
    # (1 - r₁)(1 - r₂) = x and (1 + r₁)(1 + r₂) = below_limit: a root near 1 or -1 is known best by its distance from there
    distances = np.where(half < 0, below_limit, x)
    now, before = (_powers(half, product, discriminant, root, distances, count) for count in (steps, steps - 1))
    residual = (1.0 - x) * now - product * before
    # Below this bound the roots are real and at least (1 - ρ)/2 apart, so that nothing cancels; above it 1 - p_t over x does.
    slow = x < (1.0 - rate) ** 2 / 8.0
    coefficient = (1.0 - residual) / x
    coefficient[slow] = _slow(x[slow], half[slow], product[slow], root[slow], steps)
    return residual, coefficient


def _slow(x: Float, half: Float, product: Float, root: Float, steps: int) -> Float:
    """g_t as a divided difference of φ(r) = r (1 - rᵗ)/(1 - r)."""
    first = half + root
    second = product / first
    distance = x / (1.0 - second)
    ours = first * -np.expm1(steps * np.log1p(-distance)) / distance
    theirs = second * (1.0 - second**steps) / (1.0 - second)
    result: Float = (ours - theirs) / (2.0 * root)
    return result


def _powers(half: Float, product: Float, discriminant: Float, root: Float, distances: Float, steps: int) -> Float:
    """S_t = (r₁ᵗ - r₂ᵗ)/(r₁ - r₂) of the roots half ± √discriminant."""
    if steps == 0:
        return np.zeros_like(half)
    result = steps * half ** float(steps - 1)  # both roots equal
    turning = discriminant < 0
    if turning.any():
        # √δᵗ⁻¹ sin(tφ)/sin φ, with φ from the nearer end of [0, π]: that keeps its relative accuracy
        angle = np.arctan2(root[turning], np.abs(half[turning]))
        sign = np.where((half[turning] < 0) & (steps % 2 == 0), -1.0, 1.0)
        sine = np.sin(steps * angle) / np.sin(angle)
        result[turning] = sign * product[turning] ** ((steps - 1) / 2) * sine
    real = discriminant > 0
    if real.any():
        half, root, product = half[real], root[real], product[real]
        sign = np.where(half < 0, -1.0, 1.0)
        larger = half + sign * root
        smaller = product / larger
        gap = 2.0 * root / np.abs(larger)  # 1 - r₂/r₁
        same_sign = gap < 1
        decay = np.where(
            same_sign, -np.expm1(steps * np.log1p(-np.where(same_sign, gap, 0.0))), 1.0 - (1.0 - gap) ** float(steps)
        )
        distance = distances[real] / (1.0 - sign * smaller)
        power = (sign if steps % 2 == 0 else 1.0) * np.exp((steps - 1) * np.log1p(-distance))
        result[real] = power * decay / gap
    return result
