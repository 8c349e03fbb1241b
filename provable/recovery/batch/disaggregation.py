r"""From directions in the column space of a layer's gradient to the samples, and the test that they are the right ones.

Let :math:`G = U R` with U an orthonormal basis of the column space, of dimension n, and let the columns of
:math:`D = U Q` be the sensitivities of the n samples. Then :math:`Q^{-1} R` are the samples, each times the unknown length of
its column of Q: directions :math:`u_i = r_i \tilde x_i`. With an observed bias gradient the last coordinate of
:math:`\tilde x_i` is 1, which gives :math:`r_i`; if the inputs are known to have norm 1, :math:`|r_i| = \|u_i\|`; otherwise a
length is chosen, and the samples are known up to positive factors.

For ReLU and leaky ReLU a neuron is active for a sample (:math:`z_{ji} = w_j \cdot x_i + b_j > 0`) if and only if the
sensitivity is not multiplied by the slope. Wrong directions give samples that contradict their own activity pattern.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.recovery.batch.chain import LinearLayer
from provable.recovery.batch.column_space import ColumnSpace

Float: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.int64]

_RATIO = 30.0
_WELL_POSED = 2.0**40
_ENTRIES_AT_ONCE = 2**21


@dataclasses.dataclass(frozen=True, eq=False)
class Directions:
    """Candidates for the columns of Q.

    Parameters
    ----------
    vectors : array of shape (n, c)
        One column per candidate, of any length.
    active : array of bool of shape (m, c)
        The neurons that are active for the candidate's sample.
    decided : array of bool of shape (m,)
        The neurons of which that is known.
    """

    vectors: Float
    active: Bools
    decided: Bools


@dataclasses.dataclass(frozen=True, eq=False)
class Agreement:
    """How a choice of n directions fits the activity patterns.

    Parameters
    ----------
    shares : array of shape (n,)
        Per sample, the share of the decided neurons that are active just where their sensitivity says so; 1 for the truth.
    factors : array of shape (n,)
        The r_i, for directions as they were given: samples are the rows of Q⁻¹R divided by them. Zero where the
        direction's bias gradient vanishes, which no sample's does.
    active : array of bool of shape (n, m)
        The neurons that are active for the samples.
    """

    shares: Float
    factors: Float
    active: Bools

    @property
    def score(self) -> float:
        """The share of all pairs of samples and neurons that agree."""
        return float(np.mean(self.shares)) if len(self.shares) else 1.0


@dataclasses.dataclass(frozen=True, eq=False)
class Disaggregation:
    """What is needed to judge a choice of directions, computed once.

    Parameters
    ----------
    space : ColumnSpace
        U and R, the latter with a last column for the bias gradient if it was observed.
    layer : LinearLayer
        Weight and bias.
    unit_norm : bool
        Whether the inputs are known to have norm 1.
    """

    space: ColumnSpace
    layer: LinearLayer
    unit_norm: bool
    _table: Float = dataclasses.field(init=False, repr=False)
    _reach: Float = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        rows, weight = self.space.coordinates, self.layer.weight
        if self.has_bias_gradient and self.layer.bias is not None:
            weight = np.column_stack([weight, self.layer.bias])
        # Every quantity of a direction is linear in it: its pre-activations, its bias gradient, its coordinates in an
        # orthonormal basis of the row space (for its norm), and the direction's row of the inverse (for its condition).
        count = len(rows)
        triangle = np.linalg.qr(rows.T)[1].T
        table = np.column_stack([rows @ weight.T, rows[:, -1], triangle, np.eye(count)])
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_reach", np.linalg.norm(rows) * np.linalg.norm(weight, axis=1))

    @property
    def has_bias_gradient(self) -> bool:
        """Whether the last coordinate of a direction is that of the bias."""
        return self.layer.bias_gradient is not None

    def agreement(self, directions: Directions, choice: Integers) -> Agreement:
        """Compare samples with the activity patterns that their directions have.

        Parameters
        ----------
        directions : Directions
            The candidates.
        choice : array of int of shape (n,)
            Which of them, as many as the space has dimensions.

        Returns
        -------
        Agreement
            Shares of 0 if the chosen directions are dependent.
        """
        square = directions.vectors[:, choice]
        if not np.linalg.cond(square) < _WELL_POSED:
            return self._none(len(choice))
        return self._judged(np.asarray(np.linalg.solve(square, self._table), dtype=np.float64), directions, choice)

    def samples(self, rows: Float, signs: Float) -> tuple[Float, Float]:
        """Divide directions by their factors.

        Parameters
        ----------
        rows : array of shape (n, k)
            Directions u_i, with a last coordinate for the bias if its gradient was observed.
        signs : array of shape (n,)
            Signs of the factors, used where the bias gradient does not tell.

        Returns
        -------
        points : array of shape (n, d)
            The inputs; of norm 1 if nothing tells their length, not finite where a factor is zero.
        factors : array of shape (n,)
            The r_i.
        """
        if self.has_bias_gradient:
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                return rows[:, :-1] / rows[:, -1:], rows[:, -1].copy()
        factors = np.sign(signs) * np.linalg.norm(rows, axis=1)
        return rows / factors[:, None], factors

    def best_choice(self, directions: Directions) -> tuple[Integers, Agreement]:
        """Choose as many independent directions as there are dimensions, in best agreement with their patterns.

        The first choice takes the candidates in the order given, each if it is independent of those before. Then, until all
        neurons agree or nothing helps, a direction that does not agree is replaced by the one whose pattern is nearest to
        that of its sample, or else by that which gives the best agreement of all (a first choice and exchanges are the two
        stages of Dimitrov et al. 2024, SPEAR, as far as they are known here).

        Parameters
        ----------
        directions : Directions
            Candidates that span the space, the most trustworthy first.

        Returns
        -------
        choice : array of int of shape (n,)
            The candidates chosen; fewer than n if they do not span the space.
        agreement : Agreement
            That of the choice.
        """
        choice = first_independent(directions.vectors)
        if len(choice) < self.space.dimension:
            return choice, self._none(len(choice))
        best = self.agreement(directions, choice)
        while best.score < 1.0:
            trials = _rematched(directions, choice, best)
            better = next((trial for trial in trials if self.agreement(directions, trial).score > best.score), None)
            if better is None:
                better = self._best_exchange(directions, choice, best.score)
            if better is None:
                break
            # Computed afresh, so that errors of exchanges do not pile up.
            found = self.agreement(directions, better)
            if not found.score > best.score:
                break
            choice, best = better, found
        return choice, best

    def _best_exchange(self, directions: Directions, choice: Integers, score: float) -> Integers | None:
        """The exchange of one direction that agrees best, if it agrees better than the score."""
        rest = np.setdiff1d(np.arange(directions.vectors.shape[1]), choice)
        square = directions.vectors[:, choice]
        current = np.linalg.solve(square, self._table)
        combinations = np.linalg.solve(square, directions.vectors[:, rest])
        best = None
        width = max(1, _ENTRIES_AT_ONCE // current.size)
        for place in range(len(choice)):
            pivots = combinations[place]
            usable = np.flatnonzero(np.abs(pivots) > np.max(np.abs(combinations), axis=0, initial=0.0) / _WELL_POSED)
            for start in range(0, len(usable), width):
                block = usable[start : start + width]
                # The rank-one update of the inverse, applied to everything that the inverse is multiplied by.
                ratios = combinations[:, block].T / pivots[block, None]
                changed = current - ratios[:, :, None] * current[place]
                changed[:, place] = current[place] / pivots[block, None]
                trials = np.tile(choice, (len(block), 1))
                trials[:, place] = rest[block]
                scores = np.mean(self._judged(changed, directions, trials).shares, axis=1)
                if np.max(scores) > score:
                    score, best = float(np.max(scores)), trials[np.argmax(scores)]
        return best

    def _none(self, count: int) -> Agreement:
        return Agreement(np.zeros(count), np.zeros(count), np.zeros((count, len(self.layer.weight)), dtype=bool))

    def _judged(self, table: Float, directions: Directions, choices: Integers) -> Agreement:
        """Agreement of samples from their rows of the table; for several choices at once along a first axis."""
        width, count = len(self.layer.weight), self.space.dimension
        images, last, coordinates, inverse = np.split(table, [width, width + 1, width + 1 + count], axis=-1)
        last = last[..., 0]
        active, decided = np.moveaxis(directions.active[:, choices], 0, -1), directions.decided
        # A pre-activation that is zero up to the error of the directions and of its own sum has no sign.
        error = _RATIO * (self.space.error + self.layer.weight.shape[1] * EPSILON)
        size = error * np.linalg.norm(inverse, axis=-1)
        slack = size[..., None] * self._reach
        if self.has_bias_gradient:
            images = images * np.sign(last)[..., None]
            return Agreement(_shares(images, slack, active, decided), last, images > 0)
        lengths = np.linalg.norm(coordinates, axis=-1)
        bias = 0.0 if self.layer.bias is None else lengths[..., None] * self.layer.bias
        both = [_shares(sign * images + bias, slack, active, decided) for sign in (1.0, -1.0)]
        signs = np.where(both[0] >= both[1], 1.0, -1.0)
        return Agreement(np.maximum(*both), signs * lengths, signs[..., None] * images + bias > 0)


def _rematched(directions: Directions, choice: Integers, agreement: Agreement) -> Iterator[Integers]:
    """For samples that do not agree, the nearest misses first: the direction whose pattern is nearest to the sample's.

    First for all of them at once (a step of each alone can make others worse), then for one after the other.
    """
    decided = directions.decided
    together, alone = choice.copy(), []
    for place in np.argsort(-agreement.shares):
        if agreement.shares[place] < 1.0:
            wanted = agreement.active[place, decided]
            nearest = np.argmin(np.count_nonzero(directions.active[decided] != wanted[:, None], axis=0))
            if nearest not in together:
                together[place] = nearest
                alone.append(choice.copy())
                alone[-1][place] = nearest
    yield together
    yield from alone


def _shares(images: Float, slack: Float, active: Bools, decided: Bools) -> Float:
    agrees = ((images > 0) == active) | (np.abs(images) <= slack)
    agrees &= np.any(images != 0, axis=-1, keepdims=True)
    if not np.any(decided):  # a pattern of which nothing is known agrees with nothing
        return np.zeros(agrees.shape[:-1])
    shares: Float = np.mean(agrees[..., decided], axis=-1)
    return shares


def first_independent(vectors: Float) -> Integers:
    """Choose columns, each if it is independent of those chosen before.

    Parameters
    ----------
    vectors : array of shape (n, c)
        Columns of any length other than zero.

    Returns
    -------
    array of int
        Places of the columns chosen, n of them at most.
    """
    dimension, total = vectors.shape
    basis, chosen = np.zeros((dimension, 0)), list[int]()
    for place in range(total):
        if len(chosen) == dimension:
            break
        vector = vectors[:, place] / np.linalg.norm(vectors[:, place])
        for _ in range(2):  # once more, for what rounding left
            vector = vector - basis @ (basis.T @ vector)
        length = np.linalg.norm(vector)
        # Near-duplicate samples have directions at small angles; below this no inverse has digits left.
        if length > 1 / _WELL_POSED:
            basis = np.column_stack([basis, vector / length])
            chosen.append(place)
    return np.array(chosen, dtype=np.int64)
