r"""The arrangement that the neurons of a two-layer ReLU network cut the inputs into, in the row space of its first layer.

At a stationary point :math:`w_k = v_k g_k` with :math:`\|g_k\| = 1`, so that neurons on one ray are one neuron of weight
:math:`a_k = \sum v^2`, and :math:`f(x) = \sum_k \sigma_k a_k\, \mathrm{relu}(\sigma_k g_k \cdot \tilde x)` with
:math:`\sigma_k = \operatorname{sign} v_k`. What of x is orthogonal to all rows of the first layer changes no pre-activation.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from provable.observations import Observation
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.stationary_point.equation_count import neuron_groups

Float = NDArray[np.float64]

TOUCHING = 1e-9
"""A pattern counts if its conditions hold on a point up to this: those of single points, where several kinks meet, count."""

FAR = 30.0
"""Samples are looked for within this multiple of the typical distance of the neurons' hyperplanes from the origin; those at
infinity, with no weight, would explain much. Without bias: of the typical length at which the output is the margin."""

_DIFFERENT = 1e-10
"""Singular values of the first layer below this multiple of the largest are rounding."""


@dataclasses.dataclass(frozen=True, eq=False)
class Arrangement:
    """Distinct neurons in coordinates z of the row space, x = B z.

    Parameters
    ----------
    basis : array of shape (d, r)
        B, with orthonormal columns that span the rows of the first layer without its bias.
    directions : array of shape (n, r) or (n, r + 1)
        g_k; the last entry belongs to the bias, if there is one.
    signs : array of shape (n,)
        σ_k = ±1.
    weights : array of shape (n,)
        a_k > 0.
    members : tuple of array of int
        Which hidden neurons each distinct one stands for.
    biased : bool
        Whether there is a bias.
    """

    basis: Float
    directions: Float
    signs: Float
    weights: Float
    members: tuple[NDArray[np.intp], ...]
    biased: bool

    @classmethod
    def of(cls, observation: Observation) -> Arrangement:
        """Read the distinct neurons of a stationary point.

        Parameters
        ----------
        observation : Observation
            A stationary point of a two-layer ReLU network with one output.

        Returns
        -------
        Arrangement
            Without dead neurons.
        """
        network = FullyConnected.of(observation)
        groups = neuron_groups(network, 0)
        first, outer = network.first, network.last.weight[0]
        members = groups.members
        squares = np.array([np.sum(outer[group] ** 2) for group in members])
        signs = np.array([np.sign(outer[group[0]]) for group in members])
        rows = np.array([outer[group] @ first.weight[group] for group in members]).reshape(len(members), -1)
        directions = rows / squares[:, None]
        _, singular, right = np.linalg.svd(directions, full_matrices=False)
        offsets = np.zeros(len(members))
        if first.bias is not None:
            offsets = np.array([outer[group] @ first.bias[group] for group in members]) / squares
        # weights that are rounding beside the biases show no direction
        largest = max(float(np.max(singular, initial=0.0)), float(np.max(np.abs(offsets), initial=0.0)))
        basis = right[singular > _DIFFERENT * largest].T
        directions = directions @ basis
        if first.bias is not None:
            directions = np.column_stack([directions, offsets])
        return cls(basis, directions, signs, squares, members, first.bias is not None)

    @property
    def dimension(self) -> int:
        """Entries of a z̃: r, and one more with a bias.

        Returns
        -------
        int
            The number.
        """
        return int(self.directions.shape[1])

    def extended(self, points: Float) -> Float:
        """Append the constant input.

        Parameters
        ----------
        points : array of shape (k, r)
            Some z.

        Returns
        -------
        array of shape (k, r) or (k, r + 1)
            The z̃.
        """
        return np.column_stack([points, np.ones(len(points))]) if self.biased else points

    @property
    def reach(self) -> float:
        """Largest magnitude of an entry of z that is considered; without bias for outputs of magnitude 1.

        Returns
        -------
        float
            `FAR` typical distances.
        """
        if not self.biased:
            return FAR * float(np.sqrt(len(self.signs))) / float(np.sum(self.weights))
        lengths = np.linalg.norm(self.directions[:, :-1], axis=1)
        distances = np.abs(self.directions[lengths > 0, -1]) / lengths[lengths > 0]
        return FAR * (float(np.median(distances)) if len(distances) and np.median(distances) > 0 else 1.0)

    def slopes(self, states: Float) -> Float:
        """The gradients by z̃ of the network where given neurons are active.

        Parameters
        ----------
        states : array of shape (k, n)
            Slopes of the neurons, from 0 to 1.

        Returns
        -------
        array of shape (k, r) or (k, r + 1)
            Σ_k a_k s_k g_k.
        """
        return np.asarray((states * self.weights) @ self.directions)

    def outputs(self, points: Float) -> Float:
        """The network's outputs.

        Parameters
        ----------
        points : array of shape (k, r)
            Some z.

        Returns
        -------
        array of shape (k,)
            f.
        """
        active = np.maximum(self.extended(points) @ (self.signs[:, None] * self.directions).T, 0.0)
        return np.asarray(active @ (self.signs * self.weights))

    def patterns(self, at_most: int) -> Float | None:
        """List the active neurons of every closed cell that has a point.

        Parameters
        ----------
        at_most : int
            The largest number of cells that is listed.

        Returns
        -------
        array of shape (cells, n) or None
            Ones and zeros; None if there are more. Where the hyperplanes of several neurons meet, all their states at that
            point count, since each neuron has a Clarke multiplier of its own.
        """
        toward = self.signs[:, None] * self.directions
        found: list[list[float]] = [[]]
        for count in range(1, len(toward) + 1):
            found = [
                [*states, state]
                for states in found
                for state in (1.0, -1.0)
                if self._has_a_point(np.array([*states, state])[:, None] * toward[:count], count == len(toward))
            ]
            if len(found) > at_most:
                return None
        return np.asarray((np.array(found).reshape(len(found), -1) > 0).astype(np.float64))

    def _has_a_point(self, rows: Float, last: bool) -> bool:
        """Whether rows·z̃ >= 0 for a point, or for a vector that is not zero if there is no bias."""
        if self.biased:
            objective = np.append(np.zeros(rows.shape[1] - 1), -1.0)
            system = np.column_stack([-rows[:, :-1], np.ones(len(rows))])
            bounds = [(-self.reach, self.reach)] * (rows.shape[1] - 1) + [(None, 1.0)]
            found: Any = scipy.optimize.linprog(objective, A_ub=system, b_ub=rows[:, -1], bounds=bounds, method="highs")
            return bool(found.status == 0 and -found.fun > -TOUCHING)
        box = [(-1.0, 1.0)] * rows.shape[1]
        found = scipy.optimize.linprog(
            -rows.sum(axis=0), A_ub=-rows, b_ub=np.zeros(len(rows)), bounds=box, method="highs"
        )
        # before the last hyperplane a vector may be orthogonal to all so far
        return bool(found.status == 0 and (not last or -found.fun > TOUCHING))
