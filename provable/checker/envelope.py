r"""Smallest eigenvalues of large symmetric matrices of balls whose rows may begin with zeros, with or without a border.

Eliminating balls block after block multiplies their radii at every step, so that a long chain of blocks needs ever
more bits. Here every step rounds the rest of the matrix to its midpoints and writes down by how much. With A = [[P,
Qᵀ], [Q, S]], any X and any symmetric S',

.. math:: A = \begin{pmatrix} I & 0 \\ X^\top & I \end{pmatrix} \begin{pmatrix} P & 0 \\ 0 & S' \end{pmatrix}
              \begin{pmatrix} I & X \\ 0 & I \end{pmatrix}
            + \begin{pmatrix} 0 & Q^\top - P X \\ Q - X^\top P & S - X^\top P X - S' \end{pmatrix},

and whatever is added to S' on the right is added to the right lower block on the left, neither more nor less. So A is
congruent to the diagonal matrix of all the pivots, up to a matrix E whose norm is at most the sum ε of the norms of
the last matrices. With X close to P⁻¹Qᵀ and S' the midpoints of S - XᵀPX, ε is of the size of roundings.

Without border, the pivots of A - s are positive, so λ_min(A) ≥ s - ε. With a border B of r rows the matrix is

.. math:: M = \begin{pmatrix} A - s & B^\top \\ B & -I \end{pmatrix}

and the pivots, n + r in number, are shown to have r negative ones. Then M + ε has at least n positive eigenvalues; as
its block -(1 - ε)I has r negative ones, A - s + ε + BᵀB/(1 - ε) has n positive ones (Sylvester, Haynsworth).
"""

from __future__ import annotations

from bisect import bisect_left

from flint import arb, arb_mat

from provable.checker.bounds import length
from provable.checker.definiteness import Rows, positive_definite
from provable.checker.verdict import Undecided

_STEP = 96
_BORDERED_STEP = 48  # pivots of both signs cost more bits
_CORNER_STEP = 32

_SLACK = arb(2) ** -30


def smallest_eigenvalue_exceeds(rows: Rows, first: list[int], level: arb, border: Rows | None = None) -> bool:
    """Decide whether the smallest eigenvalue of a matrix A, or of A + (1 + 2⁻²⁹)BᵀB, exceeds a positive number.

    Parameters
    ----------
    rows : list of list of arb
        Row i of the lower triangle of A from column ``first[i]`` on (up to column i at least); entries before are zero.
    first : list of int
        Never decreasing, ``first[i]`` at most i.
    level : arb
        A positive number.
    border : list of list of arb, optional
        B, one entry per column of A in every row.

    Returns
    -------
    bool
        True if it is proved; False if the pivots' signs do not prove it.

    Raises
    ------
    Undecided
        If the balls are too wide to tell.
    """
    slack = (level * _SLACK).lower()
    shift = level + slack
    spent, negative = arb(0), 0
    front: Rows = []  # the lower triangle of what is left of the rows that were reached, from `start` on
    side: Rows = [[] for _ in border or []]  # what is left of the border's columns that were reached
    corner = (
        arb_mat([[arb(-int(i == j)) for j in range(len(side))] for i in range(len(side))]) if side else arb_mat(0, 0)
    )
    start = 0
    while start < len(rows):
        stop = min(start + (_STEP if border is None else _BORDERED_STEP), len(rows))
        reached = max(stop, bisect_left(first, stop))
        for row in range(start + len(front), reached):
            front.append([arb(0)] * (first[row] - start) + rows[row][: row + 1 - first[row]])
            front[-1][-1] -= shift
        for line, whole in zip(side, border or [], strict=True):
            line.extend(whole[start + len(line) : reached])
        width = stop - start
        if border is None and not positive_definite(front[:width]):
            return False
        if border is not None:
            negative += negative_pivots(front[:width])
        front, side, corner, lost = _eliminate(front, side, corner, width)
        spent += lost
        start = stop
    spent += radii_norm(corner, symmetric=True) if side else arb(0)
    front = [row[: index + 1] for index, row in enumerate(corner.mid().tolist())]
    while front:
        width = min(_CORNER_STEP, len(front))
        negative += negative_pivots(front[:width])
        front, _, _, lost = _eliminate(front, [], corner, width)
        spent += lost
    if not spent <= slack or not spent <= _SLACK:
        raise Undecided
    return negative == len(side)


def _eliminate(front: Rows, side: Rows, corner: arb_mat, width: int) -> tuple[Rows, Rows, arb_mat, arb]:
    """Eliminate the first columns: what is left of front, side and corner, and the norm of what was rounded away."""
    size, total = len(front), len(front) - width + len(side)
    if total == 0:
        return [], [], corner, arb(0)
    leading = arb_mat([[front[max(i, j)][min(i, j)] for j in range(width)] for i in range(width)])
    below = arb_mat([row[:width] for row in [*front[width:], *side]]).transpose()
    try:
        solution = leading.solve(below).mid()
    except ZeroDivisionError as error:
        raise Undecided from error
    product = leading * solution
    lost = 2 * length((below - product).entries())
    left, right = _halves(solution, size - width)
    image, image_right = _halves(product, size - width)
    if side:
        corner = corner - right.transpose() * image_right
    if size == width:
        return [], [[] for _ in side], corner, lost
    rest = arb_mat([[front[max(i, j)][min(i, j)] for j in range(width, size)] for i in range(width, size)])
    rest = rest - left.transpose() * image
    lost += radii_norm(rest, symmetric=True)
    rows: Rows = [row[: index + 1] for index, row in enumerate(rest.mid().tolist())]
    if not side:
        return rows, [], corner, lost
    lines = arb_mat([line[width:] for line in side]) - right.transpose() * image
    return rows, lines.mid().tolist(), corner, lost + 2 * radii_norm(lines, symmetric=False)


def _halves(matrix: arb_mat, columns: int) -> tuple[arb_mat, arb_mat]:
    if columns in (0, matrix.ncols()):
        empty = arb_mat(matrix.nrows(), 0)
        return (empty, matrix) if columns == 0 else (matrix, empty)
    rows = matrix.tolist()
    return arb_mat([row[:columns] for row in rows]), arb_mat([row[columns:] for row in rows])


def radii_norm(matrix: arb_mat, *, symmetric: bool) -> arb:
    """Bound how far a matrix of balls is from the midpoints by which it is replaced, in the spectral norm.

    Parameters
    ----------
    matrix : arb_mat
        Balls around a matrix A.
    symmetric : bool
        Whether A is symmetric, and replaced by the midpoints of the lower triangle and their mirror image.

    Returns
    -------
    arb
        An upper bound. In general it is the sum of all radii. For a symmetric A it is the largest sum in a row of the
        radii and their mirror images: roundings make those two differ, and either may be the radius that counts.
    """
    around_zero = matrix - matrix.mid()
    if symmetric:
        around_zero = around_zero + around_zero.transpose()
    sums = [entry.abs_upper() for entry in (around_zero * arb_mat([[1]] * matrix.ncols())).entries()]
    return max(sums) if symmetric else sum(sums, arb(0)).abs_upper()


def negative_pivots(rows: Rows) -> int:
    """Count negative pivots of the elimination of a symmetric matrix, which has as many negative eigenvalues.

    Parameters
    ----------
    rows : list of list of arb
        Its lower triangle (longer rows are cut); left unchanged.

    Returns
    -------
    int
        Their number, for every symmetric matrix inside.

    Raises
    ------
    Undecided
        If a pivot may be zero.
    """
    work = [row[: index + 1] for index, row in enumerate(rows)]
    count = 0
    for k, pivot_row in enumerate(work):
        pivot = pivot_row[k]
        if not (pivot > 0 or pivot < 0):
            raise Undecided
        count += pivot < 0
        for i in range(k + 1, len(work)):
            multiple = work[i][k] / pivot
            for j in range(k + 1, i + 1):
                work[i][j] -= multiple * work[j][k]
    return count
