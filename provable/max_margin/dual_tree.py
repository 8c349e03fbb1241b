r"""Bounds of the dual constraint over all neurons, by branch and bound over signs of pre-activations.

Notes
-----
Multipliers λ ≥ 0 with |h(w)| ≤ ‖w‖ for h(w) = Σ_i λ_i y_i relu(w·x̃_i) and every w prove Σ λ_i ≤ ½‖θ‖² for every network
with margins of at least 1. For one sign σ let e_i = σ λ_i y_i. A node of the tree has decided the signs of some w·x̃_i. Any
numbers t_i bound σ h on its cone: with q = Σ_i t_i x̃_i,

.. math:: σ h(w) \le q·w + \sum_i κ_i \|w\| \le (\|q\| + \sum_i κ_i) \|w\|

where κ_i = 0 if w·x̃_i ≥ 0 and t_i ≥ e_i, or if w·x̃_i ≤ 0 and t_i ≤ 0; and κ_i = ‖x̃_i‖ max(e_i - t_i, t_i, 0) if the sign
is not decided, since e relu(z) - t z ≤ max(e - t, t, 0) |z| for both signs of z, and |z| ≤ ‖x̃‖ ‖w‖. In particular a sample
with e_i ≤ 0 needs no decision: t_i ∈ [e_i, 0] costs nothing. Where all samples with e_i > 0 are decided, the best t makes the
bound exact (duality of a concave function on a cone), so the tree finds violated constraints if there are any.

A cell whose interior is empty is left out: by continuity the constraint holds on it if it holds on the open cells. That it is
empty is shown by Σ ν_i (±x̃_i) = 0 with ν ≥ 0, in exact arithmetic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Float
from provable.errors import UnsupportedError
from provable.max_margin.dependencies import nonnegative_dependency, strict_solution

_THIN = 1e-7
"""A cell thinner than this may be empty; whether it is, exact arithmetic decides."""

_STATIONARY = 1e-13
"""Slope along unit vectors, times the way that is left, at which a bounded least-squares solution is as good as it gets."""


@dataclasses.dataclass(frozen=True, eq=False)
class Leaf:
    """A cone with its bound.

    Attributes
    ----------
    coefficients : ndarray of shape (n,)
        The t_i.
    bound : float
        ‖q‖ + Σ κ_i.
    direction : ndarray of shape (D,)
        q.
    """

    coefficients: Float
    bound: float
    direction: Float


@dataclasses.dataclass(frozen=True)
class Empty:
    """A cone without interior.

    Attributes
    ----------
    shares : dict of int to Fraction
        The positive ν_i by sample, for signed x̃_i that were scaled to integers without common divisor.
    """

    shares: dict[int, Fraction]


@dataclasses.dataclass(frozen=True)
class Branch:
    """Two cones that differ in the sign of one pre-activation.

    Attributes
    ----------
    sample : int
        i.
    active, inactive : Leaf, Empty or Branch
        Where w·x̃_i ≥ 0, and where w·x̃_i ≤ 0.
    """

    sample: int
    active: Tree
    inactive: Tree


Tree = Leaf | Empty | Branch


def leaves(tree: Tree) -> Iterator[Leaf]:
    """The leaves of a tree, in order.

    Parameters
    ----------
    tree : Leaf, Empty or Branch
        The tree.

    Yields
    ------
    Leaf
        One by one, without the empty cones.
    """
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, Branch):
            stack += [node.inactive, node.active]
        elif isinstance(node, Leaf):
            yield node


def size_of(tree: Tree) -> int:
    """Number of leaves and empty cones.

    Parameters
    ----------
    tree : Leaf, Empty or Branch
        The tree.

    Returns
    -------
    int
        At least 1.
    """
    return size_of(tree.active) + size_of(tree.inactive) if isinstance(tree, Branch) else 1


class DualTree:
    """Branch and bound for one sign.

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i.
    rows : list of list of int
        The same, each times a positive number, exact.
    excess : ndarray of shape (n,)
        The e_i.
    target : float
        A bound at which a cone need not be divided any more, 1 and a little.
    at_most : int
        Largest number of nodes.
    """

    def __init__(self, inputs: Float, rows: list[list[int]], excess: Float, *, target: float, at_most: int) -> None:
        self.inputs, self.rows, self.excess, self.target, self.at_most = inputs, rows, excess, target, at_most
        self.norms = np.linalg.norm(inputs, axis=1)
        self.units = inputs / self.norms[:, None]
        weight = np.where(excess > 0, excess * self.norms, 0.0)
        self.order = [int(i) for i in np.argsort(-weight, kind="stable") if weight[i] > 0]
        self.nodes = 0

    def build(self) -> Tree:
        """Divide the space of all neurons.

        Returns
        -------
        Leaf, Empty or Branch
            The tree; leaves with a bound above the target have all samples with e_i > 0 decided.

        Raises
        ------
        UnsupportedError
            If there would be too many nodes.
        """
        return self._divide(np.zeros(len(self.inputs), dtype=np.int8), 0, self.units[0])

    def _divide(self, signs: NDArray[np.int8], depth: int, witness: Float) -> Tree:
        self.nodes += 1
        if self.nodes > self.at_most:
            raise UnsupportedError(
                f"dual check: more than {self.at_most} cones would have to be bounded for {len(self.order)} samples of one "
                f"class in dimension {self.inputs.shape[1]}; fewer samples, or a larger limit, are accepted"
            )
        undecided = self.order[depth:]
        slack = 0.5 * float(self.excess[undecided] @ self.norms[undecided])
        if slack < self.target:
            leaf = self._leaf(signs, undecided, slack)
            if not undecided or leaf.bound <= self.target:
                return leaf
        sample = undecided[0]
        height = float(self.units[sample] @ witness)
        sides: dict[int, Tree] = {}
        for sign in (1, -1):
            chosen = signs.copy()
            chosen[sample] = sign
            inside: Float | None = witness
            if height * sign <= _THIN:
                inside = self._interior(chosen)
            if inside is None:
                shares = self._emptiness(chosen)
                if shares is not None:
                    sides[sign] = shares
                    continue
                inside = np.zeros_like(witness)
            sides[sign] = self._divide(chosen, depth + 1, inside)
        return Branch(sample, sides[1], sides[-1])

    def _interior(self, signs: NDArray[np.int8]) -> Float | None:
        decided = np.flatnonzero(signs)
        signed = self.units[decided] * signs[decided, None]
        vector, _ = strict_solution(signed)
        length = float(np.linalg.norm(vector))
        if length < _THIN or not np.all(signed @ vector > _THIN * length):
            return None
        return vector / length

    def _emptiness(self, signs: NDArray[np.int8]) -> Empty | None:
        decided = np.flatnonzero(signs).tolist()
        shares = nonnegative_dependency([[int(signs[i]) * entry for entry in self.rows[i]] for i in decided])
        return None if shares is None else Empty({decided[k]: share for k, share in shares.items()})

    def _leaf(self, signs: NDArray[np.int8], undecided: list[int], slack: float) -> Leaf:
        excess = self.excess
        fixed = np.zeros(len(excess))
        fixed[undecided] = excess[undecided] / 2
        active, inactive = signs > 0, signs < 0
        lower = np.where(active, excess, np.where(inactive, -np.inf, np.minimum(excess, 0.0)))
        upper = np.where(active, np.inf, 0.0)
        lower[undecided] = upper[undecided] = 0.0
        free = np.flatnonzero(lower < upper)
        lengths = self.norms[free]
        moved = shortest_combination(
            self.units[free], lower[free] * lengths, upper[free] * lengths, fixed @ self.inputs
        )
        fixed[free] = np.clip(moved / lengths, lower[free], upper[free])
        direction = fixed @ self.inputs
        return Leaf(fixed, float(np.linalg.norm(direction)) + slack, direction)


def shortest_combination(vectors: Float, lower: Float, upper: Float, offset: Float) -> Float:
    """Minimise ‖offset + Σ t_i a_i‖ over lower ≤ t ≤ upper.

    Parameters
    ----------
    vectors : ndarray of shape (n, D)
        The a_i.
    lower, upper : ndarray of shape (n,)
        Bounds, lower < upper; one of them may be infinite.
    offset : ndarray of shape (D,)
        The rest.

    Returns
    -------
    ndarray of shape (n,)
        A minimiser, numerical.
    """
    from scipy.optimize import lsq_linear

    if len(vectors) == 0:
        return np.zeros(0)
    best: Float = lsq_linear(vectors.T, -offset, (lower, upper), method="bvls", tol=1e-15).x
    gradient = vectors @ (offset + best @ vectors)
    feasible = np.minimum(np.where(gradient > 0, best - lower, upper - best), 1.0)
    if np.max(np.abs(gradient) * feasible) > _STATIONARY:
        # where vectors are nearly parallel the active-set method stops too early; an interior one does not
        with np.errstate(all="ignore"):  # its steps may be 0 · ∞; a result that is not finite is not shorter
            other: Float = lsq_linear(vectors.T, -offset, (lower, upper), method="trf", tol=1e-15).x
        if np.linalg.norm(offset + other @ vectors) < np.linalg.norm(offset + best @ vectors):
            return other
    return best
