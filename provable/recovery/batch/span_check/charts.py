"""Coordinates for one sample: the first row condition, which is linear, solved."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.recovery.batch.span_check.spaces import Spaces
from provable.recovery.batch.span_check.spans import Span

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Chart:
    """An affine parametrisation of samples, x̃ = basis @ c, by coordinates c that meet linear constraints.

    Parameters
    ----------
    basis : array of shape (k, p)
        Orthonormal columns.
    unit : float
        Last entry of every extended input; 0 if inputs are not extended.
    offset, matrix : arrays of shape (m_1,) and (m_1, p)
        The pre-activations of the first layer are offset + matrix @ c.
    spread : array of shape (p,)
        How widely the coordinates of samples may be expected to scatter, up to a common factor.
    error : float
        Sine of the angle by which rounding may have turned the basis.
    """

    basis: Float
    unit: float
    offset: Float
    matrix: Float
    spread: Float
    error: float

    @classmethod
    def of(cls, spaces: Spaces, span: Span | None) -> Chart:
        """Parametrise samples by a row space, or by themselves.

        Parameters
        ----------
        spaces : Spaces
            Gives the first layer.
        span : Span or None
            Its span; None if samples may lie anywhere.

        Returns
        -------
        Chart
            The parametrisation.
        """
        first = spaces.network.first
        offset = np.zeros(len(first.weight)) if first.bias is None else first.bias
        if span is None:
            size = first.weight.shape[1]
            return cls(np.eye(size), 0.0, offset, first.weight, np.ones(size), 0.0)
        weight = first.weight
        if span.unit:
            assert first.bias is not None
            weight, offset = np.column_stack([weight, first.bias / span.unit]), np.zeros(len(weight))
        return cls(span.right, span.unit, offset, weight @ span.right, span.singular / span.singular[0], span.error)

    def points(self, coordinates: Float) -> Float:
        """The samples with given coordinates.

        Parameters
        ----------
        coordinates : array of shape (S, p)
            c.

        Returns
        -------
        array of shape (S, d)
            x.
        """
        points = coordinates @ self.basis.T
        return points[:, :-1] if self.unit else points

    def remaining(self, duals: list[Float]) -> tuple[Float, Float]:
        """The affine space of coordinates that are left.

        Parameters
        ----------
        duals : list of arrays of shape (p,)
            Functionals that vanish on every sample still to be found.

        Returns
        -------
        origin : array of shape (p,)
            Its point nearest to zero.
        directions : array of shape (p, n)
            Orthonormal directions, orthogonal to the origin.
        """
        size = self.basis.shape[1]
        rows = [dual / np.linalg.norm(dual) for dual in duals]
        right = np.zeros(len(rows) + bool(self.unit))
        if self.unit:
            last = self.basis[-1]
            rows.append(last / np.linalg.norm(last))
            right[-1] = self.unit / np.linalg.norm(last)
        if not rows:
            return np.zeros(size), np.eye(size)
        constraints = np.array(rows)
        origin = np.linalg.lstsq(constraints, right, rcond=None)[0]
        return origin, np.linalg.svd(constraints)[2][len(rows) :].T
