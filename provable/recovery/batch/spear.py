r"""A batch in front of a fully connected layer with ReLU, whatever comes after it, from the zeros of the sensitivities.

The layer's gradient is :math:`G = D \tilde X` with :math:`D_{ji} = 0` wherever neuron j is off for sample i, so that about
half of every column of D is zero. If G has rank B, the columns of D are sparse vectors of its column space. They are searched
by sampling rows (Dimitrov et al. 2024, SPEAR) where few draws are expected, otherwise by descent
(`provable.recovery.batch.sparse_directions`), until as many independent ones as the rank are found whose samples are active
just where the directions are not zero: the score λ = 1. A limit on zeros alone does not exclude combinations of columns.

Nothing is assumed about the layers behind, or the number of outputs. Leaky ReLUs leave no zeros. Zeros do not
tell a sample from one that is active in some of its neurons only (or in the same), and the method fails on a batch with two
such samples, which are not rare among a few neurons.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from provable.architectures import Identity, ReLU
from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.batch.activation_patterns import (
    not_whole,
    reason_against_first_layer,
    scale_is_open,
    shortfall,
    too_many,
)
from provable.recovery.batch.chain import FullyConnected, reason_against
from provable.recovery.batch.column_space import ColumnSpace
from provable.recovery.batch.disaggregation import Agreement, Directions, Disaggregation, Integers
from provable.recovery.batch.judgement import judge
from provable.recovery.batch.precision import precision
from provable.recovery.batch.sparse_directions import DRAWS_AT_ONCE, SparseSearch, expected_draws, is_new
from provable.recovery.method import Method
from provable.recovery.result import Recovery

Float: TypeAlias = NDArray[np.float64]

NAME = "spear"

FALSE_REJECTIONS = (1e-4, 1e-9)
"""Probabilities that a column with independent zeros of probability ½ has fewer zeros than are asked for, tried in turn."""

MOST_EXPECTED_DRAWS = 2**15
"""If more draws are expected, descent comes first."""

DRAWS_PER_EXPECTED = 8
"""Sampling ends after this multiple of the expected number of draws."""

DESCENTS_PER_SAMPLE = 64
"""Descent ends after this number of starts per sample."""

UNSEEN = 1 / 16
"""Part of the limits granted to the second threshold if the first one let nothing pass."""


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it applies, otherwise the reason why not.
    """
    if observation.kind == "stationary-point":
        return (
            "it draws rows at random, which tell of all samples for random weights; trained neurons repeat one another"
        )
    if (reason := reason_against(observation) or reason_against_first_layer(observation)) is not None:
        return reason
    chain = FullyConnected.of(observation)
    if not isinstance(chain.first.activation, ReLU):
        return (
            f"the activation of layer {chain.first.index} is {chain.first.activation.type}, which leaves no zeros; "
            "relu is accepted"
        )
    if scale_is_open(observation) and "positive-scaling" not in chain.symmetries:
        return (
            f"layer {chain.first.index} (linear) has no bias and the inputs are not known to have norm 1, so their lengths "
            "are open, while later layers are not positively homogeneous"
        )
    return None


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Recover the batch.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws rows and starts.

    Returns
    -------
    Recovery
        ``failed``, with the number of draws and how many were expected, if no choice of sparse directions agrees with its
        samples.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    first = FullyConnected.of(observation).first
    assert first.gradient is not None
    space = ColumnSpace.of(first.gradient, batch_size=observation.batch_size, precision=precision(observation))
    if not space.dimension:
        return nothing_found(observation, NAME, f"no sample is visible in layer {first.index}: its gradient is zero")
    if (reason := too_many(observation, space.dimension)) is not None:
        return nothing_found(observation, NAME, reason)
    disaggregation = Disaggregation(space, first, bool(observation.unit_norm))
    search = Search(space, disaggregation, rng, outputs=_output_weights(FullyConnected.of(observation)))
    search.run()
    if search.choice is None:
        return nothing_found(observation, NAME, search.failure(first.index))
    rows = np.asarray(np.linalg.solve(search.directions.vectors[:, search.choice], space.coordinates), dtype=np.float64)
    points, _ = search.disaggregation.samples(rows, search.agreement.factors)
    recovery = judge(
        observation,
        points.reshape(-1, *observation.architecture.input_shape),
        method=NAME,
        rng=rng,
        reason=shortfall(observation, space.dimension, space.dimension),
    )
    return not_whole(observation, recovery)


# Far above the error of a direction, far below the share of the neurons in which two samples of different patterns differ.
_POSSIBLE = 2.0**-16

KEPT = 4
"""Directions per sample that are kept, those with most zeros."""


def _output_weights(chain: FullyConnected) -> Float | None:
    """The weights by which hidden units enter the outputs, one column per output; None with more hidden layers."""
    if len(chain.layers) < 2 or any(not isinstance(layer.activation, Identity) for layer in chain.layers[1:-1]):
        return None
    product = chain.last.weight
    for layer in chain.layers[-2:0:-1]:
        product = product @ layer.weight
    weights: Float = product.T
    return weights


class Search:
    """Sparse directions of a column space, collected until a choice of them agrees with its samples.

    Parameters
    ----------
    space : ColumnSpace
        Of dimension n, 1 at least.
    disaggregation : Disaggregation
        Judges choices.
    rng : numpy.random.Generator
        Draws rows and starts.
    outputs : array of shape (m, C), optional
        The weights A behind a single hidden layer: then column i of D is (A ρ_i) ∘ σ'(z_i), and a direction is refused
        unless its entries, where they do not vanish, are those of a combination of the columns of A.

    Attributes
    ----------
    found : list of array of shape (n,)
        The directions so far.
    choice : array of int or None
        Which of `directions` are the samples', once that is known.
    draws, descents : int
        How much was tried.
    """

    def __init__(
        self,
        space: ColumnSpace,
        disaggregation: Disaggregation,
        rng: np.random.Generator,
        *,
        outputs: Float | None = None,
    ) -> None:
        self.space, self.disaggregation, self.rng, self.outputs = space, disaggregation, rng, outputs
        self.sparse = SparseSearch.of(space)
        self.found: list[Float] = []
        self._seen: list[Float] = []
        self.choice: Integers | None = None
        self.draws = self.descents = 0
        self.fewest = self._threshold(FALSE_REJECTIONS[0])
        usual = np.full(space.dimension, max(len(self.sparse.decided) // 2 - self._off, self.fewest))
        self.expected = expected_draws(usual, max(len(self.sparse.rows), usual[0]), space.dimension)

    @property
    def _off(self) -> int:
        """Neurons that are off for the whole batch: zeros of every column, and not among the rows of the search."""
        return int(np.count_nonzero(np.linalg.norm(self.space.basis, axis=1) <= self.space.error))

    def _threshold(self, probability: float) -> int:
        lowest = float(scipy.stats.binom.ppf(probability, len(self.sparse.decided), 0.5)) - self._off
        # A kernel of n - 1 rows has n - 1 zeros whatever they are.
        return max(self.space.dimension + 1, math.floor(lowest))

    @property
    def directions(self) -> Directions:
        """What was found, the directions with most zeros first."""
        vectors = np.array(self.found).T
        zeros = self.sparse.zeros(vectors)
        order = np.argsort(-np.count_nonzero(zeros, axis=0), kind="stable")[: KEPT * self.space.dimension]
        active = np.zeros((len(self.sparse.decided), len(order)), dtype=bool)
        active[self.sparse.decided] = ~zeros[:, order]
        return Directions(vectors[:, order], active, self.sparse.decided)

    @property
    def agreement(self) -> Agreement:
        """How the choice agrees with its samples."""
        assert self.choice is not None
        return self.disaggregation.agreement(self.directions, self.choice)

    def run(self) -> None:
        """Search until a choice agrees or the limits are reached: first the way that is expected to be faster."""
        ways = [self.sample, self.descend]
        if self.expected > MOST_EXPECTED_DRAWS:
            ways.reverse()
        for probability in FALSE_REJECTIONS:
            self.fewest = self._threshold(probability)
            # Where nothing sparse was seen at all, noise is likelier than columns of unusually few zeros.
            share = 1.0 if self.found or probability == FALSE_REJECTIONS[0] else UNSEEN
            for way in ways:
                if self.choice is None:
                    way(share)

    def sample(self, share: float = 1.0) -> None:
        """Draw submatrices, at most `DRAWS_PER_EXPECTED` times the number expected or `MOST_EXPECTED_DRAWS`.

        Parameters
        ----------
        share : float, optional
            Part of that limit that is granted.
        """
        limit = share * DRAWS_PER_EXPECTED * min(self.expected, MOST_EXPECTED_DRAWS)
        start = self.draws
        while self.choice is None and self.draws - start < limit:
            self.draws += DRAWS_AT_ONCE
            self._collect(self.sparse.sampled(DRAWS_AT_ONCE, self.fewest, self.rng))

    def descend(self, share: float = 1.0) -> None:
        """Descend from random starts, some of them in view of directions found before.

        Parameters
        ----------
        share : float, optional
            Part of `DESCENTS_PER_SAMPLE` that is granted.
        """
        dimension = self.space.dimension
        for _ in range(math.ceil(share * DESCENTS_PER_SAMPLE * dimension)):
            if self.choice is not None:
                break
            self.descents += 1
            # One in four from anywhere, one orthogonally to what was found, two in the rows where a direction vanishes.
            turn = self.descents % 4 if self._seen else 0
            if turn >= 2:
                one = self._seen[int(self.rng.integers(len(self._seen)))]
                self._collect(self.sparse.descended_within(one, self.fewest, self.rng))
                continue
            count = min(len(self._seen), dimension - 1) if turn else 0
            known = [self._seen[k] for k in self.rng.permutation(len(self._seen))[:count]]
            self._collect(self.sparse.descended(known, self.fewest, self.rng))

    def failure(self, index: int) -> str:
        """Say what was tried in vain.

        Parameters
        ----------
        index : int
            The layer's.

        Returns
        -------
        str
            One sentence.
        """
        return (
            f"the column space of the gradient of layer {index} has dimension {self.space.dimension}, and of the "
            f"{len(self.found)} vectors with most zeros (at least {self.fewest} in {len(self.sparse.rows)} rows) that "
            f"{self.draws} draws ({self.expected:.0f} expected) and {self.descents} descents found, no choice agrees with "
            "the samples it would give"
        )

    def _collect(self, candidates: list[Float]) -> None:
        fresh = False
        for candidate in candidates:
            if is_new(candidate, self._seen):
                # Vectors that are no sample's lead to others all the same.
                self._seen = self._sparsest([*self._seen, candidate])
                if is_new(candidate, self.found) and self._is_possible(candidate):
                    self.found = self._sparsest([*self.found, candidate])
                    fresh = True
        if not fresh:
            return
        dimension = self.space.dimension
        if len(self.found) < dimension - 1:
            return
        directions = self.directions
        choice, agreement = self.disaggregation.best_choice(directions)
        if len(choice) == dimension and agreement.score == 1.0:
            self.choice = choice
            return
        if len(choice) == dimension - 1:
            agreement = self._completed(directions, choice)
        # If all other directions are right, so is the sample, which is orthogonal to them, and its own zeros tell more.
        active = agreement.active[agreement.shares < 1.0][:, directions.decided]
        self._collect([one for row in active for one in self.sparse.kernel(~row, self.fewest, self.rng)])

    def _sparsest(self, vectors: list[Float]) -> list[Float]:
        most = KEPT * self.space.dimension
        if len(vectors) <= most:
            return vectors
        zeros = np.count_nonzero(self.sparse.zeros(np.array(vectors).T), axis=0)
        least = int(np.argmin(zeros))
        return vectors[:least] + vectors[least + 1 :]

    def _completed(self, directions: Directions, choice: Integers) -> Agreement:
        """Agreement of n - 1 directions with the one orthogonal to them in the place of the one that is missing."""
        vectors = directions.vectors[:, choice]
        rest = np.linalg.svd(vectors)[0][:, -1:]
        active = np.column_stack([directions.active[:, choice], np.zeros(len(directions.decided), dtype=bool)])
        with_rest = Directions(np.column_stack([vectors, rest]), active, directions.decided)
        return self.disaggregation.agreement(with_rest, np.arange(self.space.dimension))

    def _is_possible(self, direction: Float) -> bool:
        """Whether the entries that do not vanish are those of a combination of the output weights."""
        if self.outputs is None:
            return True
        decided = np.flatnonzero(self.sparse.decided)
        rows = decided[~self.sparse.zeros(direction[:, None])[:, 0]]
        if len(rows) <= self.outputs.shape[1]:
            return True
        entries, weights = self.space.basis[rows] @ direction, self.outputs[rows]
        left = entries - weights @ np.linalg.lstsq(weights, entries, rcond=None)[0]
        return bool(np.linalg.norm(left) <= _POSSIBLE * np.linalg.norm(entries))


METHOD = Method(NAME, supports, recover)
