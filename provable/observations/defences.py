r"""What defended clients send: observations with noise, clipped, pruned, or summed over clients.

Notes
-----
Each defence acts on an observation v = Φ_θ μ and leaves an ordinary observation, whose kind stays that of v.

- `with_gaussian_noise`: v + σε on every observed number.
- `clipped`: v min(1, C / ‖v‖). One factor multiplies all coefficients of μ and no point moves: an attack on v recovers
  the points as before. Labels that are computed from residuals are wrong then, because the factor is not known.
- `clipped_per_sample`: the sum of clipped gradients of the samples, as in DP-SGD; coefficient by coefficient a factor.
- `pruned`: the entries of v that are not among the largest are set to zero. The zeros are visible, so the rows that they
  belong to are equations that are not observed (`kept_entries`), not equations that say zero.
- `aggregated`: secure aggregation. The sum of K clients' gradients at the same θ is the gradient of the union of their
  batches; nothing says which sample is whose.

`provable.observations.dropout` and `provable.observations.local_training` have the two that change the network or the
number of steps. Where several are combined, clipping comes first and noise second.

References
----------
M. Abadi et al., Deep learning with differential privacy, 2016, Algorithm 1 (clipping per sample, noise);
K. Bonawitz et al., Practical secure aggregation, 2017.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.errors import InputError
from provable.networks import Parameters
from provable.observations.labels import check_labels
from provable.observations.observation import Observation


def with_gaussian_noise(
    observation: Observation, noise: float, *, rng: int | np.random.Generator | None = None
) -> Observation:
    """Add independent Gaussian noise to every observed number.

    Parameters
    ----------
    observation : Observation
        Any but a stationary point.
    noise : float
        Standard deviation σ >= 0, in the unit of the gradient. DP-SGD's noise multiplier z with clipping norm C is
        σ = z C.
    rng : int or numpy.random.Generator, optional
        Source of the noise.

    Returns
    -------
    Observation
        The same with other numbers.

    Raises
    ------
    InputError
        If the noise is no nonnegative number or the observation has no vector.
    """
    _check_vector(observation)
    sigma = _number("noise", noise, lowest=0.0)
    generator = np.random.default_rng(rng)
    noisy = {key: piece + sigma * generator.standard_normal(piece.shape) for key, piece in observation.vector.items()}
    return dataclasses.replace(observation, vector=noisy)


def clipped(observation: Observation, bound: float) -> Observation:
    """Scale the observation to a Euclidean norm of at most a bound.

    Parameters
    ----------
    observation : Observation
        Any but a stationary point; the norm is that of all observed pieces together.
    bound : float
        C > 0.

    Returns
    -------
    Observation
        v min(1, C / ‖v‖). Known labels stay; those that an attack computes from the residuals are off by the factor.

    Raises
    ------
    InputError
        If the bound is not positive or the observation has no vector.
    """
    _check_vector(observation)
    factor = _clipping_factor(list(observation.vector.values()), _positive("bound", bound))
    return dataclasses.replace(observation, vector={key: factor * piece for key, piece in observation.vector.items()})


def clipped_per_sample(
    architecture: Architecture,
    parameters: Parameters,
    inputs: ArrayLike,
    labels: ArrayLike,
    bound: float,
    *,
    noise: float = 0.0,
    reduction: str = "sum",
    rng: int | np.random.Generator | None = None,
) -> Observation:
    r"""Sum the clipped gradients of the samples and add noise: one step of DP-SGD.

    Parameters
    ----------
    architecture : Architecture
        The network and its loss.
    parameters : Parameters
        θ.
    inputs : array of shape (n, *input_shape)
        The batch.
    labels : array of shape (n,) or (n, C)
        Its labels.
    bound : float
        C > 0, the largest norm of a sample's gradient over all parameters.
    noise : float, optional
        Standard deviation σ of the noise on every number of the sum (before it is divided by n for the mean).
    reduction : {"sum", "mean"}, optional
        Whether the sum is divided by n.
    rng : int or numpy.random.Generator, optional
        Source of the noise.

    Returns
    -------
    Observation
        Of kind ``"gradient"``: :math:`\sum_i s_i r_i \nabla f(x_i) + \sigma\varepsilon` with
        :math:`s_i = \min(1, C / \|r_i \nabla f(x_i)\|)`. The points are those of the batch; a coefficient
        :math:`c_i` with :math:`|c_i| \|\nabla f(x_i)\| = C` was clipped, and then says the sign of :math:`r_i` alone.

    Raises
    ------
    InputError
        If an argument does not fit; the message names it.
    """
    limit, sigma = _positive("bound", bound), _number("noise", noise, lowest=0.0)
    points = np.asarray(inputs, dtype=np.float64)
    whole = Observation.from_data(architecture, parameters, points, labels, reduction=reduction)
    checked = check_labels(architecture, np.asarray(labels), len(points))
    total = {key: np.zeros(piece.shape) for key, piece in whole.vector.items()}
    for index in range(len(points)):
        one = slice(index, index + 1)
        single = Observation.from_data(architecture, parameters, points[one], checked[one]).vector
        factor = _clipping_factor(list(single.values()), limit)
        for key, piece in single.items():
            total[key] += factor * piece
    divisor = len(points) if reduction == "mean" else 1
    generator = np.random.default_rng(rng)
    sent = {key: (piece + sigma * generator.standard_normal(piece.shape)) / divisor for key, piece in total.items()}
    return dataclasses.replace(whole, vector=sent)


def pruned(observation: Observation, kept: float) -> Observation:
    """Set all but the largest entries to zero.

    Parameters
    ----------
    observation : Observation
        Any but a stationary point.
    kept : float
        Share of the observed numbers that stays, in (0, 1]; at least one number does. Of equal magnitudes, those that
        come first in the architecture's order stay.

    Returns
    -------
    Observation
        The same with zeros in place of the smaller entries.

    Raises
    ------
    InputError
        If the share is not in (0, 1] or the observation has no vector.
    """
    _check_vector(observation)
    share = _number("kept", kept, lowest=0.0, highest=1.0)
    if share == 0.0:
        raise InputError("kept: found 0.0; a share in (0, 1] is accepted")
    pieces = observation.vector
    magnitudes = np.concatenate([abs(piece).reshape(-1) for piece in pieces.values()])
    count = max(1, round(share * len(magnitudes)))
    chosen = np.zeros(len(magnitudes), dtype=np.bool_)
    chosen[np.argsort(-magnitudes, kind="stable")[:count]] = True
    sparse, start = {}, 0
    for key, piece in pieces.items():
        stop = start + piece.size
        sparse[key] = np.where(chosen[start:stop].reshape(piece.shape), piece, 0.0)
        start = stop
    return dataclasses.replace(observation, vector=sparse)


def kept_entries(observation: Observation) -> dict[str, NDArray[np.bool_]]:
    """Tell which entries of a pruned observation are observed: those that are not exactly zero.

    Parameters
    ----------
    observation : Observation
        Any; noise has to be added before pruning, otherwise no zero is left.

    Returns
    -------
    dict of str to ndarray of bool
        One array for each observed piece.
    """
    return {key: np.asarray(piece != 0.0) for key, piece in observation.vector.items()}


def aggregated(observations: Sequence[Observation]) -> Observation:
    """Add up the observations of several clients with the same parameters: secure aggregation.

    Parameters
    ----------
    observations : sequence of Observation
        One for each client, alike in kind, architecture, parameters, reduction and observed pieces.

    Returns
    -------
    Observation
        Of the union of the batches: the sum, for the reduction ``"mean"`` weighted by the batch sizes; its batch size
        is their sum, its labels follow each other, and it is of unit norm if all are; unknown if unknown for a client.

    Raises
    ------
    InputError
        If there is none, they do not fit together, or means are to be added whose batch sizes are not known.
    """
    if not observations:
        raise InputError("observations: found none; one or more are accepted")
    first = observations[0]
    for position, other in enumerate(observations):
        _check_vector(other)
        for name in ("kind", "reduction"):
            if getattr(other, name) != getattr(first, name):
                raise InputError(
                    f"observations: number {position} has {name} {getattr(other, name)}; {getattr(first, name)} is accepted"
                )
        if other.parameters != first.parameters:
            raise InputError(f"observations: number {position} has other parameters than the first")
        if set(other.vector) != set(first.vector):
            raise InputError(f"observations: number {position} has other pieces than the first")
    sizes = [observation.batch_size for observation in observations]
    total = sum(size for size in sizes if size is not None) if None not in sizes else None
    shares: list[float] = [1.0] * len(sizes)
    if first.reduction == "mean":
        if total is None:
            raise InputError("batch_size: is not known for some observation of a mean; means are weighted by it")
        shares = [float(size or 0) / total for size in sizes]
    vector = {
        key: np.sum([share * other.vector[key] for share, other in zip(shares, observations, strict=True)], axis=0)
        for key in first.vector
    }
    labels = [observation.labels for observation in observations]
    joined: NDArray[Any] | None = None
    if all(part is not None for part in labels):
        joined = np.concatenate([part for part in labels if part is not None])
    norms = [observation.unit_norm for observation in observations]
    return dataclasses.replace(
        first, vector=vector, batch_size=total, labels=joined, unit_norm=True if all(norms) else None
    )


def _check_vector(observation: Observation) -> None:
    if observation.kind == "stationary-point":
        raise InputError(f"kind: found {observation.kind}; an observation with a vector is accepted")


def _clipping_factor(pieces: list[Float], bound: float) -> float:
    norm = math.hypot(*(float(np.linalg.norm(piece)) for piece in pieces))
    return bound / norm if norm > bound else 1.0


def _number(name: str, value: float, *, lowest: float, highest: float = math.inf) -> float:
    real = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not real or not lowest <= value <= highest or not math.isfinite(value):
        accepted = f"a number from {lowest:g}" + (f" to {highest:g}" if math.isfinite(highest) else "")
        raise InputError(f"{name}: found {str(value)[:40]!r}; {accepted} is accepted")
    return float(value)


def _positive(name: str, value: float) -> float:
    number = _number(name, value, lowest=0.0)
    if number == 0.0:
        raise InputError(f"{name}: found 0.0; a positive number is accepted")
    return number
