r"""Activation patterns in the column space of a layer's gradient, by projecting back and forth.

For one hidden layer of ReLUs or leaky ReLUs and a single output the column space of the first layer's gradient
:math:`G = \mathrm{diag}(a)\, S\, \mathrm{diag}(\alpha)\, \tilde X` contains :math:`a \circ S_{\cdot i}` of every sample, as
`provable.recovery.batch.activation_patterns` has it. From the pattern of a random point, projecting onto the space (divided
by a) and rounding every entry to the nearer of the two values that it can have comes to rest at one of them after a few
rounds, if there are enough neurons per sample: a wrong share ε of the entries is scattered by the projection over all m
rows, to about :math:`\sqrt{\varepsilon n / m}` in each. There is no enumeration, so that the number of samples is limited by
the rank of the inputs only.

Notes
-----
That many starts come to rest at all patterns is observed, not proved; what is found is judged as if it came from anywhere.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.batch import activation_patterns
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.column_space import ColumnSpace
from provable.recovery.batch.precision import precision
from provable.recovery.batch.two_valued import TwoValued
from provable.recovery.method import Method
from provable.recovery.result import Recovery

Float = NDArray[np.float64]
Bools = NDArray[np.bool_]

NAME = "alternating-projections"

STARTS_AT_ONCE = 256
BLOCKS = 24
"""Blocks of starts, at most; with enough neurons the first few find everything."""

ROUNDS = 60
"""Projections from one start, at most; most come to rest within ten."""

REST = 2.0**-10
"""A rounded vector this near to its projection, in every entry and relative to the gap between the two values, is in it."""

IDLE_BLOCKS = 8
"""So many blocks without a new pattern end the search."""


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
    # The same observations as those of which patterns are enumerated, however many samples there are.
    if (reason := activation_patterns.supports(dataclasses.replace(observation, batch_size=None))) is not None:
        return reason
    size, inputs = observation.batch_size, observation.architecture.input_size
    if size is not None and size > inputs + 1:
        return (
            f"the {size} samples are more than their {inputs} coordinates, so that their patterns are not singled out"
        )
    return None


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Recover a batch, or a training set.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws the starts, and the perturbations with which the condition of the network is measured.

    Returns
    -------
    Recovery
        As `provable.recovery.batch.activation_patterns` gives it.

    Raises
    ------
    UnsupportedError
        If the observation is not supported.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    chain = FullyConnected.of(observation)
    first = chain.first
    assert first.gradient is not None
    space = ColumnSpace.of(first.gradient, batch_size=observation.batch_size, precision=precision(observation))
    if not space.dimension:
        return nothing_found(observation, NAME, f"no sample is visible in layer {first.index}: its gradient is zero")
    if (reason := activation_patterns.too_many(observation, space.dimension)) is not None:
        return nothing_found(observation, NAME, reason)
    weight = first.weight
    if first.bias_gradient is not None and first.bias is not None:
        weight = np.column_stack([weight, first.bias])
    weights = activation_patterns.output_weights(chain)
    slope = activation_patterns.slope_of(first.activation)
    found = resting_patterns(space, weight, weights, slope, rng)
    if not len(found.large):
        return nothing_found(
            observation,
            NAME,
            f"projections onto the column space of the gradient of layer {first.index}, whose rank is {space.dimension}, "
            "come to rest at no activation pattern: too few neurons, dependent samples, or errors above rounding",
        )
    return activation_patterns.from_patterns(observation, space, found, method=NAME, rng=rng)


def resting_patterns(
    space: ColumnSpace, weight: Float, weights: Float, slope: float, rng: np.random.Generator
) -> TwoValued:
    """Project random patterns back and forth until they rest, and collect what is found.

    Parameters
    ----------
    space : ColumnSpace
        The column space, with coordinates R, of dimension n.
    weight : array of shape (m, k)
        The layer's weight, with the bias as last column if its gradient was observed; k columns as R has.
    weights : array of shape (m,)
        The output weights a.
    slope : float
        The smaller of the two slopes s, other than 1.
    rng : numpy.random.Generator
        Draws points in the row space, whose patterns are the starts.

    Returns
    -------
    TwoValued
        The patterns found, those with more independent columns than n among them; undecided rows are those with output
        weights that are negligible.
    """
    # Ten powers of two below the typical weight, rounding errors relative to the weight are a thousand times the typical.
    typical = np.median(np.abs(weights[weights != 0])) if np.any(weights) else 1.0
    decided = np.abs(weights) >= typical * 2.0**-10
    if not np.count_nonzero(decided) > space.dimension:
        return TwoValued(np.zeros((0, len(weights)), dtype=bool), decided)
    basis = scipy.linalg.orth(space.basis[decided] / weights[decided, None])
    rows = np.linalg.svd(space.coordinates, full_matrices=False)[2]
    patterns: dict[bytes, Bools] = {}
    independent = np.zeros((len(basis), 0))
    idle = 0
    for _ in range(BLOCKS):
        points = rng.standard_normal((STARTS_AT_ONCE, len(rows))) @ rows
        fresh = 0
        for pattern in _at_rest((points @ weight[decided].T > 0).T, basis, slope).T:
            if np.any(pattern) and (key := np.packbits(pattern).tobytes()) not in patterns:
                fresh += 1
                patterns[key] = pattern
                independent = _extended(independent, np.where(pattern, 1.0, slope))
        idle = 0 if fresh else idle + 1
        if independent.shape[1] >= space.dimension or idle >= IDLE_BLOCKS:
            break
    large = np.zeros((len(patterns), len(weights)), dtype=bool)
    if patterns:
        large[:, decided] = np.array(list(patterns.values()))
    return TwoValued(large, decided)


def _at_rest(active: Bools, basis: Float, slope: float) -> Bools:
    """The rounded vectors, one per column, that projections of the given ones lead to and that lie in the space."""
    moving, resting = active, []
    for _ in range(ROUNDS):
        values = np.where(moving, 1.0, slope)
        projected = basis @ (basis.T @ values)
        rounded = projected > (1 + slope) / 2
        still = np.all(rounded == moving, axis=0)
        error = np.max(np.abs(projected[:, still] - values[:, still]), axis=0, initial=0.0)
        resting.append(moving[:, still][:, error <= REST * abs(1 - slope)])
        moving = rounded[:, ~still]
        if not moving.shape[1]:
            break
    return np.concatenate(resting, axis=1)


def _extended(independent: Float, vector: Float) -> Float:
    """An orthonormal basis with one more direction, if the vector has any."""
    rest = vector / np.linalg.norm(vector)
    for _ in range(2):  # once more, for what rounding left
        rest = rest - independent @ (independent.T @ rest)
    length = np.linalg.norm(rest)
    return np.column_stack([independent, rest / length]) if length > 2.0**-30 else independent


METHOD = Method(NAME, supports, recover)
