r"""Hermite moments by least squares: control variates and regression in Hermite products.

The average (1/m) Σ g_j H_k(z_j) has the variance of all of g. Whatever part of g lies in Hermite products of other degrees
than k only adds noise, because they are orthogonal to H_k in the mean but not on the sample. `detrended` removes the fitted
part of lower degrees, which changes the expectation by O(1/m) at most; `hermite_regression` fits all degrees up to K together
and reads the moments from the coefficients. For a polynomial of degree K the regression is exact once there are as many
equations as products.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError
from provable.tensors.hermite_moments import checked

HIGHEST_DEGREE = 6
"""The largest degree of a regression."""

LARGEST_DESIGN = 40_000_000
"""Numbers in the largest matrix of a regression."""


@dataclass(frozen=True, eq=False)
class HermiteFit:
    """Moments from a regression in Hermite products.

    Attributes
    ----------
    moments : tuple of ndarray
        Entry k is the symmetric tensor of order k, of shape (p,) * k; entry 0 is the mean.
    residual : float
        ‖g - fit‖ / ‖g - mean‖ over all equations; 0 if the values are constant.
    condition : float
        Condition number of the matrix of the regression.
    """

    moments: tuple[Float, ...]
    residual: float
    condition: float


def detrended(points: ArrayLike, values: ArrayLike, degree: int = 1) -> Float:
    r"""Values without their least-squares fit in all Hermite products up to a degree.

    Parameters
    ----------
    points : array_like of shape (m, p)
        The weights or their projected coordinates.
    values : array_like of shape (m,) or (m, q)
        What was observed at the points: g_j, or slopes y_j.
    degree : int
        0 subtracts the mean, 1 the affine fit. For a moment of order k of values, at most k - 1; of slopes, k - 2.

    Returns
    -------
    ndarray
        Residuals of the fit, in the shape of the values.

    Raises
    ------
    InputError
        If the shapes do not match, a number is not finite, the degree is out of range, or there are not more points than
        products.
    """
    points, values = checked(points, values, name="values")
    count, dimension = points.shape
    products = _products(dimension, degree, count)
    if count <= len(products):
        raise InputError(
            f"points: found {count}; more than the {len(products)} products of degree {degree} are accepted"
        )
    if degree == 0:
        return np.asarray(values - values.mean(axis=0))
    design = np.hstack([np.ones((count, 1)), points]) if degree == 1 else _design(points, products)
    return np.asarray(values - design @ np.linalg.lstsq(design, values, rcond=None)[0])


def hermite_regression(
    points: ArrayLike, values: ArrayLike, degree: int = 4, *, slopes: ArrayLike | None = None
) -> HermiteFit:
    r"""Moments of all orders up to K from the least-squares fit in Hermite products of degree at most K.

    Parameters
    ----------
    points : array_like of shape (m, p)
        The z_j = Vᵀw_j.
    values : array_like of shape (m,)
        The g_j.
    degree : int
        K, from 1 to 6: C(p + K, K) products. With more than a quarter as many products as equations the fit
        follows the part of g beyond degree K.
    slopes : array_like of shape (m, p), optional
        The gradients Vᵀy_j of g: p more equations per point, since ∂_i of a product is a product.

    Returns
    -------
    HermiteFit
        The moments, the relative residual and the condition.

    Raises
    ------
    InputError
        If the shapes do not match, a number is not finite, the degree is out of range, or there are fewer equations than
        products.

    Notes
    -----
    g(z) ≈ Σ_α c_α He_α(z) with He_α = Π_i He_{α_i}(z_i) gives E[g He_α] = α! c_α, which is the entry of the moment of
    order |α| at every index tuple with the counts α.
    """
    points, values = checked(points, values, name="values")
    if values.ndim != 1:
        raise InputError(f"values: found shape {values.shape}; one number per point is accepted")
    count, dimension = points.shape
    if degree == 0:
        raise InputError(f"degree: found 0; an integer from 1 to {HIGHEST_DEGREE} is accepted")
    products = _products(dimension, degree, count * (1 if slopes is None else 1 + dimension))
    design, target = _design(points, products), values
    centred = values - values.mean()
    if slopes is not None:
        _, slope_rows = checked(points, slopes, name="slopes")
        if slope_rows.shape != points.shape:
            raise InputError(f"slopes: found shape {slope_rows.shape}; {points.shape} is accepted")
        design = np.vstack([design, *_derivatives(design, products, dimension)])
        target, centred = (np.concatenate([part, slope_rows.T.reshape(-1)]) for part in (target, centred))
    if len(design) < len(products):
        raise InputError(
            f"points: found {len(design)} equations; at least the {len(products)} products of degree {degree} are accepted"
        )
    coefficients, _, _, sizes = np.linalg.lstsq(design, target, rcond=None)
    size = float(np.linalg.norm(centred))
    residual = float(np.linalg.norm(target - design @ coefficients)) / size if size > 0 else 0.0
    condition = float(sizes[0] / sizes[-1]) if sizes[-1] > 0 else math.inf
    moments: list[Float] = [np.zeros((dimension,) * order) for order in range(degree + 1)]
    for product, coefficient in zip(products, coefficients, strict=True):
        entry = coefficient * _root_of_factorials(product)
        for place in set(itertools.permutations(product)):
            moments[len(product)][place] = entry
    return HermiteFit(tuple(moments), residual, condition)


def antithetic_weights(pairs: int, dimension: int, *, rng: int | np.random.Generator | None = None) -> Float:
    """Standard normal weights that come with their negatives.

    Parameters
    ----------
    pairs : int
        Number n of pairs.
    dimension : int
        d.
    rng : int or Generator, optional
        Seed or generator.

    Returns
    -------
    ndarray of shape (2n, d)
        w_1, …, w_n, -w_1, …, -w_n.
    """
    half = np.random.default_rng(rng).standard_normal((pairs, dimension))
    return np.concatenate([half, -half])


def parity_part(values: ArrayLike, order: int) -> Float:
    """The even or odd part of values at antithetic weights; the other part does not contribute to a moment of that order.

    Parameters
    ----------
    values : array_like of shape (2n,) or (2n, q)
        g(w_1), …, g(w_n), g(-w_1), …, g(-w_n).
    order : int
        Of the moment: an even one takes the even part. (Of slopes, whose parity is the opposite one, give order - 1.)

    Returns
    -------
    ndarray of shape (n,) or (n, q)
        [g(w) + (-1)^k g(-w)] / 2, to be used with the first n weights. A part of the wrong parity is cancelled exactly.

    Raises
    ------
    InputError
        If the number of values is odd.
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim == 0 or len(numbers) % 2:
        raise InputError(f"values: found shape {numbers.shape}; an even number of them is accepted")
    first, second = np.split(numbers, 2)
    return np.asarray((first + (-1) ** order * second) / 2)


def _products(dimension: int, degree: int, equations: int) -> list[tuple[int, ...]]:
    """Index tuples i_1 ≤ … ≤ i_k of all products of degree k ≤ K."""
    if isinstance(degree, bool) or not isinstance(degree, int | np.integer) or not 0 <= degree <= HIGHEST_DEGREE:
        raise InputError(f"degree: found {degree!r:.40}; an integer from 0 to {HIGHEST_DEGREE} is accepted")
    number = math.comb(dimension + int(degree), int(degree))
    if number * equations > LARGEST_DESIGN:
        raise InputError(
            f"degree: found {degree} with {number} products and {equations} equations; at most {LARGEST_DESIGN} entries are "
            "accepted: lower the degree or project to fewer coordinates"
        )
    return [
        product
        for order in range(int(degree) + 1)
        for product in itertools.combinations_with_replacement(range(dimension), order)
    ]


def _root_of_factorials(product: tuple[int, ...]) -> float:
    return math.sqrt(math.prod(math.factorial(product.count(index)) for index in set(product)))


def _design(points: Float, products: list[tuple[int, ...]]) -> Float:
    """He_α(z_j)/√α!, which are orthonormal for Gaussian z; column by column from those of lower degree."""
    largest = len(products[-1])
    # normalised: √(k+1) h_{k+1} = z h_k - √k h_{k-1}
    hermite = [np.ones(points.shape), points]
    for k in range(1, largest):
        hermite.append((points * hermite[k] - math.sqrt(k) * hermite[k - 1]) / math.sqrt(k + 1))
    place = {product: column for column, product in enumerate(products)}
    design = np.empty((len(points), len(products)))
    for product, column in place.items():
        if not product:
            design[:, column] = 1.0
            continue
        last = product[-1]
        power = product.count(last)
        design[:, column] = design[:, place[product[:-power]]] * hermite[power][:, last]
    return design


def _derivatives(design: Float, products: list[tuple[int, ...]], dimension: int) -> list[Float]:
    """The partial derivatives of the products, which are √α_i times products: one block per coordinate."""
    place = {product: column for column, product in enumerate(products)}
    blocks = []
    for index in range(dimension):
        block = np.zeros(design.shape)
        for product, column in place.items():
            if power := product.count(index):
                lower = list(product)
                lower.remove(index)
                block[:, column] = math.sqrt(power) * design[:, place[tuple(lower)]]
        blocks.append(block)
    return blocks
