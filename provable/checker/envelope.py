r"""Smallest eigenvalues of large symmetric matrices of balls whose rows may begin with zeros.

Eliminating balls block after block multiplies their radii at every step, so that a long chain of blocks needs ever
more bits. Here every step rounds the rest of the matrix to its midpoints and writes down by how much: with A = [[P,
Qᵀ], [Q, S]], any X and any symmetric S',

.. math:: A = \begin{pmatrix} I & 0 \\ X^\top & I \end{pmatrix} \begin{pmatrix} P & 0 \\ 0 & S' \end{pmatrix}
              \begin{pmatrix} I & X \\ 0 & I \end{pmatrix}
            + \begin{pmatrix} 0 & Q^\top - P X \\ Q - X^\top P & S - X^\top P X - S' \end{pmatrix},

so if P is positive definite and S' + ε'I is, then A + (ε' + ε)I is positive definite for every ε that is at least the
norm of the last matrix (adding ε'I to S' adds at most ε'I to the product's right lower block). With X close to P⁻¹Qᵀ
and S' the midpoints of S - XᵀPX, ε is of the size of one rounding.
"""

from __future__ import annotations

from bisect import bisect_left

from flint import arb, arb_mat

from provable.checker.bounds import length
from provable.checker.definiteness import Rows, positive_definite
from provable.checker.verdict import Undecided

_STEP = 96

_SLACK = arb(2) ** -30


def smallest_eigenvalue_exceeds(rows: Rows, first: list[int], level: arb) -> bool:
    """Decide whether the smallest eigenvalue of a matrix exceeds a positive number.

    Parameters
    ----------
    rows : list of list of arb
        Row i of the lower triangle from column ``first[i]`` on (up to column i at least); entries before are zero.
    first : list of int
        Never decreasing, ``first[i]`` at most i.
    level : arb
        A positive number.

    Returns
    -------
    bool
        True if it is proved; False if some leading block, less a billionth of the level, has a smaller eigenvalue.

    Raises
    ------
    Undecided
        If the balls are too wide to tell.
    """
    slack = (level * _SLACK).lower()
    shift = level + slack
    spent = arb(0)
    front = arb_mat(0, 0)  # what is left of the rows that were reached, from `start` on; exact after the first step
    start = 0
    while start < len(rows):
        stop = min(start + _STEP, len(rows))
        reached = max(stop, bisect_left(first, stop))
        entries = _grown(front, rows, first, start, reached, shift)
        width, size = stop - start, reached - start
        if not positive_definite(entries[:width]):
            return False
        leading = arb_mat([[entries[max(i, j)][min(i, j)] for j in range(width)] for i in range(width)])
        start = stop
        if size == width:
            front = arb_mat(0, 0)
            continue
        below = arb_mat([row[:width] for row in entries[width:]])
        try:
            solution = leading.solve(below.transpose()).mid()
        except ZeroDivisionError as error:
            raise Undecided from error
        product = leading * solution
        rest = arb_mat([[entries[max(i, j)][min(i, j)] for j in range(width, size)] for i in range(width, size)])
        rest = rest - solution.transpose() * product
        front = rest.mid()
        lost = (rest - front) * arb_mat([[1]] * (size - width))  # balls around zero: radii add up to sums of rows
        spent += 2 * length((below.transpose() - product).entries()) + max(
            entry.abs_upper() for entry in lost.entries()
        )
        if not spent <= slack:
            raise Undecided
    return True


def _grown(front: arb_mat, rows: Rows, first: list[int], start: int, stop: int, shift: arb) -> Rows:
    """The lower triangle of the rows from `start` to `stop`: those in the front, then new ones less the shift."""
    entries: Rows = [row[: index + 1] for index, row in enumerate(front.tolist())]
    for row in range(start + len(entries), stop):
        line = [arb(0)] * (first[row] - start) + rows[row][: row + 1 - first[row]]
        line[-1] -= shift
        entries.append(line)
    return entries
