r"""Refinement of a joint symmetric decomposition: T_k ≈ Σ_i c_{k,i} u_i^{⊗k} for several orders k with the same directions.

Moments of a network of different orders share their directions and differ in their weights. Levenberg-Marquardt on all of
them together uses {T_2, T_4} or {T_2, T_3} where a single one would be too noisy or, like T_2, not unique.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import EPSILON, Float
from provable.errors import InputError
from provable.tensors.symmetric_jennrich import magnitude, ordered

MOST_STEPS = 200
"""Steps of Levenberg-Marquardt at most."""

FIRST_DAMPING = 1e-3
SMALLEST_DAMPING = 1e-13
LARGEST_DAMPING = 1e10


@dataclass(frozen=True, eq=False)
class JointDecomposition:
    """Directions that several symmetric tensors share.

    Attributes
    ----------
    directions : ndarray of shape (p, r)
        The u_i, of norm one.
    coefficients : dict of int to ndarray of shape (r,)
        The c_{k,i} by order k.
    residual : float
        √(Σ_k s_k² ‖T_k - Σ_i c_{k,i} u_i^{⊗k}‖²) with the scales s_k.
    steps : int
        Steps that were tried.
    """

    directions: Float
    coefficients: dict[int, Float]
    residual: float
    steps: int

    def tensor(self, order: int) -> Any:
        """The decomposition of one of the tensors.

        Parameters
        ----------
        order : int
            k, one of the orders that were decomposed.

        Returns
        -------
        tensorly.cp_tensor.CPTensor
            Weights and factors as from `provable.tensors.symmetric_jennrich`; in another order than `directions`.

        Raises
        ------
        InputError
            If there was no tensor of that order.
        """
        from tensorly.cp_tensor import CPTensor

        if order not in self.coefficients:
            raise InputError(f"order: found {order!r:.40}; one of {sorted(self.coefficients)} is accepted")
        return CPTensor(ordered(self.coefficients[order], self.directions, order))


def refined(
    tensors: Mapping[int, ArrayLike],
    directions: ArrayLike,
    *,
    scales: Mapping[int, float] | None = None,
    most_steps: int = MOST_STEPS,
) -> JointDecomposition:
    r"""Minimise Σ_k s_k² ‖T_k - Σ_i c_{k,i} u_i^{⊗k}‖² over unit vectors u_i and free c_{k,i}.

    Parameters
    ----------
    tensors : mapping of int to array_like
        The symmetric T_k by order k, 1 to 4, all with axes of the same length p.
    directions : array_like of shape (p, r)
        A start, of any nonzero norms.
    scales : mapping of int to float, optional
        s_k > 0. Best is one over the standard error of T_k; default: 1/‖T_k‖.
    most_steps : int
        At most that many steps.

    Returns
    -------
    JointDecomposition
        A local minimum; its residual is never above that of the start with its best coefficients.

    Raises
    ------
    InputError
        If a shape does not match, a number is not finite, a tensor is not of order 1 to 4, or a scale is not positive.

    Notes
    -----
    Every distinct entry of a symmetric tensor is one equation, weighted by the root of its multiplicity, so that nothing of
    size p^k × r p is formed: at order 4 there are C(p + 3, 4) of them. The unknowns are coordinates in the tangent spaces
    u_i^⊥, so that the Jacobian is the Terracini matrix of the decomposition, whose smallest singular value is one over its
    condition number.
    """
    start = np.array(directions, dtype=np.float64)
    if start.ndim != 2 or 0 in start.shape or not np.all(np.isfinite(start)) or not np.all(np.any(start != 0, axis=0)):
        raise InputError(
            f"directions: found shape {start.shape}; a (p, r) matrix of finite numbers without zero columns is needed"
        )
    equations = [_Equations.of(order, tensor, len(start), scales) for order, tensor in sorted(tensors.items())]
    if not equations:
        raise InputError("tensors: found none; at least one is accepted")
    vectors = start / np.linalg.norm(start, axis=0)
    coefficients = [_best_coefficients(one, vectors) for one in equations]
    residual = _residual(equations, vectors, coefficients)
    damping, steps = FIRST_DAMPING, 0
    while steps < most_steps and damping < LARGEST_DAMPING:
        steps += 1
        jacobian, frames = _jacobian(equations, vectors, coefficients)
        column = np.linalg.norm(jacobian, axis=0)
        column = np.where(column > 0, column, 1.0)
        scaled = jacobian / column
        # normal equations square the condition, but the residual is exact: convergence becomes linear, not less accurate
        gram = scaled.T @ scaled + damping * np.eye(len(column))
        step = np.linalg.solve(gram, -(scaled.T @ residual)) / column
        moved = _moved(vectors, frames, step)
        # the best coefficients of the moved directions are at least as good as the moved coefficients
        new_coefficients = [_best_coefficients(one, moved) for one in equations]
        new_residual = _residual(equations, moved, new_coefficients)
        if not new_residual @ new_residual < residual @ residual:
            if float(np.linalg.norm(step[: vectors.size - vectors.shape[1]])) < 4 * EPSILON:
                break
            damping *= 6
            continue
        gain = 1 - float(np.linalg.norm(new_residual) / np.linalg.norm(residual))
        vectors, coefficients, residual = moved, new_coefficients, new_residual
        damping = max(damping / 10, SMALLEST_DAMPING)
        if gain < EPSILON or not np.any(residual):
            break
    found = {one.order: one.unit * numbers for one, numbers in zip(equations, coefficients, strict=True)}
    return JointDecomposition(vectors, found, float(np.linalg.norm(residual)), steps)


@dataclass(frozen=True, eq=False)
class _Equations:
    """The distinct entries of one symmetric tensor over `unit`: index tuples (q, k), weights with the scale, and targets."""

    order: int
    unit: float
    places: np.ndarray[tuple[int, ...], np.dtype[np.intp]]
    weights: Float
    targets: Float

    @classmethod
    def of(cls, order: int, tensor: ArrayLike, size: int, scales: Mapping[int, float] | None) -> _Equations:
        values = np.asarray(tensor, dtype=np.float64)
        if order not in (1, 2, 3, 4) or values.shape != (size,) * order:
            raise InputError(
                f"tensors: found order {order} with shape {values.shape}; ({size},) * k for k = 1 to 4 is accepted"
            )
        if not np.all(np.isfinite(values)):
            raise InputError(f"tensors: order {order} has a number that is not finite; finite numbers are accepted")
        largest = magnitude(values)
        values = values / largest
        norm = float(np.linalg.norm(values)) if np.any(values) else 1.0
        scale = float(scales[order]) * largest if scales is not None else 1 / norm
        if not 0 < scale < math.inf:
            raise InputError(f"scales: found {scales} for order {order}; positive finite numbers are accepted")
        places = np.array(list(itertools.combinations_with_replacement(range(size), order)), dtype=np.intp)
        multiplicity = [
            math.factorial(order) / math.prod(math.factorial(n) for n in np.bincount(place)) for place in places
        ]
        permutations = list(itertools.permutations(range(order)))
        entries = sum(values[tuple(places[:, permutation].T)] for permutation in permutations) / len(permutations)
        weights = scale * np.sqrt(np.array(multiplicity))
        return cls(order, largest, places, weights, weights * entries)

    def powers(self, vectors: Float) -> Float:
        """The entries of the u_i^{⊗k}, weighted: (q, r)."""
        result = np.repeat(self.weights[:, None], vectors.shape[1], axis=1)
        for axis in range(self.order):
            result = result * vectors[self.places[:, axis]]
        return result

    def derivatives(self, vector: Float, frame: Float) -> Float:
        """The derivatives of the entries of u^{⊗k} along the columns of a frame, weighted: (q, p - 1)."""
        total = np.zeros((len(self.places), frame.shape[1]))
        for axis in range(self.order):
            rest = self.weights.copy()
            for other in range(self.order):
                if other != axis:
                    rest = rest * vector[self.places[:, other]]
            total += rest[:, None] * frame[self.places[:, axis]]
        return total


def _best_coefficients(equations: _Equations, vectors: Float) -> Float:
    coefficients: Float = np.asarray(np.linalg.lstsq(equations.powers(vectors), equations.targets, rcond=None)[0])
    return coefficients


def _residual(equations: list[_Equations], vectors: Float, coefficients: list[Float]) -> Float:
    parts = [one.powers(vectors) @ numbers - one.targets for one, numbers in zip(equations, coefficients, strict=True)]
    return np.concatenate(parts)


def _jacobian(equations: list[_Equations], vectors: Float, coefficients: list[Float]) -> tuple[Float, list[Float]]:
    """Derivatives by the tangent coordinates of all u_i, then by the coefficients of all orders."""
    frames = [np.linalg.svd(vector[:, None])[0][:, 1:] for vector in vectors.T]
    rows = []
    for place, (one, numbers) in enumerate(zip(equations, coefficients, strict=True)):
        tangents = [c * one.derivatives(u, frame) for c, u, frame in zip(numbers, vectors.T, frames, strict=True)]
        powers = one.powers(vectors)
        rows.append(np.hstack([*tangents, *(powers if k == place else 0 * powers for k in range(len(equations)))]))
    return np.vstack(rows), frames


def _moved(vectors: Float, frames: list[Float], step: Float) -> Float:
    size, rank = vectors.shape
    coordinates = step[: rank * (size - 1)].reshape(rank, size - 1)
    moved = np.stack([u + frame @ t for u, frame, t in zip(vectors.T, frames, coordinates, strict=True)], axis=1)
    return np.asarray(moved / np.linalg.norm(moved, axis=0))
