r"""All data behind a stationary point of two layers of ReLUs at a given margin: the solutions of one linear program.

In a closed cell F of the arrangement, with active neurons :math:`s_F`, samples of label y enter stationarity by their moment
:math:`\mu_F^y = \sum |c_i| \tilde x_i` alone, and their margin is linear in it:

.. math:: \sum_F \sum_{y=\pm 1} y\, s_F \otimes \mu_F^y = (g_1, \dots, g_n), \qquad
          y\, u_F \cdot \mu_F^y = m \, (\mu_F^y)_{d+1}, \qquad \mu_F^y \in \operatorname{cone}(\tilde F),

with :math:`u_F` the gradient of f in F. A sample on kinks is split among the cells that meet there, and every choice of its
Clarke multipliers in [0, 1] is such a splitting (with a multiplier for each neuron, all states are limits of states under
small changes of θ). So the set of all data behind the point, one sample for each label and cell, is a polyhedron for each
margin m: its emptiness, its vertices and whether it is one point can be decided, not only searched for.

Without bias the moment is :math:`\sum |c_i| x_i`, and the margin, 1 by the choice of scales, gives the coefficient:
:math:`|c| = y u_F \cdot \mu`.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
from numpy.typing import NDArray

from provable.recovery.stationary_point.arrangement import Arrangement

Float = NDArray[np.float64]

LABELS = (1.0, -1.0)

SMALLEST_SHARE = 1e-7
"""Atoms with less than this share of the largest coefficient are errors of the linear program."""

SAME_POINT = 1e-6
"""Atoms of one label nearer than this, relative to their size, are one sample: the linear program is exact to 1e-7."""


@dataclasses.dataclass(frozen=True, eq=False)
class Atoms:
    """Samples in the coordinates of an arrangement.

    Parameters
    ----------
    points : array of shape (N, r)
        The z_j.
    coefficients : array of shape (N,)
        c_j, of the label's sign.
    states : array of shape (N, n)
        Clarke multipliers s_jk.
    """

    points: Float
    coefficients: Float
    states: Float


@dataclasses.dataclass(frozen=True, eq=False)
class CellMoments:
    """The linear program of an arrangement.

    Parameters
    ----------
    arrangement : Arrangement
        The neurons.
    patterns : array of shape (cells, n)
        The active neurons of each closed cell.
    """

    arrangement: Arrangement
    patterns: Float

    def infeasibility(self, margin: float) -> float:
        """How far stationarity is from holding for any data of a margin.

        Parameters
        ----------
        margin : float
            m > 0.

        Returns
        -------
        float
            The smallest sum of absolute values by which the equations for the g_k fail.
        """
        system, right, cone = self._program(margin)
        rows, width = system.shape
        stationarity = self.arrangement.directions.size
        slack: Any = scipy.sparse.eye_array(rows, stationarity, format="csr")
        whole: Any = scipy.sparse.hstack([system, slack, -slack], format="csr")
        wide: Any = scipy.sparse.hstack([cone, scipy.sparse.csr_array((cone.shape[0], 2 * stationarity))], format="csr")
        costs = np.concatenate([np.zeros(width), np.ones(2 * stationarity)])
        bounds: Any = [(None, None)] * width + [(0.0, None)] * (2 * stationarity)
        found: Any = scipy.optimize.linprog(
            costs, A_ub=wide, b_ub=np.zeros(wide.shape[0]), A_eq=whole, b_eq=right, bounds=bounds, method="highs"
        )
        return float(found.fun) if found.status == 0 else math.inf

    def vertex(self, margin: float, costs: Float) -> Float | None:
        """A vertex of the polyhedron.

        Parameters
        ----------
        margin : float
            m > 0.
        costs : array of shape (cells, 2)
            Positive costs of a unit of coefficient in each cell and label.

        Returns
        -------
        array of shape (cells, 2, D) or None
            The moments of a cheapest solution; None if there is none.
        """
        found = self._solved(margin, costs[:, :, None] * self.masses)
        return found.x.reshape(len(self.patterns), 2, -1) if found.status == 0 else None

    def largest(self, margin: float, gains: Float) -> float | None:
        """The largest value of a linear functional over all solutions.

        Parameters
        ----------
        margin : float
            m > 0.
        gains : array of shape (cells, 2, D)
            The functional.

        Returns
        -------
        float or None
            None if there is no solution.
        """
        found = self._solved(margin, -gains)
        return -float(found.fun) if found.status == 0 else None

    def _solved(self, margin: float, weights: Float) -> Any:
        system, right, cone = self._program(margin)
        return scipy.optimize.linprog(
            weights.reshape(-1),
            A_ub=cone,
            b_ub=np.zeros(cone.shape[0]),
            A_eq=system,
            b_eq=right,
            bounds=[(None, None)] * weights.size,
            method="highs",
        )

    def sparse_vertex(self, margin: float, rng: np.random.Generator, rounds: int = 3) -> Float | None:
        """A vertex with few atoms: costs are random, and then those of small coefficients are raised (reweighting).

        Parameters
        ----------
        margin : float
            m > 0.
        rng : numpy.random.Generator
            Draws the costs.
        rounds : int, optional
            Linear programs solved.

        Returns
        -------
        array of shape (cells, 2, D) or None
            Moments; None if there are none.
        """
        costs = rng.exponential(size=(len(self.patterns), 2))
        moments = None
        for _ in range(rounds):
            moments = self.vertex(margin, costs)
            if moments is None:
                return None
            masses = np.sum(moments * self.masses, axis=2)
            share = np.maximum(masses, 0.0) / np.max(masses, initial=np.finfo(float).tiny)
            costs = rng.uniform(0.8, 1.2, costs.shape) / (share + 1e-3)
        return moments

    def atoms(self, moments: Float) -> Atoms:
        """Read the samples of a solution, one for each label and point.

        Parameters
        ----------
        moments : array of shape (cells, 2, D)
            A solution.

        Returns
        -------
        Atoms
            Those of all cells, where they are at one point together: then with multipliers between 0 and 1.
        """
        arrangement = self.arrangement
        masses = np.sum(moments * self.masses, axis=2)
        found: list[tuple[float, Float, float, Float]] = []
        for cell, side in np.argwhere(masses > SMALLEST_SHARE * np.max(masses)):
            mass, label, state = float(masses[cell, side]), LABELS[side], self.patterns[cell]
            point = moments[cell, side, : arrangement.basis.shape[1]] / mass
            for position, (other, there, weight, states) in enumerate(found):
                if other == label and np.linalg.norm(there - point) <= SAME_POINT * (1.0 + np.linalg.norm(point)):
                    total = weight + mass
                    mixed = (weight * states + mass * state) / total
                    found[position] = label, (weight * there + mass * point) / total, total, mixed
                    break
            else:
                found.append((label, point, mass, state))
        return Atoms(
            np.array([point for _, point, _, _ in found]),
            np.array([label * mass for label, _, mass, _ in found]),
            np.array([state for _, _, _, state in found]),
        )

    @functools.cached_property
    def masses(self) -> Float:
        """Vectors whose products with moments are the magnitudes of coefficients.

        Returns
        -------
        array of shape (cells, 2, D)
            The last unit vector with a bias, y u_F without.
        """
        arrangement = self.arrangement
        if arrangement.biased:
            unit = np.zeros(arrangement.dimension)
            unit[-1] = 1.0
            return np.broadcast_to(unit, (len(self.patterns), 2, arrangement.dimension))
        slopes = arrangement.slopes(self.patterns)
        return np.stack([label * slopes for label in LABELS], axis=1)

    def equations(self, margin: float) -> Any:
        """The matrix of stationarity and margins, by the moments of all cells and labels.

        Parameters
        ----------
        margin : float
            m > 0.

        Returns
        -------
        sparse array of shape (equations, cells · 2 · D)
            Its right side are the g_k, then zeros.
        """
        return self._program(margin)[0]

    @functools.cached_property
    def _parts(self) -> tuple[Any, Any, Any]:
        """The equations are the first matrix and the margin times the second; the third has rows that are at most zero."""
        arrangement, patterns = self.arrangement, self.patterns
        size, cells = arrangement.dimension, len(self.patterns)
        signed = np.einsum("fk,y->kfy", patterns, np.array(LABELS)).reshape(patterns.shape[1], 2 * cells)
        system: Any = scipy.sparse.kron(signed, scipy.sparse.eye_array(size), format="csr")
        moving: Any = scipy.sparse.csr_array(system.shape)
        mass = self.masses
        if arrangement.biased:
            rows = np.stack([label * arrangement.slopes(patterns) for label in LABELS], axis=1)
            scale = float(np.sum(arrangement.weights))  # so that tolerances do not depend on the size of θ
            rows, mass = rows / scale, mass / scale
            outputs: Any = scipy.sparse.block_diag(list(rows.reshape(2 * cells, 1, size)), format="csr")
            units: Any = scipy.sparse.block_diag(list(-mass.reshape(2 * cells, 1, size)), format="csr")
            system = scipy.sparse.vstack([system, outputs], format="csr")
            moving = scipy.sparse.vstack([moving, units], format="csr")
            mass = self.masses
        toward = arrangement.signs[:, None] * arrangement.directions
        places = np.eye(size)[: arrangement.basis.shape[1]]
        sides = []
        for cell in range(cells):
            inside = -(2.0 * patterns[cell] - 1.0)[:, None] * toward
            for side in range(2):
                # no coordinate is farther out than the reach; so no coefficient is negative either
                box = np.vstack([places, -places]) - arrangement.reach * mass[cell, side]
                sides.append(np.vstack([inside, box]))
        return system, moving, scipy.sparse.block_diag(sides, format="csr")

    def _program(self, margin: float) -> tuple[Any, Float, Any]:
        """Equations, their right side, and rows that are at most zero, for the moments of all cells and labels."""
        system, moving, cone = self._parts
        right = np.zeros(system.shape[0])
        right[: self.arrangement.directions.size] = self.arrangement.directions.reshape(-1)
        return system + margin * moving, right, cone
