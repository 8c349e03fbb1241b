"""What every layer does to values and tangents modulo a prime; `modular_tangents` says what for."""

from __future__ import annotations

import abc

from provable.leakage.open_dimensions.balanced_residues import Draws, Residues

Tangents = Residues | None
"""(size, m) residues; None for zero."""


class Step(abc.ABC):
    """One layer, or a chain of layers."""

    @abc.abstractmethod
    def forward(self, values: Residues) -> Residues:
        """Carry the value forward.

        Parameters
        ----------
        values : ndarray of float64, shape (size of the input,)
            Residues.

        Returns
        -------
        ndarray of float64, shape (size of the output,)
            Residues.
        """

    @abc.abstractmethod
    def backward(self, sensitivity: Residues) -> Residues:
        """Carry the sensitivity back.

        Parameters
        ----------
        sensitivity : ndarray of float64, shape (size of the output,)
            Gradient of the loss with respect to the output.

        Returns
        -------
        ndarray of float64, shape (size of the input,)
            The same for the input.
        """

    @abc.abstractmethod
    def push(self, tangents: Tangents, draws: Draws, count: int) -> Tangents:
        """Carry tangents forward while the parameters of this step move as well.

        Parameters
        ----------
        tangents : ndarray of float64, shape (size of the input, count), or None
            Tangents of the input.
        draws : Draws
            Where the directions of the parameters come from.
        count : int
            Number of directions.

        Returns
        -------
        ndarray of float64, shape (size of the output, count), or None
            Tangents of the output.
        """

    @abc.abstractmethod
    def pull(self, tangents: Residues) -> Residues:
        """Carry tangents of the sensitivity back, along the directions of the last `push`.

        Parameters
        ----------
        tangents : ndarray of float64, shape (size of the output, count)
            Tangents of the gradient of the loss with respect to the output.

        Returns
        -------
        ndarray of float64, shape (size of the input, count)
            The same for the input.
        """

    @property
    def numbers_kept(self) -> int:
        """How many numbers per direction are kept between `push` and `pull`."""
        return 0

    @property
    def numbers_in_use(self) -> int:
        """How many numbers per direction are in use at once, at most."""
        return 0

    @property
    def multiplications(self) -> int:
        """Multiplications per direction, forward and back; an entry that is moved counts as twenty."""
        return 0
