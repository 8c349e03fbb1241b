"""Rank modulo a prime of a sparse matrix: rows and columns with one entry are counted, the rest is eliminated in blocks."""

from __future__ import annotations

from flint import nmod_mat

from provable.checker.verdict import Invalid

LARGEST_MATRIX = 3 * 10**7
"""Entries of the largest matrix that is eliminated."""


def limit(rows: int, columns: int) -> None:
    """Refuse matrices that are too large.

    Parameters
    ----------
    rows, columns : int
        Shape.

    Raises
    ------
    Invalid
        If there are too many entries.
    """
    if rows * columns > LARGEST_MATRIX:
        raise Invalid(f"a matrix of {rows} by {columns} is needed, and at most {LARGEST_MATRIX} entries are eliminated")


def rank(rows: list[dict[int, int]], prime: int) -> int:
    """Rank of a matrix; `rows` is used up.

    Parameters
    ----------
    rows : list of dict of int to int
        Per row the entries that are not 0 modulo the prime, by column.
    prime : int
        The modulus.

    Returns
    -------
    int
        The rank.

    Raises
    ------
    Invalid
        If a block that is left is too large to be eliminated.
    """
    columns: dict[int, set[int]] = {}
    for index, row in enumerate(rows):
        for column in row:
            columns.setdefault(column, set()).add(index)
    found = 0
    lonely_rows = [index for index, row in enumerate(rows) if len(row) == 1]
    lonely_columns = [column for column, members in columns.items() if len(members) == 1]
    while lonely_rows or lonely_columns:
        if lonely_rows:
            index = lonely_rows.pop()
            if len(rows[index]) == 1:  # its entry is the pivot of that column, which leaves the other rows
                found += 1
                (column,) = rows[index]
                for other in columns.pop(column):
                    del rows[other][column]
                    if len(rows[other]) == 1:
                        lonely_rows.append(other)
        else:
            column = lonely_columns.pop()
            if len(columns.get(column, ())) == 1:  # the row is independent of all others
                found += 1
                (index,) = columns[column]
                for other in rows[index]:
                    columns[other].discard(index)
                    if len(columns[other]) == 1:
                        lonely_columns.append(other)
                rows[index] = {}
    return found + sum(_dense_rank(block, prime) for block in _blocks(rows, columns))


def _blocks(rows: list[dict[int, int]], columns: dict[int, set[int]]) -> list[list[dict[int, int]]]:
    """Sets of rows that share no columns with each other."""
    blocks: list[list[dict[int, int]]] = []
    done = [not row for row in rows]
    for start in range(len(rows)):
        if done[start]:
            continue
        done[start] = True
        block = [start]
        crossed: set[int] = set()
        for index in block:
            for column in rows[index].keys() - crossed:
                crossed.add(column)
                for other in columns[column]:
                    if not done[other]:
                        done[other] = True
                        block.append(other)
        blocks.append([rows[index] for index in block])
    return blocks


def _dense_rank(block: list[dict[int, int]], prime: int) -> int:
    number = {column: place for place, column in enumerate({column for row in block for column in row})}
    limit(len(block), len(number))
    entries = [0] * (len(block) * len(number))
    for index, row in enumerate(block):
        for column, value in row.items():
            entries[index * len(number) + number[column]] = value
    return int(nmod_mat(len(block), len(number), entries, prime).rank())
