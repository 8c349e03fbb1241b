r"""Splitting: one sample becomes two in the same activation cell, and no parameter can tell.

Within a closed activation cell the tangent ∇_θ f(x; θ) is affine in x. So an atom c δ_x has the tangent embedding of

.. math:: c\,\frac{b}{a + b}\,\delta_{x + a\nu} + c\,\frac{a}{a + b}\,\delta_{x - b\nu}

for all a, b > 0 up to the cell's boundary, and both atoms have the output of x if ν is orthogonal to ∇_x f. They are
support vectors if x is one.

Source: arXiv:2509.21296, the lemma on splitting (wording not read); the explicit weights and the condition on ν are derived.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array
from provable.errors import InputError
from provable.stationarity.activation_cells import CellMeasure


def split(measure: CellMeasure, directions: Array, forward: Array, backward: Array) -> CellMeasure:
    """Split atoms along directions.

    Parameters
    ----------
    measure : CellMeasure
        n atoms.
    directions : ndarray of shape (n, d)
        The direction ν of each atom.
    forward, backward : ndarray of shape (n,)
        How far to go along it, a, and against it, b. Atoms where one of them is zero stay as they are.

    Returns
    -------
    CellMeasure
        First all atoms x + a ν (and those that stay), then all x - b ν; the same embedding if no atom leaves its cell.

    Raises
    ------
    InputError
        If a step is negative.
    """
    if any(step < 0 for step in (*forward, *backward)):
        raise InputError("steps: found a negative one; steps along a direction and against it are not negative")
    zero = arithmetic.constant(0, measure.points)
    moved = np.array([bool(a != 0) and bool(b != 0) for a, b in zip(forward, backward, strict=True)], dtype=np.bool_)
    first, second = measure.points.copy(), measure.points[moved].copy()
    shares: list[Any] = []
    for index in np.flatnonzero(moved):
        first[index] = measure.points[index] + forward[index] * directions[index]
        second[len(shares)] = measure.points[index] - backward[index] * directions[index]
        shares.append(forward[index] / (forward[index] + backward[index]))
    taken = arithmetic.full((len(measure.points), 1), 0, measure.points)
    taken[moved, 0] = np.array(shares, dtype=taken.dtype) if shares else zero
    lost = measure.coefficients * taken
    return CellMeasure(
        np.concatenate([first, second]),
        np.concatenate([measure.coefficients - lost, lost[moved]]),
        np.concatenate([measure.origin, measure.origin[moved]]),
    )
