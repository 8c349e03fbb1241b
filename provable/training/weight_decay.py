r"""What weight decay adds to a change of parameters, found without knowing the training, and taken away again.

Notes
-----
Gradient descent with weight decay toward zero, momentum or not, leaves in the first linear layer, with bias as last column,

.. math:: W_t - W_0 = A X + (\beta_t - 1) W_0,

X the extended samples (x_i, 1) as rows and β_t the same number in all layers: of the linearised network and of the
network itself, at any width, because every gradient of that layer is a matrix times X (loo2024.weight_decay_is_readable).
Let W_0 have independent columns, d of them, and let the samples span r < d dimensions. Then

.. math:: M = W_0^+ (W_t - W_0) = (W_0^+ A) X + (\beta_t - 1) I

has the eigenvalue :math:`\beta_t - 1` at least d - r times, and generically the others are simple. So an observer of
θ_0 and θ_t reads β_t off the eigenvalues, whatever the rate, the decay and the number of steps were.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from provable.architectures import Flatten, Identity, Linear
from provable.arithmetic import EPSILON, Float
from provable.errors import InputError, UnsupportedError
from provable.observations import Observation


@dataclass(frozen=True)
class InitialShare:
    """The multiple of θ_0 in a change of parameters.

    Attributes
    ----------
    share : float
        β - 1: zero without weight decay, -1 if nothing is left of θ_0.
    multiplicity : int
        How many eigenvalues agree on it, at least 2.
    dimension : int
        Number r of dimensions that the samples span, extended by 1 if the first layer has a bias: their number, if it
        is smaller than that of the inputs and they are independent.
    """

    share: float
    multiplicity: int
    dimension: int


def initial_share(observation: Observation) -> InitialShare | None:
    """Find the multiple of θ_0 in a change of parameters from the first layer alone.

    Parameters
    ----------
    observation : Observation
        Of kind ``"parameter-change"``, with the first linear layer's pieces.

    Returns
    -------
    InitialShare or None
        None if fewer than two eigenvalues agree: the samples span all dimensions of the inputs but one or all, or another
        optimiser than descent was used.

    Raises
    ------
    InputError
        If the observation is of another kind or has no such pieces.
    UnsupportedError
        If the first layer is not linear, has fewer units than inputs, or its initial weights have dependent columns.

    Notes
    -----
    Rounding moves an eigenvalue of a group by about ε times the condition of W_0 and of the eigenvectors; other
    eigenvalues lie as far apart as their size. Eigenvalues within √ε of the largest count as equal, and their mean is
    returned.
    """
    if observation.kind != "parameter-change":
        raise InputError(f"kind: found {observation.kind}; a parameter-change is accepted")
    start, moved = _first_layer(observation)
    columns = start.shape[1]
    matrix, _, rank, _ = np.linalg.lstsq(start, moved, rcond=8 * max(start.shape) * EPSILON)
    if rank < columns:
        raise UnsupportedError(
            f"parameters: the first layer has rank {rank}; finding the share of θ_0 needs {columns} independent columns"
        )
    values = np.linalg.eigvals(matrix)
    size = float(np.max(np.abs(values), initial=0.0))
    near = np.abs(values[:, None] - values[None, :]) <= np.sqrt(EPSILON) * size
    counts = near.sum(axis=1)
    best = int(np.argmax(counts))
    multiplicity = int(counts[best])
    share = complex(values[near[best]].mean())
    if multiplicity < 2 or abs(share.imag) > np.sqrt(EPSILON) * size:
        return None
    return InitialShare(share.real, multiplicity, columns - multiplicity)


def without_initial_share(observation: Observation, share: float) -> Observation:
    """Take a multiple of θ_0 away from a change of parameters.

    Parameters
    ----------
    observation : Observation
        Of kind ``"parameter-change"``.
    share : float
        β - 1, from `initial_share` or from the rate, the decay and the number of steps: (1 - ηw)ᵗ - 1.

    Returns
    -------
    Observation
        The rest of the change, with the same θ_0: after linearised descent an exact tangent embedding of the samples.

    Raises
    ------
    InputError
        If the observation is of another kind.
    """
    if observation.kind != "parameter-change":
        raise InputError(f"kind: found {observation.kind}; a parameter-change is accepted")
    parameters = observation.parameters
    return dataclasses.replace(
        observation, vector={name: piece - share * parameters[name] for name, piece in observation.vector.items()}
    )


def _first_layer(observation: Observation) -> tuple[Float, Float]:
    layers = observation.architecture.layers
    index = next((place for place, layer in enumerate(layers) if not isinstance(layer, Flatten | Identity)), 0)
    layer = layers[index]
    if not isinstance(layer, Linear):
        raise UnsupportedError(f"layer {index} ({layer.type}): finding the share of θ_0 needs a linear first layer")
    names = [f"{index}/weight"] + ([f"{index}/bias"] if layer.bias else [])
    for name in names:
        if name not in observation.vector:
            raise InputError(f"vector/{name}: is absent; finding the share of θ_0 needs the first layer's pieces")
    start, moved = (
        np.concatenate([np.asarray(pieces[name]).reshape(layer.out_features, -1) for name in names], axis=1)
        for pieces in (observation.parameters, observation.vector)
    )
    if len(start) < start.shape[1]:
        raise UnsupportedError(
            f"layer {index} (linear): has {len(start)} units; finding the share of θ_0 needs {start.shape[1]} or more, "
            "one for each input and the bias"
        )
    return start, moved
