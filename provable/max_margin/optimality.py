"""Exact bounds of the optimum: a feasible network from above, multipliers with a tree of cones from below."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from provable.arithmetic import Float
from provable.max_margin.dependencies import integer_rows
from provable.max_margin.dual_tree import Branch, Empty, Leaf, Tree

_BITS = 62
"""Binary digits behind the point of roots and of rounded numbers, relative to 1."""

_SHORT = (12, 28)
"""Binary digits of coefficients that are tried first, to keep certificates short."""

Rationals = tuple[Fraction, ...]


@dataclass(frozen=True, eq=False)
class Cone:
    """A leaf with exact numbers.

    Attributes
    ----------
    coefficients : dict of int to Fraction
        The t_i that are not their default: λ_i y_i σ where the sample is active, 0 elsewhere.
    """

    coefficients: dict[int, Fraction]


@dataclass(frozen=True, eq=False)
class Split:
    """A branch over exact leaves.

    Attributes
    ----------
    sample : int
        Whose sign differs.
    active, inactive : Cone, Empty or Split
        The sides.
    """

    sample: int
    active: ExactTree
    inactive: ExactTree


ExactTree = Cone | Empty | Split


@dataclass(frozen=True, eq=False)
class Bracket:
    """What is proved about the optimum of min ½‖θ‖².

    Attributes
    ----------
    lower : Fraction
        Σ λ_i / M, or 0.
    upper : Fraction or None
        ½‖θ‖² of the feasible network; None if there is none.
    hidden : tuple of tuple of Fraction
        w_k, with biases, of the feasible network; all margins are at least 1, exactly. Empty if a margin of the network given
        is not positive.
    outer : tuple of Fraction
        v_k.
    multipliers : tuple of Fraction
        λ_i.
    height : Fraction
        M, such that |Σ λ_i y_i relu(w·x̃_i)| ≤ M ‖w‖ for all w.
    trees : tuple of two trees
        The proof of that for the signs 1 and -1.
    """

    lower: Fraction
    upper: Fraction | None
    hidden: tuple[Rationals, ...]
    outer: Rationals
    multipliers: Rationals
    height: Fraction
    trees: tuple[ExactTree, ExactTree]


def bracket(
    inputs: Float, labels: Float, hidden: Float, outer: Float, multipliers: Float, trees: tuple[Tree, Tree]
) -> Bracket:
    """Enclose the optimum in exact arithmetic.

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i, taken as the rationals that they are.
    labels : ndarray of shape (n,)
        ±1.
    hidden, outer : ndarray of shapes (K, D) and (K,)
        A network with margins close to 1; it is multiplied by what it takes to make them at least 1.
    multipliers : ndarray of shape (n,)
        λ ≥ 0.
    trees : pair of trees
        `DualTree` for λ_i y_i and for -λ_i y_i.

    Returns
    -------
    Bracket
        Exact, whatever the quality of the numbers given; poor ones give a wide bracket.

    Notes
    -----
    Every leaf's coefficients are rounded such that its inequalities hold, and its bound is evaluated from above; M is the
    largest of all. Then Σ λ_i / M ≤ ½‖θ‖² for every feasible network by weak duality.
    """
    rows = [[Fraction(entry) for entry in row] for row in inputs.tolist()]
    signs = [int(label) for label in labels]
    network, outputs = _feasible(rows, signs, hidden, outer)
    exact = tuple(Fraction(value) for value in multipliers.tolist())
    height = Fraction(0)
    proofs: list[ExactTree] = []
    norms = [_root_above(_squared(row)) for row in rows]
    for sign, tree in zip((1, -1), trees, strict=True):
        excess = [sign * y * value for y, value in zip(signs, exact, strict=True)]
        proof = _Exact(rows, norms, excess)
        proofs.append(proof.convert(tree, {}))
        height = max(height, proof.height)
    upper = (sum((_squared(row) for row in network), Fraction(0)) + _squared(outputs)) / 2 if network else None
    lower = sum(exact, Fraction(0)) / height if height else Fraction(0)
    return Bracket(lower, upper, network, outputs, exact, height, (proofs[0], proofs[1]))


def _squared(row: list[Fraction] | Rationals) -> Fraction:
    return sum((entry * entry for entry in row), Fraction(0))


def _root_above(value: Fraction) -> Fraction:
    """A rational number at or a little above the square root."""
    top, bottom = value.numerator << (2 * _BITS), value.denominator
    return Fraction(isqrt(top // bottom) + 1, 1 << _BITS) if value else Fraction(0)


def _feasible(
    rows: list[list[Fraction]], labels: list[int], hidden: Float, outer: Float
) -> tuple[tuple[Rationals, ...], Rationals]:
    network = [[Fraction(entry) for entry in row] for row in hidden.tolist()]
    outputs = [Fraction(entry) for entry in outer.tolist()]
    least = min(
        label
        * sum((v * max(_product(w, row), Fraction(0)) for w, v in zip(network, outputs, strict=True)), Fraction(0))
        for row, label in zip(rows, labels, strict=True)
    )
    factor = _root_above(1 / least) if least > 0 else Fraction(0)
    if not factor:
        return (), ()
    return (
        tuple(tuple(factor * entry for entry in row) for row in network),
        tuple(factor * entry for entry in outputs),
    )


def _product(left: list[Fraction], right: list[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))


class _Exact:
    """Conversion of one tree; `height` is the largest bound so far."""

    def __init__(self, rows: list[list[Fraction]], norms: list[Fraction], excess: list[Fraction]) -> None:
        self.rows, self.norms, self.excess = rows, norms, excess
        self.height = Fraction(0)

    def convert(self, tree: Tree, decided: dict[int, int]) -> ExactTree:
        if isinstance(tree, Branch):
            return Split(
                tree.sample,
                self.convert(tree.active, {**decided, tree.sample: 1}),
                self.convert(tree.inactive, {**decided, tree.sample: -1}),
            )
        if isinstance(tree, Empty):
            return Empty({i: share * self._factor(i) for i, share in tree.shares.items()})
        return self._leaf(tree, decided)

    def _factor(self, sample: int) -> Fraction:
        """What the sample was multiplied by to be integral."""
        return next(
            top / entry
            for top, entry in zip(integer_rows([self.rows[sample]])[0], self.rows[sample], strict=True)
            if entry
        )

    def _leaf(self, leaf: Leaf, decided: dict[int, int]) -> Cone:
        for bits in (*_SHORT, None):
            kept, bound = self._evaluated(leaf, decided, bits)
            if bound <= 1:
                break
        self.height = max(self.height, bound)
        return Cone(kept)

    def _evaluated(self, leaf: Leaf, decided: dict[int, int], bits: int | None) -> tuple[dict[int, Fraction], Fraction]:
        """Coefficients with so many binary digits behind the point, or all, and their bound from above."""
        kept: dict[int, Fraction] = {}
        direction = [Fraction(0)] * len(self.rows[0])
        slack = Fraction(0)
        for i, (value, excess) in enumerate(zip(leaf.coefficients.tolist(), self.excess, strict=True)):
            sign = decided.get(i, 0)
            default = excess if sign == 1 else Fraction(0)
            number = Fraction(value) if bits is None else Fraction(round(value * 2**bits), 2**bits)
            if sign == 1:
                number = default if value == excess else max(number, excess)
            elif sign == -1:
                number = min(number, Fraction(0))
            else:
                slack += self.norms[i] * max(excess - number, number, Fraction(0))
            if number != default:
                kept[i] = number
            if number:
                for j, entry in enumerate(self.rows[i]):
                    direction[j] += number * entry
        return kept, _root_above(_squared(direction)) + slack
