"""Kernel interpolation and kernel ridge regression: the function that training reaches, its norm and its predictions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from provable.arithmetic import EPSILON, Float
from provable.distillation.kernel_gradients import Kernel
from provable.errors import InputError
from provable.measures import Measure


@dataclass(frozen=True, eq=False)
class Interpolant:
    """The function h = Σ_i α_i k(·, x_i) with α = (K + λI)⁻¹ y; build it with `interpolant`.

    Attributes
    ----------
    kernel : Kernel
        k.
    points : ndarray of shape (n, d)
        The x_i.
    values : ndarray of shape (n,) or (n, C)
        The y_i, for one output or C of them.
    ridge : float
        λ ≥ 0; with 0 the function takes the values y_i at the x_i.
    coefficients : ndarray of shape (n,) or (n, C)
        The α_i.
    gram : ndarray of shape (n, n)
        K.
    factor : ndarray of shape (n, n)
        Lower triangular Cholesky factor of K + λI.
    """

    kernel: Kernel
    points: Float
    values: Float
    ridge: float
    coefficients: Float = field(repr=False)
    gram: Float = field(repr=False)
    factor: Float = field(repr=False)

    def __call__(self, X: ArrayLike) -> Float:
        """Evaluate h.

        Parameters
        ----------
        X : array_like of shape (m, d)
            Points.

        Returns
        -------
        ndarray of shape (m,) or (m, C)
            Values.
        """
        result: Float = self.kernel(np.asarray(X, dtype=np.float64), self.points) @ self.coefficients
        return result

    @property
    def measure(self) -> Measure:
        """The measure Σ_i α_i δ_{x_i}, whose embedding is h.

        Returns
        -------
        Measure
            Its points and coefficients.
        """
        return Measure(self.points, self.coefficients)

    @property
    def squared_norm(self) -> float:
        """‖h‖²_H = Σ αᵀKα, over the outputs.

        Returns
        -------
        float
            Nonnegative up to rounding.
        """
        return float(np.sum(self.coefficients * (self.gram @ self.coefficients)))

    @property
    def largest_eigenvalue(self) -> float:
        """λ_max(K).

        Returns
        -------
        float
            The largest eigenvalue of the kernel matrix, without the ridge.
        """
        last = len(self.gram) - 1
        return float(scipy.linalg.eigvalsh(self.gram, subset_by_index=[last, last])[0])

    def solve(self, right: Float) -> Float:
        """Solve (K + λI) a = b.

        Parameters
        ----------
        right : ndarray of shape (n,) or (n, C)
            b.

        Returns
        -------
        ndarray of the shape of `right`
            a.
        """
        result: Float = scipy.linalg.cho_solve((self.factor, True), right, check_finite=False)
        return result


def interpolant(kernel: Kernel, points: ArrayLike, values: ArrayLike, *, ridge: float = 0.0) -> Interpolant:
    """Fit values at points.

    Parameters
    ----------
    kernel : Kernel
        k.
    points : array_like of shape (n, d)
        The x_i.
    values : array_like of shape (n,) or (n, C)
        The y_i: labels less the values of the network at initialisation.
    ridge : float, optional
        λ as a multiple of the mean of the diagonal of K, λ = ridge·tr(K)/n: 0 interpolates; the code of Loo et al. (2024)
        takes 1e-5, that of FRePo 1e-6.

    Returns
    -------
    Interpolant
        What gradient descent on the squared loss reaches in the kernel regime (λ = 0).

    Raises
    ------
    InputError
        If the shapes do not fit, numbers are not finite or the ridge is negative; and if K + λI is singular to rounding
        (its reciprocal condition number is at most n·2⁻⁵²), which points that coincide, or share a ray where the kernel is
        homogeneous, make it: then only the sums of their coefficients are determined.
    """
    x, y = checked_points(points, "points"), np.asarray(values, dtype=np.float64)
    if y.ndim not in (1, 2) or len(y) != len(x) or len(x) == 0 or not np.all(np.isfinite(y)):
        raise InputError(
            f"values: found shape {y.shape} for {len(x)} points; finite numbers of shape (n,) or (n, C) for at least one "
            "point are accepted"
        )
    if not (0 <= ridge < np.inf):
        raise InputError(f"ridge: found {ridge}; a nonnegative finite number is accepted")
    gram = np.asarray(kernel(x), dtype=np.float64)
    absolute = ridge * float(np.trace(gram)) / len(x)
    regular = gram + absolute * np.eye(len(x))
    factor, failed = scipy.linalg.lapack.dpotrf(regular, lower=1, clean=1)
    if not failed:
        reciprocal, _ = scipy.linalg.lapack.dpocon(factor, np.linalg.norm(regular, 1), uplo="L")
        failed = not reciprocal > len(x) * EPSILON
    if failed:
        raise InputError(_singular(x))
    alpha = scipy.linalg.cho_solve((factor, True), y)
    return Interpolant(kernel, x, y, absolute, alpha, gram, factor)


def _singular(points: Float) -> str:
    """The message for a singular kernel matrix, with the points that are to blame if it is a zero or a pair."""
    zeros = np.flatnonzero(~points.any(axis=1))
    norms = np.linalg.norm(points, axis=1)
    which, closest = "no two points coincide", np.inf
    for row in range(1, len(points)):
        distances = np.linalg.norm(points[:row] - points[row], axis=1)
        other = int(distances.argmin())
        if distances[other] < closest:
            closest = float(distances[other])
            relative = closest / max(float(norms[row]), float(norms[other]), np.finfo(np.float64).tiny)
            if closest == 0:
                which = f"points {other} and {row} coincide"
            elif (
                relative < 1e-6
            ):  # a kernel matrix of two points at a relative distance ε has a condition of 1/ε or more
                which = f"points {other} and {row} are at the relative distance {relative:.0e}"
    if zeros.size and closest > 0:
        which = f"point {zeros[0]} is zero"
    return (
        f"points: found a kernel matrix that is singular to rounding ({which}); single coefficients of dependent points are "
        "not determined, only their sum (at one ray: weighted by the norms), and the function itself; points merged by "
        "`merge_coincident`, or a positive ridge, are accepted"
    )


@dataclass(frozen=True, eq=False)
class MergedSamples:
    """Samples with those at one point made one.

    Attributes
    ----------
    points : ndarray of shape (m, d)
        The distinct points, in order of first appearance.
    values : ndarray of shape (m,) or (m, C)
        The means of their labels.
    groups : ndarray of int, shape (n,)
        The new index of each sample.
    conflicts : tuple of int
        New indices of points whose labels differ: they cannot be interpolated.
    """

    points: Float
    values: Float
    groups: NDArray[np.intp]
    conflicts: tuple[int, ...]


def merge_coincident(points: ArrayLike, values: ArrayLike) -> MergedSamples:
    """Make samples at one point one sample with the mean of their labels.

    Gradient descent from zero, and ridge regression with a ridge that tends to zero, reach the function that interpolates
    these means. What is lost: the single coefficients of a group, of which only the sum is visible. What remains: the
    function, and everything about the other points.

    Parameters
    ----------
    points : array_like of shape (n, d)
        Points; entries have to be equal for two points to coincide.
    values : array_like of shape (n,) or (n, C)
        Labels.

    Returns
    -------
    MergedSamples
        The distinct points.

    Raises
    ------
    InputError
        If the shapes do not fit.
    """
    x, y = checked_points(points, "points"), np.asarray(values, dtype=np.float64)
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise InputError(f"values: found shape {y.shape} for {len(x)} points; (n,) or (n, C) is accepted")
    _, first, inverse = np.unique(x, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    groups = np.argsort(order)[inverse.reshape(-1)]
    counts = np.bincount(groups, minlength=len(first)).astype(np.float64)
    sums = np.zeros((len(first), *y.shape[1:]))
    np.add.at(sums, groups, y)
    kept = np.sort(first)
    means = sums / counts.reshape(-1, *(1,) * (y.ndim - 1))
    # the mean of equal numbers is that number, without a rounding
    differing = np.zeros(len(first), dtype=np.bool_)
    np.logical_or.at(differing, groups, (y != y[kept][groups]).reshape(len(x), -1).any(axis=1))
    means[~differing] = y[kept][~differing]
    return MergedSamples(x[kept], means, groups.astype(np.intp), tuple(np.flatnonzero(differing).tolist()))


def accuracy(predictions: ArrayLike, labels: ArrayLike) -> float:
    """The share of right predictions: by sign for one output, by the largest output for several.

    Parameters
    ----------
    predictions : array_like of shape (n,) or (n, C)
        Values of a function.
    labels : array_like of shape (n,) or (n, C)
        Targets in the same form: ±1, or rows whose largest entry is the class. A prediction of zero counts as wrong.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If the shapes differ or there is nothing to predict.
    """
    given, wanted = np.asarray(predictions, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    if given.shape != wanted.shape or given.ndim not in (1, 2) or given.size == 0:
        raise InputError(
            f"predictions: found shape {given.shape} for labels of shape {wanted.shape}; one shape is accepted"
        )
    if given.ndim == 1 or given.shape[1] == 1:
        return float(np.mean(np.sign(given) * np.sign(wanted) > 0))
    return float(np.mean(given.argmax(axis=1) == wanted.argmax(axis=1)))


def checked_points(points: Any, name: str) -> Float:
    """Read points as float64.

    Parameters
    ----------
    points : array_like
        What was given.
    name : str
        Its name in messages.

    Returns
    -------
    ndarray of shape (n, d)
        The points.

    Raises
    ------
    InputError
        If the shape is another one or a number is not finite.
    """
    array = np.asarray(points, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0 or not np.all(np.isfinite(array)):
        raise InputError(
            f"{name}: found shape {array.shape}; finite numbers of shape (n, d), d at least 1, are accepted"
        )
    return array
