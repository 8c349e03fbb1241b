r"""The claim ``cp-uniqueness``: the rank-one terms of a third-order tensor are determined by it.

The k-rank of a matrix is the largest k such that every k of its columns are linearly independent. For the columns a_r, b_r,
c_r (r = 1, …, R) of three matrices, T = Σ a_r ⊗ b_r ⊗ c_r has rank R and no other decomposition into R rank-one terms, up to
their order, if k_A + k_B + k_C ≥ 2R + 2 (Kruskal 1977; R ≥ 2), or if A and B have rank R and no two columns of C are parallel
and none is zero (Jennrich's simultaneous diagonalisation; for R = 1, if no column is zero).
"""

from __future__ import annotations

import hashlib
from itertools import combinations
from math import comb
from typing import Any

from flint import fmpq, fmpq_mat

from provable.checker import documents
from provable.checker.verdict import Invalid

MOST_SUBSETS = 200_000
"""Sets of columns whose rank is computed at most."""


def check(data: dict[str, Any], subject: str) -> str:
    """Check a ``cp-uniqueness`` claim.

    Parameters
    ----------
    data : dict
        ``factors``, three matrices with R columns as lists of rows, and ``condition``, ``"kruskal"`` or ``"jennrich"``.
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
    documents.keys(data, {"factors", "condition"})
    if hashlib.sha256(documents.canonical(data)).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the data")
    if not isinstance(data["factors"], list) or len(data["factors"]) != 3:
        raise Invalid("the factors are not three matrices")
    factors = [_matrix(value) for value in data["factors"]]
    terms = factors[0].ncols()
    if any(factor.ncols() != terms for factor in factors):
        raise Invalid("the factors do not have the same number of columns")
    if data["condition"] == "kruskal":
        wanted = 2 * terms + 2
        if terms < 2 or sum(_k_rank(factor) for factor in factors) < wanted:
            raise Invalid(f"the k-ranks do not add up to {wanted}, or there is one term only")
        return f"the k-ranks of the factors add up to at least {wanted}, so the {terms} terms are unique"
    if data["condition"] != "jennrich":
        raise Invalid("the condition is neither kruskal nor jennrich")
    if factors[0].rank() < terms or factors[1].rank() < terms:
        raise Invalid("the first two factors do not both have full column rank")
    if _k_rank(factors[2], at_most=2) < min(2, terms):
        raise Invalid("the third factor has a zero column or two parallel ones")
    return f"the factors meet Jennrich's condition, so the {terms} terms are unique"


def _matrix(value: Any) -> fmpq_mat:
    rows = documents.rational_rows(value, "factors")
    entries = [fmpq(entry.numerator, entry.denominator) for row in rows for entry in row]
    return fmpq_mat(len(rows), len(rows[0]), entries)


def _k_rank(matrix: fmpq_mat, at_most: int | None = None) -> int:
    columns = matrix.ncols()
    if matrix.rank() == columns:
        return columns
    lists = matrix.transpose().tolist()
    reached = 0
    for size in range(1, min(matrix.nrows(), columns, at_most or columns) + 1):
        if comb(columns, size) > MOST_SUBSETS:
            raise Invalid(f"a k-rank needs more than {MOST_SUBSETS} sets of columns")
        for subset in combinations(lists, size):
            if fmpq_mat([list(column) for column in subset]).rank() < size:
                return reached
        reached = size
    return reached
