"""The words in which a fibre names the symmetries of the atoms of a measure."""

from __future__ import annotations

SYMMETRIES = ("permutation", "joint-sign", "point-sign", "positive-scaling", "positive-scaling:p")
"""The symmetries that a matching can divide out; p is an integer of at least 2."""


def is_symmetry(word: str) -> bool:
    """Tell whether a word of a fibre names a symmetry that a matching can divide out.

    Parameters
    ----------
    word : str
        One of `SYMMETRIES`, with a number in the place of p; or anything else, such as ``"null-space:3"``.

    Returns
    -------
    bool
        True if so.
    """
    return word in SYMMETRIES[:4] or (scaling_degree(word) or 0) > 1


def scaling_degree(word: str) -> int | None:
    """Read the degree p of a symmetry (x, c) ↦ (t x, c / tᵖ), t > 0.

    Parameters
    ----------
    word : str
        A word of a fibre.

    Returns
    -------
    int or None
        1 for ``"positive-scaling"``, p for ``"positive-scaling:p"`` with p ≥ 2, None for everything else.
    """
    if word == "positive-scaling":
        return 1
    name, _, degree = word.partition(":")
    canonical = degree.isascii() and degree.isdigit() and len(degree) <= 3 and not degree.startswith("0")
    return int(degree) if name == "positive-scaling" and canonical and degree != "1" else None


def scaling_name(degree: int) -> str:
    """Name the symmetry (x, c) ↦ (t x, c / tᵖ), t > 0.

    Parameters
    ----------
    degree : int
        p ≥ 1.

    Returns
    -------
    str
        The word of a fibre that `scaling_degree` reads.
    """
    return "positive-scaling" if degree == 1 else f"positive-scaling:{degree}"
