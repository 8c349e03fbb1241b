r"""Whether data of one margin are the only ones behind a stationary point: one more linear program, and one rank.

The moments of all data of margin m form a polyhedron (`cell_moments`). Given one point of it, let the program maximise what
any other point must have: coefficients in cells without a sample, and distances from the kinks in the cells around a sample
that lies on some. If the maximum is zero, other moments lie in the same cells and on the same kinks, where they solve linear
equations; if these leave nothing but the ways to split a kink's multipliers among its cells, there are no others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.recovery.stationary_point.cell_moments import LABELS, Atoms, CellMoments
from provable.recovery.stationary_point.clarke_refinement import AT_A_KINK

Float = NDArray[np.float64]

NOTHING = 1e-5
"""Shares of the largest coefficient below this are the tolerance of the linear program, 1e-7 in each equation."""

RANK = 1e-7
"""Singular values below this multiple of the largest count as zero, since kinks are known to about 1e-10."""


def is_only_solution(program: CellMoments, atoms: Atoms, margin: float) -> bool:
    """Decide, numerically, whether a solution is the only one of its margin.

    Parameters
    ----------
    program : CellMoments
        The linear program.
    atoms : Atoms
        A solution, refined.
    margin : float
        Its m.

    Returns
    -------
    bool
        True if no other data with one sample for each label and closed cell, and within the reach of the program, have this
        margin and explain the point. False if there are others or two samples of one label have a closed cell in common.
    """
    arrangement, patterns = program.arrangement, program.patterns
    extended = arrangement.extended(atoms.points)
    toward = arrangement.signs[:, None] * arrangement.directions
    values = extended @ toward.T
    kinks = np.abs(values) <= AT_A_KINK * np.linalg.norm(extended, axis=1, keepdims=True)
    owner = np.full((len(patterns), 2), -1)
    for sample, label in enumerate(np.sign(atoms.coefficients)):
        agree = np.all((patterns == (values[sample] > 0)) | kinks[sample], axis=1)
        side = LABELS.index(float(label))
        if np.any(owner[agree, side] >= 0):
            return False
        owner[agree, side] = sample
    signs = 2.0 * patterns - 1.0
    gain = np.array(program.masses)
    for cell, side in np.argwhere(owner >= 0):
        here = kinks[owner[cell, side]]
        gain[cell, side] = (signs[cell] * here) @ toward / max(1.0, float(np.linalg.norm(extended[owner[cell, side]])))
    largest = program.largest(margin, gain)
    if largest is None or largest > NOTHING * float(np.max(np.abs(atoms.coefficients))):
        return False
    return _nullity(program, owner, kinks, toward, margin) == _splittings(patterns, owner, kinks)


def _nullity(
    program: CellMoments, owner: NDArray[np.intp], kinks: NDArray[np.bool_], toward: Float, margin: float
) -> int:
    """Nullity of the equations for moments in the cells of samples and on their kinks."""
    size = program.arrangement.dimension
    system: Any = program.equations(margin)
    columns = np.repeat(owner.reshape(-1) >= 0, size)
    whole = system.toarray()[:, columns]
    rows = [whole]
    used = np.argwhere(owner >= 0)
    for position, (cell, side) in enumerate(used):
        block = toward[kinks[owner[cell, side]]]
        wide = np.zeros((len(block), whole.shape[1]))
        wide[:, position * size : (position + 1) * size] = block
        rows.append(wide)
    matrix = np.vstack(rows)
    return int(matrix.shape[1]) - int(np.linalg.matrix_rank(matrix, tol=RANK * float(np.linalg.norm(matrix, 2))))


def _splittings(patterns: Float, owner: NDArray[np.intp], kinks: NDArray[np.bool_]) -> int:
    """Dimension of the ways to split multipliers among cells."""
    total = 0
    for sample in range(len(kinks)):
        cells = np.argwhere(owner == sample)[:, 0]
        marginals = np.column_stack([np.ones(len(cells)), patterns[cells][:, kinks[sample]]])
        total += len(cells) - int(np.linalg.matrix_rank(marginals))
    return total
