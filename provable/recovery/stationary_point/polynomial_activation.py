r"""The training data of a two-layer network with a polynomial activation, from its parameters at a stationary point.

The network is f(x) = Σ_k v_k φ(w_k·z) + β with φ(z) = Σ_m a_m z^m of degree p ≥ 3 and z = x, or z = (x, 1) with a bias in the
first layer. At a stationary point θ = Σ_i c_i ∇_θ f(x_i; θ) the polynomial P(w) = Σ_i c_i φ(w·z_i) obeys

.. math:: v_k = P(w_k), \qquad w_k = v_k \nabla P(w_k) \qquad \text{for every neuron } k,

so every neuron that differs from the others shows value and gradient of P at one more place. They are linear in the moments
T_m = Σ_i c_i z_i^{⊗m} (`provable.recovery.stationary_point.polynomial_moments`). If the linear system has full rank, T_p is
known, and for independent z_i it has one decomposition into so few terms: the data (theorem
``foundations.polynomial_map_determines_data``). If it is short, the samples themselves may still have fewer unknowns than
there are equations; then they are sought from random starts, and what is found is only shown to be isolated. If even that
count is short, other data explain the parameters as well, and the number of open directions is said.

Notes
-----
All neurons lie in the span of the z_i; everything is done in coordinates of the span of the neurons, which is that of the z_i
unless P is the same without what the neurons do not see. For a monomial, φ(z) = a z^p, Euler's identity makes the value
redundant, and (x, c) ~ (t x, c / t^p) is open, with t < 0 too: ``"positive-scaling:p"`` with ``"joint-sign"`` for odd and
``"point-sign"`` for even p. Degree two shows T_2 only, which other data share.

The mechanism is what is known of arXiv:2602.08723, whose text was not read; statement and proof are derived here.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Identity, Polynomial
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.batch.chain import FullyConnected, reason_against
from provable.recovery.batch.judgement import judge, stated_size
from provable.recovery.method import Method
from provable.recovery.result import Recovery
from provable.recovery.stationary_point.polynomial_decomposition import from_moments
from provable.recovery.stationary_point.polynomial_moments import MomentSolution
from provable.recovery.stationary_point.polynomial_neurons import SAME, SPAN_LEVEL, Neurons, trimmed
from provable.recovery.stationary_point.polynomial_starts import atoms_from_starts

Float = NDArray[np.float64]

NAME = "polynomial-neurons"

MOST_ENTRIES = 2**24
"""Most entries of the linear system (128 MiB), and of the tensor of the highest degree."""

STARTS = 200
"""Random starts for a number of samples that the linear system does not determine."""

MOST_DIFFERENT = 8
"""So many different sets of samples end a search."""


_DIFFERENT = "undetermined, for isolated sets of samples differ:"


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
    if observation.kind != "stationary-point":
        return f"it needs the parameters of a trained network, and the observation is of kind {observation.kind}"
    if (reason := reason_against(observation)) is not None:
        return reason
    chain = FullyConnected.of(observation)
    first = chain.first
    if len(chain.layers) != 2 or not isinstance(chain.last.activation, Identity):
        return "it needs exactly one layer of hidden units"
    if not isinstance(first.activation, Polynomial):
        return f"the activation of layer {first.index} is {first.activation.type}; polynomial is accepted"
    activation = trimmed(first.activation)
    if len(activation) < 4:
        return (
            f"the activation of layer {first.index} has degree {max(len(activation) - 1, 0)}; from 3 on the moments of that "
            "degree determine the samples"
        )
    if observation.architecture.output_size != 1:
        return f"the network has {observation.architecture.output_size} outputs; one is accepted"
    if first.bias is None and chain.last.bias is not None and np.count_nonzero(activation) == 1:
        return (
            f"the bias of layer {chain.last.index} shows a sum of coefficients, each of which is open up to a scale of its "
            "sample; it needs a first layer with a bias, a last one without, or an activation of several degrees"
        )
    return None


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Recover the training data.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws pencils, random starts, and the perturbations with which the condition of the network is measured.

    Returns
    -------
    Recovery
        ``consistent`` if the samples explain the parameters up to rounding. Where they are not determined, ``null-space:k``
        in the fibre or the reason says so, with the count of equations.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    with np.errstate(all="ignore"):  # an overflow shows as a number that is not finite, which no decomposition takes
        try:
            return _recovered(observation, rng)
        except np.linalg.LinAlgError:
            return nothing_found(observation, NAME, "powers of the parameters leave the range of float64")


def _recovered(observation: Observation, rng: np.random.Generator) -> Recovery:
    stated = stated_size(observation)
    neurons = Neurons.of(observation, stated)
    if neurons is None:
        return nothing_found(observation, NAME, "no neuron with a bias that is not zero is left, so nothing is shown")
    if (reason := _too_large(neurons)) is not None:
        return nothing_found(observation, NAME, reason)
    moments = neurons.moments()
    if moments.open_dimensions == 0:
        decomposed = from_moments(neurons, moments, rng)
        if not isinstance(decomposed, str):
            points, coefficients = decomposed
            found = judge(
                observation,
                neurons.lifted(points).reshape(-1, *observation.architecture.input_shape),
                coefficients[:, None],
                method=NAME,
                rng=rng,
                reason=_joined(counted(neurons, moments), _fewest(neurons, points, stated)),
            )
            if found.status == "consistent" and stated in (None, len(found.points)):
                return found
    if stated is not None:
        return from_starts(observation, neurons, stated, rng)
    span = neurons.system.dimension
    best: Recovery | None = None
    # one more than the equations can fix explains the parameters as well, and shows how much is open
    for size in range(span, max(span, moments.rank // neurons.freedoms) + 2):
        larger = Neurons.of(observation, size)
        assert larger is not None
        if (reason := _too_large(larger)) is not None:
            break
        found = from_starts(observation, larger, size, rng)
        if found.status == "consistent" or found.reason.startswith(_DIFFERENT):
            return found
        best = found if best is None or (len(found.points) and found.residual < best.residual) else best
    return best or nothing_found(observation, NAME, counted(neurons, moments))


def _too_large(neurons: Neurons) -> str | None:
    system = neurons.system
    rows = len(neurons.outer) * (1 + system.dimension)
    if max(rows * system.unknowns, system.dimension**system.degree) <= MOST_ENTRIES:
        return None
    return (
        f"the moments of degree {system.degree} in {system.dimension} dimensions are {system.unknowns} numbers, and there "
        f"are {rows} equations; at most {MOST_ENTRIES} entries are worked with"
    )


def counted(neurons: Neurons, moments: MomentSolution) -> str:
    """Say what the neurons determine.

    Parameters
    ----------
    neurons : Neurons
        The neurons.
    moments : MomentSolution
        What they say of the moments.

    Returns
    -------
    str
        One sentence with the numbers.
    """
    unknowns = neurons.system.unknowns
    sentence = (
        f"{_some(neurons.distinct, 'distinct neuron')} in {_some(neurons.system.dimension, 'dimension')} give "
        f"{_some(moments.rank, 'independent equation')} for the {_some(unknowns, 'moment')} of the activation's degrees"
    )
    if moments.open_dimensions == 0:
        return sentence
    missing = math.ceil(moments.open_dimensions / max(_equations_of_a_neuron(neurons), 1))
    return f"{sentence}, {moments.open_dimensions} too few (those of at least {_some(missing, 'more neuron')})"


def _fewest(neurons: Neurons, points: Float, stated: int | None) -> str:
    """What is unique about decomposed moments, if anything.

    Other measures with as few atoms have the same moments in the span of the neurons, so the same atoms as seen there. Parts
    e_i outside of it obey Σ_i c_i φ'(w_k·z_i) e_i = 0 for all k, so they vanish if the columns φ'(w_k·z_i) are independent.
    """
    slopes = np.polynomial.Polynomial(neurons.activation).deriv()(neurons.inner @ points.T)
    singular = np.linalg.svd(slopes / np.linalg.norm(slopes, axis=0), compute_uv=False)
    if len(slopes) < len(points) or not singular[-1] > SPAN_LEVEL * singular[0]:
        return ""
    sentence = f"no other {_some(len(points), 'sample')}, and no fewer, explain the parameters"
    return (
        sentence if stated is not None else f"{sentence}; how many there are is not stated, and more can explain them"
    )


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _equations_of_a_neuron(neurons: Neurons) -> int:
    """d for a monomial, by Euler's identity, otherwise d + 1."""
    return neurons.system.dimension + int(np.count_nonzero(neurons.activation) > 1)


def from_starts(observation: Observation, neurons: Neurons, size: int, rng: np.random.Generator) -> Recovery:
    """Seek samples that explain the parameters from random starts, where the moments are not determined or do not decompose.

    Parameters
    ----------
    observation : Observation
        The parameters.
    neurons : Neurons
        Their neurons.
    size : int
        Number of samples n.
    rng : numpy.random.Generator
        Draws the starts.

    Returns
    -------
    Recovery
        ``consistent`` if samples explain the parameters; with ``null-space:k`` in the fibre if they are not isolated, and
        ``failed``, with the samples, if different starts led to several sets of isolated samples.
    """
    moments = neurons.moments()
    unknowns = size * neurons.freedoms
    reason = f"{counted(neurons, moments)}; {_some(size, 'sample')} there have {_some(unknowns, 'unknown')}"
    if unknowns > moments.rank:
        reason = f"undetermined: {reason}"
    found: list[Recovery] = []
    seen: list[Measure] = []
    best: Recovery | None = None
    hits = 0
    for points, coefficients in atoms_from_starts(neurons.system, moments, size, STARTS, rng):
        measure = Measure(neurons.lifted(points), coefficients)
        if any(_same(neurons, measure, other) for other in seen):
            hits += 1
            continue
        judged = judge(
            observation,
            measure.points.reshape(-1, *observation.architecture.input_shape),
            coefficients[:, None],
            method=NAME,
            rng=rng,
            reason=reason,
        )
        best = judged if best is None or judged.residual < best.residual else best
        if judged.status != "consistent" or len(judged.points) != size:
            continue
        if unknowns > moments.rank or _is_open(judged):
            return judged
        seen.append(measure)
        found.append(judged)
        hits += 1
        if len(found) == MOST_DIFFERENT:
            break
    if found:
        return _several(found, hits)
    if best is None:
        return nothing_found(observation, NAME, f"{reason}; no start led to samples that explain the parameters")
    if best.status == "consistent":
        best = dataclasses.replace(best, status="failed", reason=f"undetermined: {best.reason}")
    return best


def _same(neurons: Neurons, measure: Measure, other: Measure) -> bool:
    """Whether two measures in the span are one, modulo what no neuron sees."""
    network = neurons.symmetries
    return measure.matching(other, fibre=("permutation", *network)).error <= SAME


def _several(found: list[Recovery], hits: int) -> Recovery:
    """One recovery, if all starts that ended at rounding found the same."""
    first = found[0]
    if len(found) == 1:
        agreement = (
            f"all {_some(hits, 'random start')} that converged agree, which does not exclude other samples far away"
        )
        return dataclasses.replace(first, reason=f"{first.reason}; {agreement}")
    return dataclasses.replace(
        first,
        status="failed",
        reason=f"{_DIFFERENT} {first.reason}; random starts found {len(found)} different sets of samples, each isolated, "
        "that all explain the parameters",
    )


def _some(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _is_open(recovery: Recovery) -> bool:
    return any(word.startswith("null-space:") for word in recovery.fibre)


METHOD = Method(NAME, supports, recover)
