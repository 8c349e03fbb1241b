r"""A batch behind one hidden layer of ReLUs or leaky ReLUs, by listing every activation pattern in the column space.

If the sensitivity of a sample's hidden units is known up to one factor, as it is for a single output
(:math:`f = a \cdot \sigma(Wx + b)`) and for two classes under cross-entropy (a the difference of two rows), then the layer's
gradient is :math:`G = \mathrm{diag}(a)\, S\, \mathrm{diag}(r)\, \tilde X` with :math:`S_{ji} = \sigma'(z_{ji}) \in
\{s, 1\}`, s = 0 for ReLU. If it has rank B, its column space contains the vector :math:`a \circ S_{\cdot i}` of every
sample, and these are among its two-valued vectors, which `provable.recovery.batch.two_valued` lists completely. They are
exact: no rounding error is left in a pattern, and the samples follow by linear least squares.

Notes
-----
The two-valued vectors of the space may be more than the samples' (for two samples that share no active unit the sum is
two-valued as well). Then those are chosen whose samples have the patterns that they came from. Samples of equal patterns
leave a gradient that one sample in the same cell explains (if their weighted mean is in it), duplicates leave that of one
sample, and samples with :math:`r_i = 0` or without active unit leave nothing: then the rank is less than the size of the
batch, and the answer says so.

References
----------
M. Slawski, M. Hein, P. Lutsik, Matrix factorization with binary components, NIPS 2013, for finding two-valued vectors in a
subspace; the rest is derived in ``proofs/dimitrov2024/two_valued_columns.py``.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Identity, LeakyReLU, ReLU
from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.batch.chain import FullyConnected, reason_against
from provable.recovery.batch.column_space import ColumnSpace
from provable.recovery.batch.disaggregation import Directions, Disaggregation
from provable.recovery.batch.judgement import judge
from provable.recovery.batch.precision import precision
from provable.recovery.batch.two_valued import LARGEST_DIMENSION, TwoValued, two_valued_vectors
from provable.recovery.method import Method
from provable.recovery.result import Recovery

Float: TypeAlias = NDArray[np.float64]

NAME = "activation-patterns"

MOST_PATTERNS = 64
"""Patterns per sample among which a choice is searched; wide layers leave one."""


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
    if (reason := reason_against(observation) or reason_against_first_layer(observation)) is not None:
        return reason
    chain = FullyConnected.of(observation)
    if len(chain.layers) < 2 or any(not isinstance(layer.activation, Identity) for layer in chain.layers[1:-1]):
        return "it needs exactly one layer of hidden units"
    if scale_is_open(observation) and any(layer.bias_gradient is not None for layer in chain.layers):
        return (
            f"layer {chain.first.index} (linear) has no bias and the inputs are not known to have norm 1, so their lengths "
            "are open, while the bias gradient of a later layer, which depends on them, was observed"
        )
    outputs = observation.architecture.output_size
    if outputs != 1 and not (outputs == 2 and observation.architecture.loss == "cross_entropy"):
        return (
            f"the network has {outputs} outputs under the loss {observation.architecture.loss}; one output, or two under "
            "cross_entropy, are accepted"
        )
    if outputs == 2 and not isinstance(chain.last.activation, Identity):
        return f"an activation ({chain.last.activation.type}) comes after the two outputs"
    if observation.batch_size is not None and observation.batch_size > LARGEST_DIMENSION:
        return f"the batch has {observation.batch_size} samples; at most {LARGEST_DIMENSION} are accepted"
    return None


def reason_against_first_layer(observation: Observation) -> str | None:
    """Tell why the first layer of a chain shows no activity patterns.

    Parameters
    ----------
    observation : Observation
        The gradient of a fully connected network.

    Returns
    -------
    str or None
        None if it shows them and the scale of a sample is known or does not matter, otherwise what is missing.
    """
    chain = FullyConnected.of(observation)
    first = chain.first
    if not isinstance(first.activation, ReLU | LeakyReLU) or slope_of(first.activation) == 1.0:
        return f"the activation of layer {first.index} is {first.activation.type}; relu and leaky_relu are accepted"
    if first.weight_gradient is None:
        return f"the gradient of {first.index}/weight was not observed"
    if first.bias is not None and first.bias_gradient is None and not observation.unit_norm:
        return f"the gradient of {first.index}/bias was not observed, and the inputs are not known to have norm 1"
    return None


def slope_of(activation: object) -> float:
    """Give the slope of a piecewise linear activation left of zero.

    Parameters
    ----------
    activation : Activation
        ReLU or leaky ReLU.

    Returns
    -------
    float
        0 for ReLU.
    """
    return activation.negative_slope if isinstance(activation, LeakyReLU) else 0.0


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Recover the batch.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Handed to the judgement; the search itself has nothing random.

    Returns
    -------
    Recovery
        ``partial`` if some samples only are recovered, and the reason says what the others can be.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    chain = FullyConnected.of(observation)
    first = chain.first
    assert first.gradient is not None
    space = ColumnSpace.of(first.gradient, batch_size=observation.batch_size, precision=precision(observation))
    if not space.dimension:
        return nothing_found(observation, NAME, f"no sample is visible in layer {first.index}: its gradient is zero")
    if (reason := too_many(observation, space.dimension)) is not None:
        return nothing_found(observation, NAME, reason)
    slope, weights = slope_of(first.activation), output_weights(chain)
    try:
        found = two_valued_vectors(space.basis, weights, slope, error=space.error)
    except UnsupportedError as error:
        return nothing_found(observation, NAME, str(error))
    return from_patterns(observation, space, found, method=NAME, rng=rng)


def from_patterns(
    observation: Observation, space: ColumnSpace, found: TwoValued, *, method: str, rng: np.random.Generator
) -> Recovery:
    """Choose among activation patterns in the column space, and recover the samples that have them.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts, however many samples it has.
    space : ColumnSpace
        The column space of the first layer's gradient.
    found : TwoValued
        Patterns in it; those of all samples, and perhaps others.
    method : str
        Name of the method that found them.
    rng : numpy.random.Generator
        Draws the perturbations with which the condition of the network is measured.

    Returns
    -------
    Recovery
        As `recover` gives it.
    """
    chain = FullyConnected.of(observation)
    first = chain.first
    assert first.gradient is not None
    slope, weights = slope_of(first.activation), output_weights(chain)
    total, rank = len(found.large), space.dimension
    if total > MOST_PATTERNS * rank:
        return nothing_found(
            observation,
            method,
            f"{total} activation patterns lie in the column space of the gradient of layer {first.index}, whose rank is "
            f"{rank}; at most {MOST_PATTERNS * rank} are compared, and more neurons would exclude most",
        )
    # Most inputs activate about half of the neurons; the difference of two neighbours' patterns is no sample's.
    large = found.large[np.argsort(np.abs(np.mean(found.large[:, found.decided], axis=1) - 0.5), kind="stable")]
    columns, decided = np.where(large, 1.0, slope).T * weights[:, None], found.decided
    vectors = np.linalg.lstsq(space.basis[decided], columns[decided], rcond=None)[0]
    directions = Directions(np.asarray(vectors, dtype=np.float64), large.T, decided)
    disaggregation = Disaggregation(space, first, bool(observation.unit_norm))
    choice, agreement = disaggregation.best_choice(directions)
    if len(choice) < rank:
        return nothing_found(
            observation,
            method,
            f"the gradient of layer {first.index} has rank {rank}, and only {len(choice)} independent vectors of its column "
            "space are activation patterns, so either the samples are dependent (more than the input has dimensions, for "
            "instance) or the gradient has errors above rounding",
        )
    rows = np.linalg.lstsq(columns[np.ix_(decided, choice)], first.gradient[decided], rcond=None)[0]
    good = (agreement.shares == 1.0) & (agreement.factors != 0.0)
    if not np.any(good):
        return nothing_found(
            observation,
            method,
            f"no pattern in the gradient of layer {first.index} is that of the sample it would give",
        )
    if total > rank and not np.all(good):
        # A sample depends on all directions, so that none is to be trusted where some may have been chosen wrongly.
        return nothing_found(
            observation,
            method,
            f"{total} activation patterns lie in the column space of the gradient of layer {first.index}, whose rank is "
            f"{rank}, and of no choice that was found do all agree with the samples it would give",
        )
    points, factors = disaggregation.samples(rows[good], agreement.factors[good])
    if not np.all(np.isfinite(points)):
        return nothing_found(
            observation,
            method,
            f"a choice of patterns of layer {first.index} gives a sample that the bias has no weight for",
        )
    recovery = judge(
        observation,
        points.reshape(-1, *observation.architecture.input_shape),
        _coefficients(observation, chain, factors),
        method=method,
        rng=rng,
        symmetries=("positive-scaling",) if scale_is_open(observation) else (),
        reason=shortfall(observation, rank, int(np.count_nonzero(good))),
        incomplete=not np.all(good),
    )
    return not_whole(observation, recovery)


def output_weights(chain: FullyConnected) -> Float:
    """Give the weights a with which hidden units enter the output, or the difference of the two outputs.

    Parameters
    ----------
    chain : FullyConnected
        A network with one layer of hidden units.

    Returns
    -------
    array of shape (m,)
        a, to which the sensitivities of the hidden units are proportional.
    """
    product = chain.last.weight
    for layer in chain.layers[-2:0:-1]:
        product = product @ layer.weight
    weights: Float = product[0] if len(product) == 1 else product[0] - product[1]
    return weights


def _coefficients(observation: Observation, chain: FullyConnected, factors: Float) -> Float | None:
    """The derivatives by the outputs; None, to be fitted, if an activation comes after them."""
    if not isinstance(chain.last.activation, Identity):
        return None
    if observation.architecture.output_size == 2:
        return np.column_stack([factors, -factors])
    return factors[:, None]


def scale_is_open(observation: Observation) -> bool:
    """Tell whether nothing observed of the first layer shows how long an input is.

    Parameters
    ----------
    observation : Observation
        The gradient of a fully connected network.

    Returns
    -------
    bool
        Whether the inputs are found up to positive factors.
    """
    return FullyConnected.of(observation).first.bias is None and not observation.unit_norm


def too_many(observation: Observation, rank: int) -> str | None:
    """Tell whether more samples are in a gradient than the observation says.

    Parameters
    ----------
    observation : Observation
        Says the number of samples, or not.
    rank : int
        Numerical rank of the first layer's gradient.

    Returns
    -------
    str or None
        None if not, otherwise what that can mean.
    """
    if observation.batch_size is None or rank <= observation.batch_size:
        return None
    return (
        f"the batch has {observation.batch_size} samples and the gradient of its first layer has numerical rank {rank}, so "
        "errors above rounding are in it"
    )


def not_whole(observation: Observation, recovery: Recovery) -> Recovery:
    """Call a recovery of fewer samples than the batch has partial, however well they explain the gradient.

    Parameters
    ----------
    observation : Observation
        Says the number of samples, or not.
    recovery : Recovery
        What was judged.

    Returns
    -------
    Recovery
        The same, or the same with the status ``partial`` instead of ``consistent``.
    """
    size = observation.batch_size
    if recovery.status != "consistent" or size is None or size <= len(recovery.points):
        return recovery
    return dataclasses.replace(recovery, status="partial")


def shortfall(observation: Observation, rank: int, good: int) -> str:
    """Say which samples are missing and what can be the cause.

    Parameters
    ----------
    observation : Observation
        Says the number of samples, or not.
    rank : int
        Rank of the first layer's gradient.
    good : int
        How many samples were found.

    Returns
    -------
    str
        Empty if there is nothing to say.
    """
    parts = []
    if observation.batch_size is not None and observation.batch_size > rank:
        parts.append(
            f"the batch has {observation.batch_size} samples and its gradient has rank {rank}: samples that are equal, "
            "have equal activation patterns, or have residuals near zero are not seen apart"
        )
    if good < rank:
        parts.append(
            f"{rank - good} of {rank} activation patterns are not those of the samples they would give, so they stand "
            "for several samples of one pattern each, or for errors above rounding"
        )
    return "; ".join(parts)


METHOD = Method(NAME, supports, recover)
