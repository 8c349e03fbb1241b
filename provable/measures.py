"""Finite signed measures on inputs, their symmetries, and how far two of them are apart modulo a fibre."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.arithmetic import Array, Float, to_float
from provable.errors import InputError
from provable.symmetries import SYMMETRIES, is_symmetry, scaling_degree


def as_numbers(values: ArrayLike, what: str) -> Array:
    """Turn numbers into a read-only array of float64, or keep an object array of exact numbers.

    Parameters
    ----------
    values : array_like
        Real numbers, or an object array of one exact arithmetic.
    what : str
        What they are, for the message.

    Returns
    -------
    ndarray
        A read-only copy.

    Raises
    ------
    InputError
        If machine numbers are not real or not finite.
    """
    given = np.asarray(values)
    if given.dtype == object:  # an empty one has no arithmetic of its own
        result: Array = given.copy() if given.size else np.zeros(given.shape)
    elif given.dtype.kind in "fiu":
        result = given.astype(np.float64)
        if not np.isfinite(result).all():
            raise InputError(f"{what}: found a number that is not finite; finite numbers are accepted")
    else:
        raise InputError(f"{what}: found entries of type {given.dtype}; real numbers are accepted")
    result.flags.writeable = False
    return result


@dataclass(frozen=True, eq=False)
class Measure:
    """The signed measure μ = Σ_j c_j δ_{x_j}.

    Parameters
    ----------
    points : ndarray of shape (n, *input_shape)
        The atoms x_j, float64, or an object array of exact numbers.
    coefficients : ndarray of shape (n,) or (n, C)
        The coefficients c_j, one for each output of the network.

    Raises
    ------
    InputError
        If the shapes do not fit or a number is not finite.
    """

    points: Array
    coefficients: Array

    def __post_init__(self) -> None:
        points = as_numbers(self.points, "points")
        coefficients = as_numbers(self.coefficients, "coefficients")
        if points.ndim < 2:
            raise InputError(f"points: found shape {points.shape}; (n, *input_shape) is accepted")
        if coefficients.ndim not in (1, 2) or len(coefficients) != len(points):
            raise InputError(
                f"coefficients: found shape {coefficients.shape} for {len(points)} points; "
                f"({len(points)},) or ({len(points)}, C) is accepted"
            )
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "coefficients", coefficients)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Measure):
            return NotImplemented
        return np.array_equal(self.points, other.points) and np.array_equal(self.coefficients, other.coefficients)

    __hash__ = None  # type: ignore[assignment]

    @property
    def size(self) -> int:
        """The number of atoms n.

        Returns
        -------
        int
            Null atoms and repetitions included.
        """
        return len(self.points)

    def _selected(self, indices: Any) -> Measure:
        return Measure(self.points[indices], self.coefficients[indices])

    def _column(self, numbers: Array, array: Array) -> Array:
        return numbers.reshape((-1,) + (1,) * (array.ndim - 1))

    def permuted(self, order: ArrayLike) -> Measure:
        """Reorder the atoms.

        Parameters
        ----------
        order : array_like of int, shape (n,)
            A permutation of 0, …, n - 1; atom i of the result is atom ``order[i]`` of this measure.

        Returns
        -------
        Measure
            The same measure, listed in another order.

        Raises
        ------
        InputError
            If `order` is no permutation.
        """
        indices = np.asarray(order)
        if indices.shape != (self.size,) or sorted(indices.tolist()) != list(range(self.size)):
            raise InputError(
                f"order: found {indices.tolist()!s:.60}; a permutation of 0 to {self.size - 1} is accepted"
            )
        return self._selected(indices.astype(np.intp))

    def sign_flipped(self, indices: Iterable[int]) -> Measure:
        """Replace (x, c) by (-x, -c) in some atoms.

        Parameters
        ----------
        indices : iterable of int
            Which atoms.

        Returns
        -------
        Measure
            Another measure; the same embedding if x ↦ ∇_θ f(x; θ) is odd.

        Raises
        ------
        InputError
            If an index is out of range.
        """
        chosen = np.array(sorted(set(indices)), dtype=np.intp)
        if chosen.size and not 0 <= chosen[0] <= chosen[-1] < self.size:
            raise InputError(f"indices: found {chosen.tolist()!s:.60}; numbers from 0 to {self.size - 1} are accepted")
        points, coefficients = self.points.copy(), self.coefficients.copy()
        points[chosen] = -points[chosen]
        coefficients[chosen] = -coefficients[chosen]
        return Measure(points, coefficients)

    def turned(self, indices: Iterable[int]) -> Measure:
        """Replace (x, c) by (-x, c) in some atoms.

        Parameters
        ----------
        indices : iterable of int
            Which atoms.

        Returns
        -------
        Measure
            Another measure; the same embedding if x ↦ ∇_θ f(x; θ) is even.

        Raises
        ------
        InputError
            If an index is out of range.
        """
        return Measure(self.sign_flipped(indices).points, self.coefficients)

    def rescaled(self, factors: ArrayLike, *, degree: int = 1) -> Measure:
        """Replace (x, c) by (t x, c / tᵖ).

        Parameters
        ----------
        factors : array_like of shape (n,)
            A positive t for every atom.
        degree : int, optional
            p ≥ 1.

        Returns
        -------
        Measure
            Another measure; the same embedding if x ↦ ∇_θ f(x; θ) is positively homogeneous of degree p.

        Raises
        ------
        InputError
            If a factor is not positive and finite.
        """
        numbers = as_numbers(factors, "factors")
        if numbers.shape != (self.size,):
            raise InputError(f"factors: found shape {numbers.shape}; ({self.size},) is accepted")
        if not all(number > 0 for number in numbers):
            raise InputError("factors: found a number that is not positive; positive numbers are accepted")
        return Measure(
            self.points * self._column(numbers, self.points),
            self.coefficients / self._column(numbers, self.coefficients) ** degree,
        )

    def without_null_atoms(self) -> Measure:
        """Drop the atoms whose coefficients are all exactly zero.

        Returns
        -------
        Measure
            The same measure with as many or fewer atoms.
        """
        nonzero = np.asarray(self.coefficients != 0, dtype=np.bool_)
        return self._selected(nonzero if nonzero.ndim == 1 else nonzero.any(axis=1))

    def merged(self, tolerance: float = 0.0) -> Measure:
        """Add up the coefficients of atoms at the same point.

        Parameters
        ----------
        tolerance : float
            Atoms count as the same if their Euclidean distance is at most this multiple of the larger of their norms;
            with 0, the default, only if all entries are equal.

        Returns
        -------
        Measure
            Atoms at the first point of each group, in order of first appearance; with tolerance 0 the same measure.

        Raises
        ------
        InputError
            If the tolerance is negative or not a number.
        """
        if not tolerance >= 0:
            raise InputError(f"tolerance: found {tolerance}; a nonnegative number is accepted")
        kept: list[int] = []
        sums: list[Any] = []
        flat = _flat(self.points)
        rounded = to_float(flat) if tolerance > 0 else np.empty((self.size, 0))
        norms = np.linalg.norm(rounded, axis=1)
        for atom in range(self.size):
            if tolerance > 0:
                distances = np.linalg.norm(rounded[kept] - rounded[atom], axis=1)
                same = distances <= tolerance * np.maximum(norms[kept], norms[atom])
            else:
                same = np.asarray(flat[kept] == flat[atom], dtype=np.bool_).all(axis=1)
            group = np.flatnonzero(same)
            if group.size:
                sums[group[0]] = sums[group[0]] + self.coefficients[atom]
            else:
                kept.append(atom)
                sums.append(self.coefficients[atom])
        coefficients = np.empty((len(kept), *self.coefficients.shape[1:]), dtype=self.coefficients.dtype)
        for index, total in enumerate(sums):
            coefficients[index] = total
        return Measure(self.points[kept], coefficients)

    def matching(self, other: Measure, *, fibre: Iterable[str] = ("permutation",)) -> Matching:
        """Match the atoms of this measure with those of a reference, modulo symmetries.

        Parameters
        ----------
        other : Measure
            The reference, with points and coefficients of the same shapes; the number of atoms may differ if
            permutations are divided out.
        fibre : iterable of {"permutation", "joint-sign", "point-sign", "positive-scaling", "positive-scaling:p"}
            The symmetries divided out: any order of atoms, (x, c) ↦ (-x, -c), (x, c) ↦ (-x, c), (x, c) ↦ (t x, c / t)
            and (x, c) ↦ (t x, c / tᵖ) with t > 0, each atom on its own. One of the signs and one of the scalings at
            most. Without ``"permutation"`` atom j is compared with atom j.

        Returns
        -------
        Matching
            The assignment that minimises the sum of squared errors of points and coefficients, and its errors.

        Raises
        ------
        InputError
            If the shapes do not fit, a symmetry is unknown, or there are two signs or two scalings.

        Notes
        -----
        Errors are relative to the reference: ‖x̂ - x‖ / ‖x‖ and ‖ĉ - c‖ / ‖c‖, absolute where the reference is zero.
        With ``"positive-scaling"`` both atoms are first brought to points of norm 1 (zero points stay), which is
        exactly invariant. The optimal assignment is found by the Hungarian method [1]_.

        References
        ----------
        .. [1] H. W. Kuhn, The Hungarian method for the assignment problem, Naval Research Logistics 2 (1955).
        """
        return _match(self, other, tuple(fibre))


@dataclass(frozen=True, eq=False)
class Matching:
    """How the atoms of one measure correspond to those of a reference.

    Attributes
    ----------
    permutation : ndarray of int, shape (m,)
        Atom j of the reference corresponds to atom ``permutation[j]`` of the measure; -1 if to none.
    signs : ndarray of shape (m,)
        ±1: the sign to apply to that atom of the measure.
    factors : ndarray of shape (m,)
        The positive t for which (t x, c / tᵖ) was compared.
    errors : ndarray of shape (m,)
        Relative Euclidean errors of the points; infinite where nothing corresponds.
    coefficient_errors : ndarray of shape (m,)
        Relative Euclidean errors of the coefficients; infinite where nothing corresponds.
    unmatched : ndarray of int
        Atoms of the measure that correspond to no atom of the reference.
    degree : int
        p.
    joint : bool
        Whether a sign is that of the coefficients too.
    """

    permutation: NDArray[np.intp]
    signs: Float
    factors: Float
    errors: Float
    coefficient_errors: Float
    unmatched: NDArray[np.intp]
    degree: int = 1
    joint: bool = True

    @property
    def point_error(self) -> float:
        """The largest error of a point.

        Returns
        -------
        float
            Infinite if an atom on either side has no counterpart, 0 for two empty measures.
        """
        return math.inf if self.unmatched.size else float(self.errors.max(initial=0.0))

    @property
    def error(self) -> float:
        """The largest error of a point or a coefficient.

        Returns
        -------
        float
            Infinite if an atom on either side has no counterpart, 0 for two empty measures.
        """
        return max(self.point_error, float(self.coefficient_errors.max(initial=0.0)))

    def apply(self, measure: Measure) -> Measure:
        """Bring the matched atoms of the measure into the reference's order, signs and scales.

        Parameters
        ----------
        measure : Measure
            The measure that was matched.

        Returns
        -------
        Measure
            One atom for each matched atom of the reference, in the reference's order.
        """
        there = self.permutation >= 0
        chosen = measure._selected(self.permutation[there])
        negative = np.flatnonzero(self.signs[there] < 0).tolist()
        signed = chosen.sign_flipped(negative) if self.joint else chosen.turned(negative)
        return signed.rescaled(self.factors[there], degree=self.degree)


def _flat(array: Array) -> Array:
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _relative(difference: Float, reference: Float) -> Float:
    sizes = np.linalg.norm(reference, axis=-1)
    quotient: Float = np.linalg.norm(difference, axis=-1) / np.where(sizes > 0, sizes, 1.0)
    return quotient


def _match(measure: Measure, other: Measure, fibre: tuple[str, ...]) -> Matching:
    for word in fibre:
        if not is_symmetry(word):
            raise InputError(f"fibre: found {word!r:.60}; {', '.join(SYMMETRIES)} are accepted")
    signs_named = [word for word in ("joint-sign", "point-sign") if word in fibre]
    degrees = {degree for word in fibre if (degree := scaling_degree(word)) is not None}
    if len(signs_named) > 1 or len(degrees) > 1:
        raise InputError(f"fibre: found {', '.join(fibre)}; one kind of sign and one of scaling at most are accepted")
    degree, joint = max(degrees, default=1), "point-sign" not in fibre
    if (
        measure.points.shape[1:] != other.points.shape[1:]
        or measure.coefficients.shape[1:] != other.coefficients.shape[1:]
    ):
        raise InputError(
            f"other: found atoms of shapes {other.points.shape[1:]} and {other.coefficients.shape[1:]}; "
            f"{measure.points.shape[1:]} and {measure.coefficients.shape[1:]} are accepted"
        )
    n, m = measure.size, other.size
    if "permutation" not in fibre and n != m:
        raise InputError(f"other: found {m} atoms; {n} are accepted unless the fibre holds permutations")
    x, z = _flat(to_float(measure.points)), _flat(to_float(other.points))
    c, e = _flat(to_float(measure.coefficients)), _flat(to_float(other.coefficients))
    x_scale, z_scale = np.ones(n), np.ones(m)
    if degrees:
        x_scale, z_scale = _norms(x), _norms(z)
        x, c = x / x_scale[:, None], c * x_scale[:, None] ** degree
        z, e = z / z_scale[:, None], e * z_scale[:, None] ** degree

    signs = (1.0, -1.0) if signs_named else (1.0,)
    points = np.empty((len(signs), n, m))
    coefficients = np.empty((len(signs), n, m))
    for index, sign in enumerate(signs):
        for atom in range(n):  # one row at a time: an (n, m, d) array may not fit
            points[index, atom] = _relative(sign * x[atom] - z, z)
            coefficients[index, atom] = _relative((sign if joint else 1.0) * c[atom] - e, e)
    # hypot does not overflow; the cap keeps the assignment solver finite and changes no order of sensible errors
    costs = np.minimum(np.hypot(points, coefficients), 1e100) ** 2
    best = costs.argmin(axis=0) if n * m else np.zeros((n, m), dtype=np.intp)
    rows, columns = _assignment(costs.min(axis=0) if n * m else np.empty((n, m)), "permutation" in fibre)

    permutation = np.full(m, -1, dtype=np.intp)
    permutation[columns] = rows
    chosen = np.ones(m)
    chosen[columns] = np.asarray(signs)[best[rows, columns]]
    factors = np.ones(m)
    factors[columns] = z_scale[columns] / x_scale[rows]
    errors, coefficient_errors = np.full(m, np.inf), np.full(m, np.inf)
    errors[columns] = points[best[rows, columns], rows, columns]
    coefficient_errors[columns] = coefficients[best[rows, columns], rows, columns]
    unmatched = np.setdiff1d(np.arange(n), rows)
    return Matching(permutation, chosen, factors, errors, coefficient_errors, unmatched, degree, joint)


def _norms(points: Float) -> Float:
    norms = np.linalg.norm(points, axis=1)
    scales: Float = np.where(norms > 0, norms, 1.0)
    return scales


def _assignment(costs: Float, permute: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if not permute:
        every = np.arange(len(costs), dtype=np.intp)
        return every, every
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(costs)
    return np.asarray(rows, dtype=np.intp), np.asarray(columns, dtype=np.intp)
