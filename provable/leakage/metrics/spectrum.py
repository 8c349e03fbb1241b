"""Singular values and right singular vectors of the derivative of x ↦ all gradients, numerically."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.networks import GradientJacobian

LARGEST_ORDER = 4096
"""Input values, at most."""

RESOLUTION = 1e-11
"""Singular values below this times the largest one count as zero: rounding leaves 1e-13 and less of exact zeros."""

CLEAR_GAP = 100.0
"""The smallest singular value that counts must exceed the largest one that does not by this factor."""

REFINED = 1e-3
"""Below this times the largest one, a Gram matrix is too coarse for singular values."""

ROUNDS = 4
"""Times that small singular values are computed again: 1e-3, four times, is below rounding."""

SMALLEST_SQUARE = 1e-270
"""Squares of derivatives below this lose digits to underflow."""

LARGEST_BLOCK = 2**32
"""Bytes that the derivatives along the directions to be refined may take."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Singular values of J, a p × n matrix, and what they say about its rank.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Singular values, ascending; the first are zero if p < n.
    vectors : ndarray of shape (n, n)
        Right singular vectors as columns, in the same order.
    """

    values: Float
    vectors: Float

    @property
    def largest(self) -> float:
        """The spectral norm of J."""
        return float(self.values[-1])

    @property
    def nullity(self) -> int:
        """How many singular values count as zero, see `RESOLUTION`."""
        if self.largest == 0.0:
            return len(self.values)
        return int(np.count_nonzero(self.values <= RESOLUTION * self.largest))

    @property
    def rank(self) -> int:
        """How many singular values do not count as zero."""
        return len(self.values) - self.nullity

    @property
    def gap(self) -> float:
        """Smallest singular value that counts over the largest one that does not, or over `RESOLUTION` if all count."""
        if self.rank == 0:
            return float("inf")
        below = float(self.values[self.nullity - 1]) if self.nullity else RESOLUTION * self.largest
        return float(self.values[self.nullity]) / below if below else float("inf")

    @property
    def is_resolved(self) -> bool:
        """Whether the gap is clear enough to tell the rank: `CLEAR_GAP` or more."""
        return self.gap >= CLEAR_GAP

    @property
    def condition_number(self) -> float:
        """Largest singular value over the smallest one that counts; infinite for J = 0."""
        return self.largest / float(self.values[self.nullity]) if self.rank else float("inf")


def spectrum(jacobian: GradientJacobian, *, progress: Callable[[int, int], None] | None = None) -> Spectrum:
    """Compute the singular values of J.

    Parameters
    ----------
    jacobian : GradientJacobian
        The derivative of x ↦ ∇_θ L.
    progress : callable, optional
        Called with the numbers of input values that are done and of all, while the derivative is evaluated.

    Returns
    -------
    Spectrum
        Singular values with absolute errors of about 1e-13 times the largest, far below `RESOLUTION`.

    Raises
    ------
    InputError
        If there is no sample.
    UnsupportedError
        If there are more than `LARGEST_ORDER` input values; the message says how much memory they would need. If squares of
        derivatives leave the range of float64.

    Notes
    -----
    The eigenvalues of JᵀJ have errors of ε times the largest, so singular values below √ε times the largest are lost.
    Those eigenvectors V that belong to small ones are therefore decomposed again by means of J V, where errors are relative
    to what J makes of V, and so on. What V loses to its neighbours by rounding adds about ε σ_max / `REFINED`.
    """
    order = jacobian.shape[1]
    if order == 0:
        raise InputError("inputs: found no samples; one or more are accepted")
    if order > LARGEST_ORDER:
        raise UnsupportedError(
            f"inputs: found {order} values; the singular values of their derivative need dense matrices of that order, "
            f"{5 * 8 * order * order / 2**30:.1f} GiB; at most {LARGEST_ORDER} values are accepted"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        gram = jacobian.gram(progress=progress)
    _check_range(jacobian, float(abs(gram).max()))
    squares, vectors = np.linalg.eigh(gram)
    squares = np.maximum(squares, 0.0)
    small = order
    for _ in range(ROUNDS):
        small = int(np.count_nonzero(squares[:small] < REFINED**2 * squares[small - 1]))
        if not small or 8 * small * jacobian.shape[0] > LARGEST_BLOCK:
            break
        directions = np.ascontiguousarray(vectors[:, :small].T)
        pushed = jacobian.push_forward(directions.reshape(small, *jacobian.traced.inputs["0"].shape))
        lesser, rotation = np.linalg.eigh(pushed @ pushed.T)
        squares[:small] = np.maximum(lesser, 0.0)
        vectors[:, :small] = vectors[:, :small] @ rotation
    ascending = np.argsort(squares, kind="stable")
    return Spectrum(np.sqrt(squares[ascending]), vectors[:, ascending])


def _check_range(jacobian: GradientJacobian, largest: float) -> None:
    samples = jacobian.traced.inputs["0"]
    if largest < SMALLEST_SQUARE:  # zero, or too small for its square
        direction = np.random.default_rng(0).standard_normal((1, *samples.shape))
        if not jacobian.push_forward(direction).any():
            return
    elif np.isfinite(largest):
        return
    raise UnsupportedError(
        f"parameters: found derivatives whose squares are too {'small' if largest < 1 else 'large'} for float64; parameters "
        "and samples of moderate size are accepted"
    )
