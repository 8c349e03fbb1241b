r"""How far a vector is from a known space, relative to a size that does not lead the descent astray.

The vector h of one condition has to lie in the space with orthonormal basis Q. Its relative distance is

.. math:: F = (1 - QQ^T) h / s, \qquad dF = (1 - QQ^T)\,dh / s - F\,d\log s .

With the size :math:`s = \|h\|` the descent runs into traps: the values of softplus and its like are a large constant and
little more, those of all smooth activations nearly linear at small inputs, and the constant and the linear part of *any* x
lie close to the known space. So sizes are measured from there, :math:`s = s_0^{1-a} s_1^a` with the distance :math:`s_0` of h
to the multiples of :math:`h_0`, its value at the input zero, and :math:`s_1` to the span of :math:`h_0` and the first-order
part of h, each with a millionth of :math:`\|h\|^2` added to its square. Where :math:`F = 0` does not depend on that choice.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

FLOOR = 1e-6
"""Weight of the whole vector's squared norm in the size of a vector that is measured from a reference."""


@dataclasses.dataclass(frozen=True, eq=False)
class Condition:
    """One vector that has to lie in a known space.

    Parameters
    ----------
    layer : int
        l, counted from 1.
    basis : array of shape (n, r)
        Q.
    weight : float
        Its weight in the sum of squares.
    unit : float
        Last entry of the extended input, 0 for none; of no meaning for sensitivities.
    reference : array of shape (n,) or (n, k), or None
        :math:`h_0`, the vector at the input zero, which sizes are measured from, or for sensitivities the factor of ρ in
        it; None for zero.
    linear : pair of arrays of shape (n,) and (n, p), or None
        The first-order part of an extended input as an affine function of e.
    power : float
        The share a of the size beyond first order.
    """

    layer: int
    basis: Float
    weight: float = 1.0
    unit: float = 0.0
    reference: Float | None = None
    linear: tuple[Float, Float] | None = None
    power: float = 0.0

    def measure(self, values: Float, unknowns: Float, rho: Float) -> tuple[Float, Float, Float]:
        """Sizes of vectors, and how they change.

        Parameters
        ----------
        values : array of shape (S, n)
            h.
        unknowns : array of shape (S, p)
            e.
        rho : array of shape (S, k)
            ρ.

        Returns
        -------
        squares : array of shape (S,)
            s², positive.
        covectors : array of shape (S, n)
            The derivative of log s by h.
        moved : array of shape (S, p)
            The derivative of log s by e with h held fixed.
        """
        moved, whole = np.zeros_like(unknowns), np.sum(values**2, axis=1)
        if self.reference is None:
            return positive(whole), values / positive(whole)[:, None], moved
        origin = self.reference[None] if self.reference.ndim == 1 else rho @ self.reference.T
        lengths = np.linalg.norm(origin, axis=1, keepdims=True)
        unit = origin / np.where(lengths > 0, lengths, 1.0)
        rest = values - np.sum(values * unit, axis=1, keepdims=True) * unit
        first = positive(np.sum(rest**2, axis=1) + FLOOR * whole)
        covector = (rest + FLOOR * values) / first[:, None]
        if self.linear is None or not self.power:
            return first, covector, moved
        linear = self.linear[0] + unknowns @ self.linear[1].T
        linear = linear - np.sum(linear * unit, axis=1, keepdims=True) * unit
        slopes = np.sum(rest * linear, axis=1) / positive(np.sum(linear**2, axis=1))
        rest = rest - slopes[:, None] * linear
        second = positive(np.sum(rest**2, axis=1) + FLOOR * whole)
        covector = (1 - self.power) * covector + self.power * (rest + FLOOR * values) / second[:, None]
        moved = -self.power * slopes[:, None] * (rest @ self.linear[1]) / second[:, None]
        return first ** (1 - self.power) * second**self.power, covector, moved

    def turned(self, values: Float, rho: Float, complement: Float, squares: Float) -> Float:
        """The derivative of log s by the directions of ρ, with h held fixed.

        Parameters
        ----------
        values : array of shape (S, n)
            h.
        rho : array of shape (S, k)
            ρ.
        complement : array of shape (S, k, k - 1)
            The directions.
        squares : array of shape (S,)
            s².

        Returns
        -------
        array of shape (S, k - 1)
            It enters by the reference alone; its best multiple, being best, adds nothing.
        """
        assert self.reference is not None
        origin = rho @ self.reference.T
        slopes = np.sum(values * origin, axis=1, keepdims=True) / positive(np.sum(origin**2, axis=1))[:, None]
        rest = values - slopes * origin
        return np.asarray(-slopes * ((rest @ self.reference)[:, None, :] @ complement)[:, 0] / squares[:, None])

    def squared_distances(self, values: Float, squares: Float) -> Float:
        """Squares of F.

        Parameters
        ----------
        values : array of shape (S, n)
            h.
        squares : array of shape (S,)
            s².

        Returns
        -------
        array of shape (S,)
            Infinite where h vanishes.
        """
        outside = values - (values @ self.basis) @ self.basis.T
        return np.asarray(np.where(np.any(values, axis=1), np.sum(outside**2, axis=1) / squares, np.inf))


@dataclasses.dataclass(frozen=True, eq=False)
class Vectors:
    """The vectors of one condition at many candidates, and their derivatives.

    Parameters
    ----------
    condition : Condition
        Whose.
    values : array of shape (S, n)
        h.
    jacobian : array of shape (S, n, p + k - 1)
        dh by e and by the directions of ρ orthogonal to ρ.
    sizes : array of shape (S, 1)
        s.
    growth : array of shape (S, p + k - 1)
        d log s.
    """

    condition: Condition
    values: Float
    jacobian: Float
    sizes: Float
    growth: Float


def positive(squares: Float) -> Float:
    """Squares of sizes to divide by.

    Parameters
    ----------
    squares : array
        Numbers that are not negative.

    Returns
    -------
    array
        Those that vanish replaced by 1.
    """
    return np.asarray(np.where(squares > 0, squares, 1.0))


def normal_equations(found: list[Vectors]) -> tuple[Float, Float]:
    """Gradient and Gauss-Newton matrix of half the sum of squared relative distances.

    Parameters
    ----------
    found : list of Vectors
        All conditions at S candidates.

    Returns
    -------
    gradient : array of shape (S, n)
        dFᵀF.
    matrix : array of shape (S, n, n)
        dFᵀdF, by rank-one corrections of dhᵀ(1 - QQᵀ)dh / s².
    """
    width = found[0].jacobian.shape[2]
    gradient = np.zeros((len(found[0].values), width))
    matrix = np.zeros((len(gradient), width, width))
    for vectors in found:
        basis, jacobian, weight = vectors.condition.basis, vectors.jacobian, vectors.condition.weight**2
        size = vectors.sizes
        distance = (vectors.values - (vectors.values @ basis) @ basis.T) / size
        cost = np.sum(distance**2, axis=1)[:, None]
        inside = basis.T @ jacobian
        towards = (distance[:, None, :] @ jacobian)[:, 0]
        # The derivative of log s, in units of 1 / s like the others.
        along = vectors.growth * size
        square = np.swapaxes(jacobian, 1, 2) @ jacobian - np.swapaxes(inside, 1, 2) @ inside
        square -= towards[:, :, None] * along[:, None, :] + along[:, :, None] * towards[:, None, :]
        square += cost[:, :, None] * along[:, :, None] * along[:, None, :]
        gradient += weight * (towards - cost * along) / size
        matrix += weight * square / (size**2)[:, :, None]
    return gradient, matrix


def residuals(found: list[Vectors]) -> tuple[Float, Float]:
    """Relative distances as vectors, and their derivatives, written out.

    Parameters
    ----------
    found : list of Vectors
        All conditions at S candidates.

    Returns
    -------
    values : array of shape (S, N)
        F of all conditions one after the other.
    jacobian : array of shape (S, N, n)
        dF.
    """
    values, jacobians = [], []
    for vectors in found:
        basis, jacobian, weight = vectors.condition.basis, vectors.jacobian, vectors.condition.weight
        distance = (vectors.values - (vectors.values @ basis) @ basis.T) / vectors.sizes
        outside = (jacobian - basis @ (basis.T @ jacobian)) / vectors.sizes[:, :, None]
        values.append(weight * distance)
        jacobians.append(weight * (outside - distance[:, :, None] * vectors.growth[:, None, :]))
    return np.concatenate(values, axis=1), np.concatenate(jacobians, axis=1)
