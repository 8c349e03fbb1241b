"""The whole Gram matrix of a measure's Jacobian in balls, and the radius within which the Jacobian keeps half of σ₀."""

from __future__ import annotations

import math
from fractions import Fraction

import flint
import numpy as np

from provable.arithmetic import Float
from provable.measures import Measure
from provable.rigor.balls import Ball, BallMatrix, ball, ball_matrix, sum_of_squares, upper_float
from provable.rigor.certificates import Refusal
from provable.rigor.chain_derivatives import Atom, KinkError, gram_block

_DEVIATION_MARGIN = Fraction(1, 2**5)
"""Relative slack of δ, so that a checker that encloses activations by other formulas reaches the stated σ: balls of radius
ε around derivatives agree to first order in ε, and Arb rounds radii of elementary functions up by a few per mille."""


def gram_matrix(atoms: list[Atom], pieces: list[tuple[int, str]]) -> BallMatrix:
    """Enclose JᵀJ at ẑ, unknowns ordered atom by atom; entries above the diagonal blocks are mirrored.

    Parameters
    ----------
    atoms : list of Atom
        The atoms at ẑ.
    pieces : list of (int, str)
        The pieces that count.

    Returns
    -------
    arb_mat
        Balls around JᵀJ.
    """
    blocks = {(j, k): gram_block(atoms[j], atoms[k], pieces).tolist() for j in range(len(atoms)) for k in range(j + 1)}
    size = atoms[0].size
    entries = []
    for j in range(len(atoms)):
        for row in range(size):
            for k in range(len(atoms)):
                if k <= j:
                    entries.extend(blocks[j, k][row])
                else:
                    entries.extend(blocks[k, j][column][row] for column in range(size))
    return flint.arb_mat(len(atoms) * size, len(atoms) * size, entries)


def point_slices(points: Float, width: int) -> BallMatrix:
    """Enclose the form Σ_i (x̂_iᵀdx_i)² / ‖x̂_i‖², unknowns ordered atom by atom.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        x̂, none of them zero.
    width : int
        Unknowns per atom.

    Returns
    -------
    arb_mat
        The symmetric matrix of the form.
    """
    size = len(points) * width
    rows = [[flint.arb(0)] * size for _ in range(size)]
    for atom, point in enumerate(points):
        entries = ball_matrix(point).entries()
        square = sum_of_squares(entries)
        for i, left in enumerate(entries):
            for j, right in enumerate(entries):
                rows[atom * width + i][atom * width + j] = left * right / square
    return flint.arb_mat(rows)


def radius_by_deviation(
    atoms: list[Atom], pieces: list[tuple[int, str]], centre: Ball, least: Fraction, measure: Measure
) -> tuple[Fraction, Ball] | Refusal:
    """Find the largest power of two R with a deviation of at most half of σ₀.

    Parameters
    ----------
    atoms : list of Atom
        The atoms at ẑ.
    pieces : list of (int, str)
        The pieces that count.
    centre : arb
        σ₀.
    least : Fraction
        The radius below which none is of use.
    measure : Measure
        ẑ; its length is where the search begins.

    Returns
    -------
    (Fraction, arb) or Refusal
        R and a bound of the deviation within it, or why there is none.
    """
    length = math.hypot(float(np.linalg.norm(measure.points)), float(np.linalg.norm(measure.coefficients)))
    radius = Fraction(2) ** max(math.frexp(length)[1], -1000)
    kink: KinkError | None = None
    while radius >= least:
        try:
            squares = sum_of_squares(atom.jacobian_deviation(ball(radius), pieces) for atom in atoms)
            deviation = (squares.abs_upper().sqrt() * ball(1 + _DEVIATION_MARGIN)).abs_upper()
            if deviation <= centre / 2:
                return radius, deviation
            kink = None
        except KinkError as error:
            kink = error
        radius /= 2
    if kink is not None:
        return Refusal(f"{kink}, at a distance below {upper_float(least):.1e}, the radius that the residual needs")
    return Refusal(too_curved(least, radius))


def too_curved(least: Fraction, radius: Fraction) -> str:
    """Say that a certificate fails for curvature.

    Parameters
    ----------
    least : Fraction
        The radius that is needed.
    radius : Fraction
        The one that there is.

    Returns
    -------
    str
        The reason.
    """
    return (
        f"the residual and η need a ball of radius {upper_float(least):.1e}, but the Jacobian is known to stay injective "
        f"within {upper_float(radius):.1e} only"
    )
