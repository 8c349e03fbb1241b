"""Positive definiteness of symmetric matrices of balls, and the claim ``kernel-positive-definite``."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

from flint import arb, arb_mat, ctx

from provable.checker import documents
from provable.checker.bounds import exact
from provable.checker.verdict import Invalid, Undecided

Rows = list[list[arb]]

_BLOCK = 32
_PRECISIONS = (128, 256, 512, 1024)
_LARGEST_MATRIX = 3000


def positive_definite(rows: Rows) -> bool:
    """Decide positive definiteness by block elimination without square roots.

    Parameters
    ----------
    rows : list of list of arb
        Lower triangle of a symmetric matrix of balls (longer rows are cut); it is left unchanged.

    Returns
    -------
    bool
        True if every symmetric matrix inside is positive definite, False if none is.

    Raises
    ------
    Undecided
        If the balls are too wide to tell.

    Notes
    -----
    A is positive definite if and only if its leading half P is and so is S - Q P⁻¹ Qᵀ, S being the other half of the diagonal
    and Q the block below P. Blocks of `_BLOCK` rows are decided entry by entry: A = L D Lᵀ with unit triangular L exists with
    positive D exactly if A is positive definite. Halving keeps the balls narrow: no entry is changed by more than log₂ n
    products.
    """
    count = len(rows)
    if count <= _BLOCK:
        return _leading([row[: index + 1] for index, row in enumerate(rows)])
    half = count // 2
    if not positive_definite(rows[:half]):
        return False
    leading = arb_mat([[rows[max(i, j)][min(i, j)] for j in range(half)] for i in range(half)])
    below = arb_mat([row[:half] for row in rows[half:]])
    try:
        removed = (below * leading.solve(below.transpose())).tolist()
    except ZeroDivisionError as error:
        raise Undecided from error
    return positive_definite(
        [
            [entry - gone for entry, gone in zip(row[half : half + i + 1], lost, strict=False)]
            for i, (row, lost) in enumerate(zip(rows[half:], removed, strict=True))
        ]
    )


def _leading(block: Rows) -> bool:
    work = [list(row) for row in block]
    for k, pivot_row in enumerate(work):
        pivot = pivot_row[k]
        if pivot <= 0:
            return False
        if not pivot > 0:
            raise Undecided
        for i in range(k + 1, len(work)):
            multiple = work[i][k] / pivot
            for j in range(k + 1, i + 1):
                work[i][j] -= multiple * work[j][k]
    return True


def check_kernel(data: dict[str, Any], subject: str) -> str:
    """Check a ``kernel-positive-definite`` claim.

    Parameters
    ----------
    data : dict
        ``matrix``, rows of rational texts or pairs [midpoint, radius], and ``lower_bound``.
    subject : str
        SHA-256 of the canonical JSON of the data.

    Returns
    -------
    str
        What was proved.

    Raises
    ------
    Invalid
        If the claim is not proved.
    """
    documents.keys(data, {"matrix", "lower_bound"})
    if hashlib.sha256(documents.canonical(data)).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the data")
    bound = documents.rational(data["lower_bound"], "lower_bound")
    matrix = data["matrix"]
    if not isinstance(matrix, list) or not 1 <= len(matrix) <= _LARGEST_MATRIX:
        raise Invalid(f"the matrix is not a list of 1 to {_LARGEST_MATRIX} rows")
    if not all(isinstance(row, list) and len(row) == len(matrix) for row in matrix):
        raise Invalid("the matrix is not square")
    entries = [[_ball(entry) for entry in row] for row in matrix]
    if any(entries[i][j] != entries[j][i] for i in range(len(entries)) for j in range(i)):
        raise Invalid("the matrix is not symmetric")
    # entries that move by at most their radii move eigenvalues by at most the largest sum of radii in a row (Weyl)
    spread = max(sum(radius for _, radius in row) for row in entries)
    for bits in _PRECISIONS:
        with ctx.workprec(bits):
            rows = [[exact(middle) for middle, _ in row] for row in entries]
            for index, row in enumerate(rows):
                row[index] -= exact(bound + spread)
            try:
                if positive_definite(rows):
                    return "the smallest eigenvalue exceeds lower_bound for every matrix in the balls"
            except Undecided:
                continue
            raise Invalid("the matrix minus lower_bound times the identity is not positive definite")
    raise Invalid("the balls are too wide to prove that the smallest eigenvalue exceeds lower_bound")


def _ball(entry: Any) -> tuple[Fraction, Fraction]:
    if not isinstance(entry, list):
        return documents.rational(entry, "matrix"), Fraction(0)
    if len(entry) != 2:
        raise Invalid("the matrix has an entry that is neither a rational number nor [midpoint, radius]")
    middle, radius = documents.rational(entry[0], "matrix"), documents.rational(entry[1], "matrix")
    if radius < 0:
        raise Invalid("the matrix has an entry of negative radius")
    return middle, radius
