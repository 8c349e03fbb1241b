r"""The conditions that one sample of a batch meets on its own, and their derivatives, for many candidates at once.

A candidate is a point with pre-activations :math:`s_1 = o + M e` and a direction :math:`\rho` of the loss at the last linear
layer, :math:`\delta_L = R\rho`. With :math:`h_l = \sigma_l(s_l)`, :math:`s_{l+1} = W_{l+1} h_l + b_{l+1}` and
:math:`\delta_l = \sigma_l'(s_l) \circ W_{l+1}^T \delta_{l+1}`, a condition says that a vector h, one of
:math:`(h_{l-1}, u)` and :math:`\delta_l`, lies in a known space with orthonormal basis Q. Its relative distance F is that of
`distances`.

For given e the best ρ follows by linear algebra (variable projection, Golub and Pereyra 1973): it minimises the distance of
all :math:`\delta_l` together, each scaled by the size of its layer's factor, with
:math:`s^2 = \|h - h_0\|^2 + 10^{-6}\|h\|^2`, a quadratic form in ρ.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Activation
from provable.networks.activations import derivative, value
from provable.recovery.batch.span_check.distances import FLOOR, Condition, Vectors, positive

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Conditions:
    """All conditions used, and the network that they need.

    Parameters
    ----------
    offset, matrix : arrays of shape (m_1,) and (m_1, p)
        o and M.
    deeper : tuple of (array, array or None)
        Weights and biases of the layers 2 to L.
    activations : tuple of Activation
        Those of the layers 1 to L - 1.
    outputs : array of shape (C, k)
        R, an orthonormal basis of the directions that ρ may have.
    rows, columns : tuple of Condition
        On the inputs of layers 2 to L, and on the sensitivities of layers 1 to L - 1.
    """

    offset: Float
    matrix: Float
    deeper: tuple[tuple[Float, Float | None], ...]
    activations: tuple[Activation, ...]
    outputs: Float
    rows: tuple[Condition, ...]
    columns: tuple[Condition, ...]

    @property
    def dimension(self) -> int:
        """The number p of unknowns e."""
        return int(self.matrix.shape[1])

    @property
    def directions(self) -> int:
        """The number k of unknown entries of ρ, 1 if no condition depends on it."""
        return int(self.outputs.shape[1]) if self.columns else 1

    def evaluate(self, unknowns: Float) -> tuple[Float, Float]:
        """The best directions of the loss, and the sum of squared relative distances.

        Parameters
        ----------
        unknowns : array of shape (S, p)
            e.

        Returns
        -------
        directions : array of shape (S, k)
            ρ, of norm 1.
        cost : array of shape (S,)
            Infinite where a vector vanishes or is not finite.
        """
        preactivations = self._forward(unknowns)
        rho = np.ones((len(unknowns), 1))
        costs = []
        for condition in self.rows:
            values = self._inputs(preactivations, condition)
            squares = condition.measure(values, unknowns, rho)[0]
            costs.append(condition.weight**2 * condition.squared_distances(values, squares))
        if self.columns:
            factors = self._factors(preactivations)
            if self.directions > 1:
                rho = self._best_directions(factors)
            for condition in self.columns:
                values = (factors[condition.layer] @ rho[:, :, None])[:, :, 0]
                squares = condition.measure(values, unknowns, rho)[0]
                costs.append(condition.weight**2 * condition.squared_distances(values, squares))
        total: Float = np.sum(costs, axis=0)
        return rho, np.where(np.isfinite(total), total, np.inf)

    def distances(self, unknowns: Float) -> tuple[Float, Float]:
        """The distances relative to the whole vectors, one for each condition.

        Parameters
        ----------
        unknowns : array of shape (S, p)
            e.

        Returns
        -------
        directions : array of shape (S, k)
            ρ, of norm 1.
        distances : array of shape (S, number of conditions)
            Those of the rows, then those of the columns.
        """
        rho, _ = self.evaluate(unknowns)
        preactivations = self._forward(unknowns)
        vectors = [(c, self._inputs(preactivations, c)) for c in self.rows]
        if self.columns:
            factors = self._factors(preactivations)
            vectors += [(c, (factors[c.layer] @ rho[:, :, None])[:, :, 0]) for c in self.columns]
        squares = [c.squared_distances(values, positive(np.sum(values**2, axis=1))) for c, values in vectors]
        return rho, np.sqrt(np.stack(squares, axis=1))

    def vectors(self, unknowns: Float, rho: Float) -> list[Vectors]:
        """The vectors of all conditions and their derivatives.

        Parameters
        ----------
        unknowns : array of shape (S, p)
            e.
        rho : array of shape (S, k)
            ρ.

        Returns
        -------
        list of Vectors
            Those of the rows, then those of the columns.
        """
        count, free = len(unknowns), self.directions - 1
        preactivations = self._forward(unknowns)
        slopes = [derivative(f, s) for f, s in zip(self.activations, preactivations, strict=False)]
        # ds[l], dh[l]: derivatives by e of the pre-activations and of the activations.
        ds = [np.broadcast_to(self.matrix, (count, *self.matrix.shape))]
        dh = [slopes[0][:, :, None] * ds[0]]
        for (weight, _), slope in zip(self.deeper, slopes[1:], strict=False):
            ds.append(weight @ dh[-1])
            dh.append(slope[:, :, None] * ds[-1])
        found = []
        for condition in self.rows:
            jacobian = dh[condition.layer - 2]
            if condition.unit:
                jacobian = np.concatenate([jacobian, np.zeros((count, 1, self.dimension))], axis=1)
            if free:
                jacobian = np.concatenate([jacobian, np.zeros((*jacobian.shape[:2], free))], axis=2)
            values = self._inputs(preactivations, condition)
            squares, covectors, moved = condition.measure(values, unknowns, rho)
            growth = (covectors[:, None, :] @ jacobian)[:, 0]
            growth[:, : self.dimension] += moved
            found.append(Vectors(condition, values, jacobian, np.sqrt(squares)[:, None], growth))
        if not self.columns:
            return found
        wanted = {condition.layer: condition for condition in self.columns}
        complement = np.linalg.qr(rho[:, :, None], mode="complete")[0][:, :, 1:]
        factor = np.broadcast_to(self.outputs, (count, *self.outputs.shape))
        sensitivity = rho @ self.outputs.T
        change = np.zeros((count, len(self.outputs), self.dimension))
        backwards = {}
        for layer in range(len(self.activations), min(wanted) - 1, -1):
            weight = self.deeper[layer - 1][0]
            slope, curvature = slopes[layer - 1], derivative(self.activations[layer - 1], preactivations[layer - 1], 2)
            behind = sensitivity @ weight
            direct = (curvature * behind)[:, :, None] * ds[layer - 1]
            # Behind the last layer nothing depends on e.
            change = direct if layer == len(self.activations) else direct + slope[:, :, None] * (weight.T @ change)
            sensitivity, factor = slope * behind, slope[:, :, None] * (weight.T @ factor)
            if layer in wanted:
                condition = wanted[layer]
                jacobian = np.concatenate([change, factor @ complement], axis=2) if free else change
                squares, covectors, _ = condition.measure(sensitivity, unknowns, rho)
                growth = (covectors[:, None, :] @ jacobian)[:, 0]
                if free and condition.reference is not None:
                    growth[:, self.dimension :] += condition.turned(sensitivity, rho, complement, squares)
                backwards[layer] = Vectors(condition, sensitivity, jacobian, np.sqrt(squares)[:, None], growth)
        return found + [backwards[condition.layer] for condition in self.columns]

    def sensitivities(self, unknowns: Float, rho: Float) -> list[Float]:
        """The sensitivities of all layers.

        Parameters
        ----------
        unknowns : array of shape (S, p)
            e.
        rho : array of shape (S, k)
            ρ.

        Returns
        -------
        list of arrays of shape (S, m_l)
            δ_1 to δ_L.
        """
        found = [rho @ self.outputs.T]
        preactivations = self._forward(unknowns, len(self.activations))
        for layer in range(len(self.activations), 0, -1):
            slope = derivative(self.activations[layer - 1], preactivations[layer - 1])
            found.append(slope * (found[-1] @ self.deeper[layer - 1][0]))
        return found[::-1]

    def inputs(self, unknowns: Float) -> list[Float]:
        """The inputs of the layers behind the first.

        Parameters
        ----------
        unknowns : array of shape (S, p)
            e.

        Returns
        -------
        list of arrays of shape (S, m_l)
            h_1 to h_{L-1}.
        """
        preactivations = self._forward(unknowns, len(self.activations))
        return [value(f, s) for f, s in zip(self.activations, preactivations, strict=True)]

    def _forward(self, unknowns: Float, depth: int | None = None) -> list[Float]:
        if depth is None:
            depth = len(self.activations) if self.columns else max(c.layer for c in self.rows) - 1
        preactivations = [self.offset + unknowns @ self.matrix.T]
        for activation, (weight, bias) in zip(self.activations[: depth - 1], self.deeper, strict=False):
            s = value(activation, preactivations[-1]) @ weight.T
            preactivations.append(s if bias is None else s + bias)
        return preactivations

    def _inputs(self, preactivations: list[Float], condition: Condition) -> Float:
        h = value(self.activations[condition.layer - 2], preactivations[condition.layer - 2])
        if not condition.unit:
            return h
        return np.concatenate([h, np.full((len(h), 1), condition.unit)], axis=1)

    def _factors(self, preactivations: list[Float]) -> dict[int, Float]:
        """The matrices by which ρ is multiplied in the sensitivities, by layer."""
        found = {}
        current: Float = self.outputs[None]
        for layer in range(len(self.activations), min(c.layer for c in self.columns) - 1, -1):
            slope = derivative(self.activations[layer - 1], preactivations[layer - 1])
            found[layer] = current = slope[:, :, None] * (self.deeper[layer - 1][0].T @ current)
        return found

    def _best_directions(self, factors: dict[int, Float]) -> Float:
        blocks, parts = [], []
        for condition in self.columns:
            factor = factors[condition.layer]
            size = np.sqrt(np.sum(factor**2, axis=(1, 2), keepdims=True))
            scale = condition.weight / np.where(size > 0, size, 1.0)
            parts.append(scale * (factor - condition.basis @ (condition.basis.T @ factor)))
            if condition.reference is None:
                blocks.append(scale * factor)
            else:
                blocks += [scale * (factor - condition.reference), math.sqrt(FLOOR) * scale * factor]
        whole, outside = np.concatenate(blocks, axis=1), np.concatenate(parts, axis=1)
        good = np.all(np.isfinite(whole), axis=(1, 2))
        rho = np.zeros((len(whole), self.directions))
        rho[:, 0] = 1.0
        if np.any(good):
            triangular = np.linalg.qr(whole[good], mode="r")
            # A ridge keeps factors that lack rank from breaking the solve; they are no better explained by it.
            scale = np.max(np.abs(triangular), axis=(1, 2))[:, None, None]
            ridge = 1e-14 * np.where(scale > 0, scale, 1.0) * np.eye(self.directions)
            whitened = np.linalg.solve(np.swapaxes(triangular + ridge, 1, 2), np.swapaxes(outside[good], 1, 2))
            last = np.linalg.eigh(whitened @ np.swapaxes(whitened, 1, 2))[1][:, :, 0]
            solved = np.linalg.solve(triangular + ridge, last[:, :, None])[:, :, 0]
            rho[good] = solved / np.linalg.norm(solved, axis=1, keepdims=True)
        return rho
