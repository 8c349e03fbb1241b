"""Activation patterns of single neurons on a data set: which samples have a positive pre-activation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Float
from provable.max_margin.dependencies import strict_solution

Patterns = NDArray[np.bool_]
"""Shape (P, n): row p says which samples a neuron of pattern p is active on."""

_INSIDE = 1e-9
"""Least inner product with unit vectors at which a cell counts as not empty; cells thinner than that are left out."""


def patterns_of(weights: Float, inputs: Float) -> Patterns:
    """Patterns of given neurons.

    Parameters
    ----------
    weights : ndarray of shape (q, D)
        First-layer weights w, with the bias if there is one.
    inputs : ndarray of shape (n, D)
        The x̃_i.

    Returns
    -------
    ndarray of bool (q', n)
        The different rows of 1[w·x̃_i > 0], in lexicographic order.
    """
    found: Patterns = np.unique(weights @ inputs.T > 0, axis=0)
    return found


def sampled_patterns(inputs: Float, count: int, rng: np.random.Generator) -> Patterns:
    """Patterns of random neurons.

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i.
    count : int
        Number of neurons that are drawn.
    rng : Generator
        Half of the neurons are Gaussian, in units of the inputs' principal axes; half are close to a hyperplane through D - 1
        random samples, since optimal neurons like kinks.

    Returns
    -------
    ndarray of bool (P, n)
        At most `count` patterns.
    """
    size, dimension = inputs.shape
    units = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    _, scales, axes = np.linalg.svd(units, full_matrices=False)
    scaled = axes / np.maximum(scales, 1e-3 * scales[0])[:, None]
    weights = [rng.standard_normal((count - count // 2, len(scales))) @ scaled]
    for _ in range(count // 2):
        chosen = units[rng.choice(size, min(dimension - 1, size), replace=False)]
        start: Any = rng.standard_normal(dimension)
        normal = start - np.linalg.pinv(chosen) @ (chosen @ start) if len(chosen) else start
        nearby: Float = normal + 1e-3 * np.linalg.norm(normal) * rng.standard_normal(dimension)
        weights.append(nearby[None])
    return patterns_of(np.concatenate(weights), units)


def all_patterns(inputs: Float, *, at_most: int = 20_000) -> Patterns | None:
    """Patterns of all cells of the arrangement of hyperplanes w·x̃_i = 0.

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i, none of them zero.
    at_most : int, optional
        Give up beyond this number.

    Returns
    -------
    ndarray of bool (P, n) or None
        Every pattern of a cell with a ball of angular radius above 1e-9 in it (numerical), in no particular order; for
        samples in general position there are P = 2 Σ_{k<D} C(n - 1, k) (Cover 1965). None if there are more than `at_most`.
    """
    units = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    witnesses = [units[0], -units[0]]
    signs = [np.array([1.0]), np.array([-1.0])]
    for i in range(1, len(units)):
        grown: list[tuple[Float, Float]] = []
        for witness, sign in zip(witnesses, signs, strict=True):
            side = 1.0 if units[i] @ witness > 0 else -1.0
            for new, inside in ((side, witness), (-side, None)):
                signed = np.append(sign, new)
                if inside is None or abs(units[i] @ witness) < _INSIDE:
                    inside, _ = strict_solution(units[: i + 1] * signed[:, None])
                    length = np.linalg.norm(inside)
                    if not np.all((units[: i + 1] @ inside) * signed > _INSIDE * max(float(length), 1e-6)):
                        continue
                    inside = inside / length
                grown.append((inside, signed))
        if len(grown) > at_most:
            return None
        witnesses, signs = [list(part) for part in zip(*grown, strict=True)]
    return np.array(signs) > 0


def without_repetitions(*groups: Patterns) -> Patterns:
    """Join groups of patterns.

    Parameters
    ----------
    *groups : ndarray of bool (P, n)
        Patterns.

    Returns
    -------
    ndarray of bool (P', n)
        The different ones.
    """
    joined: Patterns = np.unique(np.concatenate(groups), axis=0)
    return joined
