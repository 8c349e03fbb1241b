r"""The acceptance test of one recovered sample: does it explain the observation up to rounding?

A sample x with coefficients c explains v if :math:`\|\Phi_\theta(x, c) - v\| / \|v\| \le 30 k \varepsilon \kappa`, where k is
the largest number of entries of a layer's input or output and κ ≥ 1 the relative change of :math:`\Phi_\theta(x, c)` per
relative change of θ, x and c, measured at the solution.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Linear
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed, losses, tangents
from provable.observations import Observation
from provable.recovery.result import Recovery

Float = NDArray[np.float64]
Pieces = Mapping[str, Float]

RATIO = 30.0
"""An error may be this multiple of k·ε·κ."""

LARGEST_TOLERANCE = 2.0**-20
"""No residual above this counts as rounding, however ill-conditioned the network."""

_MEMORY_LIMIT = 2**30


def rounding_tolerance(observation: Observation, condition: float, *, atoms: int = 1, unit: float = EPSILON) -> float:
    """Give the largest relative residual that counts as rounding.

    Parameters
    ----------
    observation : Observation
        Gives the sizes of the layers.
    condition : float
        κ, as `conditions` measures it.
    atoms : int, optional
        Number of samples; k if it is above the longest layer.
    unit : float, optional
        ε, the unit of rounding of the observation.

    Returns
    -------
    float
        30 k ε κ, at most `LARGEST_TOLERANCE` or, where numbers are coarser than float64, at most √ε.
    """
    bound = RATIO * max(longest(observation), atoms) * unit * condition
    return min(bound, LARGEST_TOLERANCE if unit <= EPSILON else math.sqrt(unit))


def longest(observation: Observation) -> int:
    """Give the largest number of entries of a layer's input or output.

    Parameters
    ----------
    observation : Observation
        Gives the architecture.

    Returns
    -------
    int
        k of the tolerance.
    """
    return max(math.prod(shape) for shape in observation.architecture.shapes)


def fitted_coefficients(observation: Observation, inputs: Float, method: str) -> tuple[Float, int]:
    """Find the coefficients of one known sample.

    Parameters
    ----------
    observation : Observation
        What was observed.
    inputs : array of shape (1, *input_shape)
        The sample.
    method : str
        Name of the method, for error messages.

    Returns
    -------
    coefficients : array of shape (1, C)
        The gradient of the last layer's bias if it was observed, otherwise the least-squares fit of all observed pieces;
        not finite if the network overflows.
    open_directions : int
        How many directions of the coefficients the observed pieces leave open.

    Raises
    ------
    UnsupportedError
        If the fit would need more than 1 GiB.
    """
    architecture = observation.architecture
    last = len(architecture.layers) - 1
    if isinstance(architecture.layers[last], Linear) and f"{last}/bias" in observation.vector:
        return observation.vector[f"{last}/bias"].reshape(1, -1), 0
    size = architecture.output_size * architecture.parameter_count
    if 8 * size > _MEMORY_LIMIT:
        raise UnsupportedError(
            f"method {method}: the gradients of {architecture.output_size} outputs by {architecture.parameter_count} "
            f"parameters need {8 * size} bytes; at most {_MEMORY_LIMIT} are accepted unless the last layer's bias gradient "
            "is observed"
        )
    try:
        gradients = tangents(architecture, observation.parameters, inputs)[0]
    except InputError:  # a value inside is not finite
        return np.full((1, architecture.output_size), np.nan), 0
    columns, wanted, start = [], [], 0
    for key, shape in architecture.parameter_shapes.items():
        stop = start + math.prod(shape)
        if key in observation.vector:
            columns.append(gradients[:, start:stop])
            wanted.append(observation.vector[key].reshape(-1))
        start = stop
    matrix, right = np.concatenate(columns, axis=1).T, np.concatenate(wanted)
    if not (np.all(np.isfinite(matrix)) and np.any(matrix)):
        return np.full((1, architecture.output_size), np.nan), 0
    power = power_of_two(right)
    solution, _, rank, _ = np.linalg.lstsq(matrix, np.ldexp(right, -power), rcond=8 * max(matrix.shape) * EPSILON)
    return np.ldexp(solution, power).reshape(1, -1), architecture.output_size - int(rank)


def explaining_labels(
    observation: Observation, outputs: Float, coefficients: Float, tolerance: float
) -> NDArray[Any] | None:
    """Find the labels under which the losses of samples have given coefficients.

    Parameters
    ----------
    observation : Observation
        Gives the loss.
    outputs : array of shape (n, C)
        The network's outputs f at the samples.
    coefficients : array of shape (n, C)
        c, to be explained as ∂ℓ/∂f.
    tolerance : float
        Error accepted, relative to the larger of 1 and the largest output.

    Returns
    -------
    array of shape (n,) or (n, C), or None
        The labels, or None if a sample has none.
    """
    loss = observation.architecture.loss
    if loss == "squared":
        return outputs - coefficients
    if loss == "logistic":
        labels: NDArray[Any] = -np.sign(coefficients[:, 0])
        if not np.all(labels):
            return None
    else:
        labels = np.argmin(coefficients, axis=1)
    expected = losses.residual(loss, outputs, labels)
    error = float(np.max(np.abs(expected - coefficients)))
    return labels if error <= tolerance * max(1.0, float(np.max(np.abs(outputs)))) else None


def labels_agree(labels: NDArray[Any], known: NDArray[Any], tolerance: float) -> bool:
    """Compare labels found with labels known.

    Parameters
    ----------
    labels, known : array of equal shapes
        Found and known ones.
    tolerance : float
        Difference accepted, relative to the larger of 1 and the largest known one.

    Returns
    -------
    bool
        Whether they agree.
    """
    return bool(np.all(np.abs(labels - known) <= tolerance * max(1.0, float(np.max(np.abs(known))))))


def conditions(
    observation: Observation, inputs: Float, coefficients: Float, image: Parameters, rng: np.random.Generator
) -> tuple[float, dict[str, float]]:
    """Measure the condition of the embedding at a measure.

    Parameters
    ----------
    observation : Observation
        Gives θ and the observed pieces.
    inputs : array of shape (n, *input_shape)
        The samples.
    coefficients : array of shape (n, C)
        Their coefficients.
    image : Parameters
        The embedding of both.
    rng : numpy.random.Generator
        Draws the signs of the perturbations.

    Returns
    -------
    overall : float
        κ ≥ 1, the relative change of the observed pieces together per relative change of everything they are computed from.
    pieces : dict of str to float
        The same for each piece alone.
    """
    # Far above rounding, yet so small that next to no kink of a piecewise linear activation lies within.
    step = 2.0**-40

    def shaken(array: Float) -> Float:
        moved = array * (1 + step * rng.choice([-1.0, 1.0], size=array.shape))
        return np.clip(moved, -np.finfo(np.float64).max, np.finfo(np.float64).max)

    overall, pieces = 1.0, dict.fromkeys(observation.vector, 1.0)
    for _ in range(2):
        parameters = Parameters(
            observation.architecture, {key: shaken(array) for key, array in observation.parameters.items()}
        )
        try:
            moved = embed(observation.architecture, parameters, Measure(shaken(inputs), shaken(coefficients)))
        except InputError:  # the network overflows next to the solution; nothing is known of its condition
            continue
        change = relative_misfit(moved, {key: image[key] for key in observation.vector})
        overall = max(overall, change / step if math.isfinite(change) else 1.0)
        for key in pieces:
            change = relative_misfit(moved, {key: image[key]})
            pieces[key] = max(pieces[key], change / step if math.isfinite(change) else 1.0)
    return overall, pieces


def relative_misfit(image: Pieces, vector: Pieces) -> float:
    """Compare an embedding with an observation.

    Parameters
    ----------
    image : mapping of str to array
        The embedding, all pieces of `vector` at least.
    vector : mapping of str to array
        What was observed.

    Returns
    -------
    float
        Norm of the difference on the pieces of `vector`, relative to the norm of `vector`.
    """
    power = power_of_two(*vector.values())
    difference = norm_of([np.ldexp(image[key], -power) - np.ldexp(vector[key], -power) for key in vector])
    size = norm_of([np.ldexp(piece, -power) for piece in vector.values()])
    if size == 0:
        return 0.0 if difference == 0 else math.inf
    return difference / size


def power_of_two(*arrays: Float) -> int:
    """Give the exponent of the power of two just above the largest magnitude.

    Parameters
    ----------
    *arrays : array
        Any numbers.

    Returns
    -------
    int
        0 if all are zero.
    """
    return math.frexp(max(float(np.max(np.abs(array), initial=0.0)) for array in arrays))[1]


def norm_of(arrays: Iterable[Float]) -> float:
    """Give the Euclidean norm of several arrays together.

    Parameters
    ----------
    arrays : iterable of array
        Any shapes.

    Returns
    -------
    float
        The norm.
    """
    return math.sqrt(sum(float(np.vdot(array, array)) for array in arrays))


def nothing_found(observation: Observation, method: str, reason: str) -> Recovery:
    """Give the recovery of a method that has no point to show.

    Parameters
    ----------
    observation : Observation
        What was observed.
    method : str
        The method's name; empty if there is none.
    reason : str
        Why there is no point.

    Returns
    -------
    Recovery
        Without atoms, and with status ``failed``.
    """
    architecture = observation.architecture
    return Recovery(
        points=np.empty((0, *architecture.input_shape)),
        coefficients=np.empty((0, architecture.output_size)),
        labels=None,
        residual=1.0 if any(np.any(piece) for piece in observation.vector.values()) else 0.0,
        method=method,
        fibre=(),
        status="failed",
        reason=reason,
    )
