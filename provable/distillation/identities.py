r"""Identities of kernel interpolation: what deleting a sample costs, and where two functions differ. In every arithmetic.

Let K be the kernel matrix of the training points, α = K⁻¹y and h = Σ_i α_i k(·, x_i). Then

- 1/[K⁻¹]_jj = k(x_j, x_j) - k_jᵀK_{-j}⁻¹k_j is the squared distance of k(·, x_j) to the span of the others (the conditional
  variance of x_j given them),
- α_j/[K⁻¹]_jj = y_j - h_{-j}(x_j) is the leave-one-out residual,
- min ‖h - g‖²_H over g in the span of the others is α_j²/[K⁻¹]_jj = (leave-one-out residual)²·[K⁻¹]_jj: the deletion cost.

The first and the third hold for every α, so at every stopping time and with a ridge, K being the matrix without it; the
second is about interpolation (for other α read h(x_j) in place of y_j, and for h_{-j} the interpolant of h at the others).
For g = Σ_j β_j k(·, z_j) and e = y - g(X),

    ‖h - g‖² = eᵀK⁻¹e + ‖P^⊥ g‖²,   P the projection onto span{k(·, x_i)},

hence ‖e‖² ≤ λ_max(K)·‖h - g‖².
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array
from provable.errors import InputError


def conditional_variances(gram: Array) -> Array:
    """The squared distances of the kernel functions to the span of the others, 1/[K⁻¹]_jj.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        An invertible kernel matrix K, in any arithmetic.

    Returns
    -------
    ndarray of shape (n,)
        Positive for a positive definite matrix.

    Raises
    ------
    InputError
        If the matrix is not square, or singular.
    """
    inverse = _solve(gram, _identity(gram))
    variances: Array = 1 / np.diag(inverse)
    return variances


def leave_one_out_residuals(gram: Array, coefficients: Array) -> Array:
    """The residual of each sample for the function fitted to the others, α_j/[K⁻¹]_jj.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        An invertible kernel matrix K (with a ridge λ: K + λI).
    coefficients : ndarray of shape (n,) or (n, C)
        α = K⁻¹y.

    Returns
    -------
    ndarray of the shape of `coefficients`
        y_j - h_{-j}(x_j). Zero exactly for a sample that the others fit: its coefficient is zero, and no attack on h sees it.

    Raises
    ------
    InputError
        If the shapes do not fit, or the matrix is singular.
    """
    variances = conditional_variances(gram)
    residuals: Array = _fitting(gram, coefficients) * _column(variances, coefficients)
    return residuals


def deletion_costs(gram: Array, coefficients: Array) -> Array:
    """The least squared distance to h of a function without one of the points, α_j²/[K⁻¹]_jj.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        An invertible kernel matrix K, without a ridge.
    coefficients : ndarray of shape (n,) or (n, C)
        Any α.

    Returns
    -------
    ndarray of shape (n,)
        min over β of ‖Σ_i α_i k(·, x_i) - Σ_{i≠j} β_i k(·, x_i)‖², summed over the outputs.

    Raises
    ------
    InputError
        If the shapes do not fit, or the matrix is singular.
    """
    alpha = _fitting(gram, coefficients)
    squares = alpha * alpha
    costs: Array = (squares if squares.ndim == 1 else squares.sum(axis=1)) * conditional_variances(gram)
    return costs


@dataclass(frozen=True, eq=False)
class DistanceParts:
    """The two orthogonal parts of ‖h - g‖².

    Attributes
    ----------
    at_the_points : number
        eᵀK⁻¹e with e = h(X) - g(X), summed over the outputs.
    unseen : number
        ‖P^⊥ g‖²: what no value at the training points shows.
    """

    at_the_points: Any
    unseen: Any


def distance_parts(
    gram: Array, cross: Array, other_gram: Array, values: Array, other_coefficients: Array
) -> DistanceParts:
    """Split the squared distance of two functions into what shows at the points of the first and what does not.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        Invertible kernel matrix of the points of h.
    cross : ndarray of shape (n, m)
        Kernel values between the points of h and those of g.
    other_gram : ndarray of shape (m, m)
        Kernel matrix of the points of g; it may be singular.
    values : ndarray of shape (n,) or (n, C)
        The values of h at its own points.
    other_coefficients : ndarray of shape (m,) or (m, C)
        The coefficients of g.

    Returns
    -------
    DistanceParts
        Their sum is ‖h - g‖².

    Raises
    ------
    InputError
        If the shapes do not fit, or the matrix is singular.
    """
    beta = _fitting(other_gram, other_coefficients)
    errors = _fitting(gram, values) - cross @ beta
    residual_gram = other_gram - cross.T @ _solve(gram, cross)
    return DistanceParts(
        (errors * _solve(gram, errors)).sum(),
        (beta * (residual_gram @ beta)).sum(),
    )


def _square(gram: Array) -> Array:
    if gram.ndim != 2 or gram.shape[0] != gram.shape[1] or gram.size == 0:
        raise InputError(f"gram: found shape {gram.shape}; a square matrix is accepted")
    return gram


def _solve(gram: Array, right: Array) -> Array:
    try:
        return arithmetic.solve(_square(gram), right)
    except ZeroDivisionError:
        raise InputError(
            "gram: found a singular matrix; of dependent points no single coefficient, variance or deletion cost is "
            "determined: matrices of independent ones are accepted"
        ) from None


def _fitting(gram: Array, numbers: Array) -> Array:
    if numbers.ndim not in (1, 2) or len(numbers) != len(_square(gram)):
        raise InputError(
            f"coefficients: found shape {numbers.shape} for {len(gram)} points; (n,) or (n, C) is accepted"
        )
    return numbers


def _column(numbers: Array, like: Array) -> Array:
    return numbers.reshape(-1, *(1,) * (like.ndim - 1))


def _identity(gram: Array) -> Array:
    identity = arithmetic.full(gram.shape, 0, gram)
    for place in range(len(gram)):
        identity[place, place] = arithmetic.constant(1, gram)
    return identity
