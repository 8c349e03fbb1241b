r"""What the loss says about the scale of the last layer's input, when that layer has no bias.

With f = V h, c = ∂ℓ/∂f and G = c hᵀ, the input h is known up to one factor; the loss gives the factor.

**Logistic.** With the margin μ = y f, :math:`\langle G, V\rangle = c f = -\mu / (1 + e^\mu) =: \varphi(\mu)`. Putting
q = -(μ + s) in φ(μ) = s gives :math:`q e^q = s e^{-s}`, so :math:`\mu = -s - W_k(s e^{-s})` with the branches of Lambert's
W. φ decreases up to μ* = 1 + W₀(1/e) ≈ 1.27846, where it is 1 - μ* ≈ -0.27846, and increases to 0 beyond: one margin for
s ≥ 0, two (*twins*, k = 0 and k = -1) for 1 - μ* < s < 0.

**Softmax cross-entropy.** Row y of G is :math:`g_y = -(1 - p_y) h`. With h = -t g_y, t = 1/(1 - p_y), the ratios
:math:`r_j = -c_j / c_y = p_j / (1 - p_y)` are known and :math:`p_j / p_y = r_j / (t - 1)`, so

.. math:: \log(t - 1) = \log r_j + t a_j, \qquad a_j = \langle V_j - V_y, g_y\rangle, \qquad j \ne y.

Two of these equations are linear in t after subtraction; a single one has the roots
:math:`t = 1 - W_k(-a_j r_j e^{a_j}) / a_j`, twins again if both branches are real.

**Squared.** With G = r uᵀ, ‖u‖ = 1 and h = t u, c = r / t: :math:`t^2 V u - t y - r = 0`, where y must be known.

References
----------
J. Zhu and M. Blaschko, R-GAP: Recursive gradient attack on privacy, ICLR 2021, Section 3 (twin data).
"""

from __future__ import annotations

import math

import numpy as np
import scipy.special
from numpy.typing import NDArray

Float = NDArray[np.float64]

LARGEST_MARGIN_OF_ONE_BRANCH = 1 + float(scipy.special.lambertw(math.exp(-1)).real)
"""μ* = 1 + W₀(1/e) ≈ 1.27846, where the two branches meet."""

_CONSISTENT = 1e-6
"""Scales that miss an equation of the loss by more are no scales of one sample; rounding stays far below."""


def product(margin: float) -> float:
    """Give ⟨G, V⟩ of one sample under the logistic loss.

    Parameters
    ----------
    margin : float
        μ = y f.

    Returns
    -------
    float
        φ(μ) = -μ / (1 + e^μ).
    """
    return -margin * float(scipy.special.expit(-margin))


def logistic_margins(value: float) -> tuple[float, ...]:
    """Solve φ(μ) = s.

    Parameters
    ----------
    value : float
        s = ⟨G, V⟩.

    Returns
    -------
    tuple of float
        All margins, the smaller one first; none if s is below the minimum of φ by more than rounding.
    """
    if value >= 0:
        return (_refined(-value - _lambert(value * math.exp(-value), 0), value),)
    lowest = 1 - LARGEST_MARGIN_OF_ONE_BRANCH
    if value < lowest:
        # At the minimum a rounding of s moves the margin by its square root.
        return (LARGEST_MARGIN_OF_ONE_BRANCH,) if value >= lowest * (1 + 1e-12) else ()
    argument = value * math.exp(-value)
    first, second = (_refined(-value - _lambert(argument, branch), value) for branch in (0, -1))
    return (first, second) if first < second else (first,)


def softmax_scales(ratios: Float, slopes: Float) -> tuple[float, ...]:
    """Find the scales t of the last layer's input under the softmax cross-entropy.

    Parameters
    ----------
    ratios : array of shape (C - 1,)
        r_j = -c_j / c_y of the other classes; those that are not positive say nothing.
    slopes : array of shape (C - 1,)
        a_j = ⟨V_j - V_y, g_y⟩.

    Returns
    -------
    tuple of float
        All t > 1 that solve the equations of all classes up to rounding, the smallest first.
    """
    seen = ratios > 0
    logarithms, slopes, weights = np.log(ratios[seen]), slopes[seen], ratios[seen]
    if not len(weights):
        return ()
    best = int(np.argmax(weights))
    found = list(_softmax_roots(float(logarithms[best]), float(slopes[best])))
    spread = slopes - np.average(slopes, weights=weights**2)
    if (size := float(np.sum((weights * spread) ** 2))) > 0:
        found.append(-float(np.sum(weights**2 * spread * logarithms)) / size)
    refined = [_refined_scale(scale, logarithms, slopes, weights) for scale in found if scale > 1]
    return _distinct([(scale, error) for scale, error in refined if scale > 1])


def squared_scales(features: Float, products: Float, labels: Float) -> tuple[float, ...]:
    """Find the scales t of the last layer's input under the squared loss.

    Parameters
    ----------
    features : array of shape (C,)
        V u with u the unit vector along the input.
    products : array of shape (C,)
        r = G u.
    labels : array of shape (C,)
        y.

    Returns
    -------
    tuple of float
        All real t ≠ 0 that solve t² V u - t y - r = 0 up to rounding.
    """
    best = int(np.argmax(np.abs(products)))
    a, b, c = float(features[best]), -float(labels[best]), -float(products[best])
    discriminant = b * b - 4 * a * c
    if discriminant < -1e-12 * max(b * b, abs(4 * a * c)):
        return ()
    half = -(b + math.copysign(math.sqrt(max(discriminant, 0.0)), b)) / 2
    found = [value for value in ((c / half) if half else 0.0, (half / a) if a else 0.0) if value != 0]

    def error(scale: float) -> float:
        parts = np.stack([scale * features, -labels, -products / scale])
        return float(np.max(np.abs(parts.sum(axis=0))) / np.max(np.abs(parts)))

    return _distinct([(scale, error(scale)) for scale in found if math.isfinite(scale)])


def _lambert(argument: float, branch: int) -> float:
    # Rounding can put an argument at the branch point just below it; the real part is what is meant.
    return float(scipy.special.lambertw(max(argument, -math.exp(-1)), branch).real)


def _refined(margin: float, value: float) -> float:
    """Newton's method on φ, as far as it helps."""
    for _ in range(3):
        share = float(scipy.special.expit(-margin))
        slope = -share * (1 - margin * float(scipy.special.expit(margin)))
        error = product(margin) - value
        if slope == 0 or error == 0:
            break
        moved = margin - error / slope
        if not abs(product(moved) - value) < abs(error):
            break
        margin = moved
    return margin


def _softmax_roots(logarithm: float, slope: float) -> tuple[float, ...]:
    """Solve log(t - 1) = logarithm + t · slope."""
    if slope == 0:
        return (1 + math.exp(logarithm),)
    exponent = logarithm + slope
    argument = -slope * math.exp(exponent) if exponent < 700 else math.copysign(math.inf, -slope)
    if argument < -math.exp(-1) * (1 + 1e-12) or not math.isfinite(argument):
        return ()
    branches = (0, -1) if argument < 0 else (0,)
    return tuple(1 - _lambert(argument, branch) / slope for branch in branches)


def _refined_scale(scale: float, logarithms: Float, slopes: Float, weights: Float) -> tuple[float, float]:
    """Gauss-Newton on the equations of all classes, weighted by r; the scale and the largest error."""

    def errors(t: float) -> Float:
        result: Float = weights * (math.log(t - 1) - logarithms - t * slopes)
        return result

    for _ in range(50):
        error = errors(scale)
        slope = weights * (1 / (scale - 1) - slopes)
        if not (size := float(slope @ slope)) > 0:
            break
        moved = scale - float(slope @ error) / size
        if not (moved > 1 and np.linalg.norm(errors(moved)) < np.linalg.norm(error)):
            break
        scale = moved
    return scale, float(np.max(np.abs(errors(scale))))


def _distinct(scales: list[tuple[float, float]]) -> tuple[float, ...]:
    """Keep those that fit, without repetitions up to rounding; the best one if none fits."""
    if not scales:
        return ()
    bound = max(_CONSISTENT, min(error for _, error in scales))
    kept: list[float] = []
    for scale, error in sorted(scales):
        if error <= bound and not any(abs(scale - other) <= 1e-9 * abs(other) for other in kept):
            kept.append(scale)
    return tuple(kept)
