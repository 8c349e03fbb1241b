r"""A start for the maximum of the likelihood: random batches, refined until one explains a noisy gradient.

Notes
-----
If the gradient :math:`G = \Delta X^T` of a first linear layer is seen, and its B-th singular value stands above what noise
can do, the span of the batch is near that of the leading B right singular vectors V (noise of standard deviation σ has a
spectral norm of about :math:`\sigma(\sqrt{m} + \sqrt{d})`). Points x = V c are those of the network with first weight WV and
gradient GV, whose noise is again independent with standard deviation σ because V is orthonormal: B unknowns per point
instead of d. The best start found there is lifted and refined with all unknowns, since the span itself is only
approximate. Otherwise starts are drawn in the whole space.

Each start draws points uniformly on spheres, fits the coefficients, in which the problem is linear, and runs the method of
Levenberg and Marquardt; the first one that the test of `provable.recovery.batch.maximum_likelihood` accepts ends the search.
The truth is not used, and nothing guarantees that some start succeeds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Architecture, Flatten, Identity, Linear
from provable.errors import InputError
from provable.networks import Parameters
from provable.networks.embedding_derivative import MOST_UNKNOWNS
from provable.observations import Observation
from provable.recovery.batch.least_squares_problem import STEPS, LeastSquares, Mask
from provable.recovery.batch.maximum_likelihood import judged
from provable.recovery.batch.noisy_recovery import NoisyRecovery
from provable.recovery.batch.precision import precision

Float = NDArray[np.float64]

CLEARANCE = 2.0
"""The span is used if the last singular value is this many times the spectral norm that the noise has."""

FIRST_STEPS = 100
"""Most steps from one random start."""

LIFTED_STEPS = 30
"""Most steps with all unknowns from the best point of a span; from a good one, ten are enough."""

PROMISING = 100.0
"""A misfit within a noisy span is worth freeing the points if it is at most this many times that of the noise."""

_NORMS = (0.5, 1.5)


def from_random_starts(
    observation: Observation,
    samples: int,
    *,
    noise: float,
    mask: Mask | None = None,
    starts: int = 20,
    norm: float = 1.0,
    rng: int | np.random.Generator | None = None,
) -> NoisyRecovery:
    """Estimate a batch from a noisy gradient, from random starts.

    Parameters
    ----------
    observation : Observation
        Any observation.
    samples : int
        Number of samples B.
    noise : float
        Standard deviation σ >= 0 of each observed number.
    mask : mapping of str to array of bool, optional
        Which entries were observed, as for `maximum_likelihood`.
    starts : int, optional
        Most starts, at least one.
    norm : float, optional
        Typical norm of a sample; starts have between half and one and a half of it, or exactly 1 if the observation says
        that the inputs have norm 1.
    rng : int or numpy.random.Generator, optional
        Draws the starts.

    Returns
    -------
    NoisyRecovery
        The estimate with the smallest misfit. If its unknowns would be more than 4096, the one within the leading singular
        vectors, which the reason then says.

    Raises
    ------
    InputError
        If an argument does not fit the observation.
    UnsupportedError
        Beyond 4096 unknowns without a span to work in.
    """
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < 1:
        raise InputError(f"samples: found {str(samples)[:40]!r}; a positive integer is accepted")
    if isinstance(starts, bool) or not isinstance(starts, int) or starts < 1:
        raise InputError(f"starts: found {str(starts)[:40]!r}; a positive integer is accepted")
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise InputError(f"noise: found {str(noise)[:40]!r}; a nonnegative number is accepted")
    generator, sigma = np.random.default_rng(rng), float(noise)
    whole = LeastSquares.of(observation, mask)
    basis = leading_span(observation, samples, sigma, mask)
    inner = whole
    if basis is not None:
        reduced = in_span(observation, basis)
        names = dict(zip(observation.vector, reduced.vector, strict=True))
        # The span exists only if the first layer's gradient was seen completely, so its mask says nothing.
        first = f"{_first_linear(observation.architecture)}/weight"
        inside = {names[key]: seen for key, seen in (mask or {}).items() if key != first}
        inner = LeastSquares.of(reduced, inside, unit=whole.unit)
    # An exact gradient shows the span exactly; a noisy span cannot explain a gradient at noise level.
    free = basis is not None and sigma > 0
    size = samples * (observation.architecture.input_size + observation.architecture.output_size)
    lifted = free and size <= MOST_UNKNOWNS
    best: tuple[float, Float, Float] | None = None
    for _ in range(starts):
        points = _drawn(inner.observation, samples, norm, generator)
        points, coefficients, cost = inner.minimised(points, inner.fitted(points), noise=sigma, steps=FIRST_STEPS)
        if lifted and basis is not None:
            points = points @ basis.T
            if inner.explains(cost, sigma, PROMISING):
                points, coefficients, cost = whole.minimised(points, coefficients, noise=sigma, steps=LIFTED_STEPS)
        if best is None or cost < best[0]:
            best = cost, points, coefficients
        if (whole if lifted else inner).explains(cost, sigma):
            break
    assert best is not None
    _, points, coefficients = best
    last = whole if lifted else inner
    points, coefficients, _ = last.minimised(points, coefficients, noise=sigma, steps=STEPS)
    found = judged(last, points, coefficients, sigma)
    if basis is None or lifted:
        return found
    note = f"estimated within the leading singular vectors only, because {size} unknowns are too many" if free else ""
    reason = "; ".join(part for part in (found.reason, note) if part)
    return dataclasses.replace(found, points=whole.measure(points @ basis.T, coefficients).points, reason=reason)


def leading_span(observation: Observation, samples: int, noise: float, mask: Mask | None = None) -> Float | None:
    """Estimate the span of the batch from the gradient of the first linear layer.

    Parameters
    ----------
    observation : Observation
        What was observed.
    samples : int
        Number of samples B.
    noise : float
        σ.
    mask : mapping of str to array of bool, optional
        Which entries were observed.

    Returns
    -------
    array of shape (d, B) or None
        Orthonormal columns: the leading right singular vectors. None if another layer than ``flatten`` comes first, the
        gradient was not seen or not completely, B >= d, or noise hides the span.
    """
    index = _first_linear(observation.architecture)
    key = f"{index}/weight"
    if index is None or key not in observation.vector or (mask is not None and not np.all(mask.get(key, True))):
        return None
    gradient = observation.vector[key]
    rows, columns = gradient.shape
    if samples >= columns or samples > rows:
        return None
    _, values, vectors = np.linalg.svd(gradient, full_matrices=False)
    rounding = precision(observation) * float(np.max(np.abs(gradient), initial=0.0))
    floor = CLEARANCE * max(noise, 4 * rounding) * (math.sqrt(rows) + math.sqrt(columns))
    return vectors[:samples].T if values[samples - 1] > floor else None


def in_span(observation: Observation, basis: Float) -> Observation:
    """Rewrite an observation for inputs x = V c.

    Parameters
    ----------
    observation : Observation
        One whose first linear layer has only ``flatten`` and ``identity`` in front.
    basis : array of shape (d, p)
        V, with orthonormal columns.

    Returns
    -------
    Observation
        Of the network with p inputs, first weight W V and, if it was observed, gradient G V. Norms of c are those of x.
    """
    architecture = observation.architecture
    index = _first_linear(architecture)
    key = f"{index}/weight"
    smaller = Architecture(
        f"{architecture.name}-span", (basis.shape[1],), architecture.layers[index:], architecture.loss
    )

    def cut(pieces: Mapping[str, Float]) -> dict[str, Float]:
        renamed = {}
        for name, piece in pieces.items():
            layer, _, rest = name.partition("/")
            head, dot, tail = layer.partition(".")
            renamed[f"{int(head) - (index or 0)}{dot}{tail}/{rest}"] = piece @ basis if name == key else piece
        return renamed

    return dataclasses.replace(
        observation,
        architecture=smaller,
        parameters=Parameters(smaller, cut(observation.parameters)),
        vector=cut(observation.vector),
    )


def _first_linear(architecture: Architecture) -> int | None:
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Linear):
            return index
        if not isinstance(layer, Flatten | Identity):
            return None
    return None


def _drawn(observation: Observation, samples: int, norm: float, generator: np.random.Generator) -> Float:
    directions = generator.standard_normal((samples, observation.architecture.input_size))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    if observation.unit_norm:
        return directions
    return np.asarray(norm * generator.uniform(*_NORMS, (samples, 1)) * directions)
