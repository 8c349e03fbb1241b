r"""Dropout of hidden units, with one mask for the whole batch: the gradient of a smaller network.

Notes
-----
Dropout after an activation multiplies hidden unit j by :math:`s_j = \beta_j / (1 - p)` (by :math:`\beta_j` without the usual
rescaling), :math:`\beta_j \in \{0, 1\}`. The next linear layer A then works as A diag(s), and by the chain rule

.. math:: \partial L/\partial A = (\partial L'/\partial A') \operatorname{diag}(s),

where L' is the loss of the network with A' = A diag(s) and no dropout; the gradients of all other parameters are those
of L'. Everything that belongs to a dropped unit is exactly zero, which shows the mask. `surviving` turns the observation
into that of the network without the dropped units: nothing new has to be attacked, and a width of m becomes about
(1 - p) m.

This is for a mask shared by the batch. With a mask for every sample, unit j sees its own subset of the batch,
:math:`\partial L/\partial a_j = \sum_i s_{ij} r_i \sigma(w_j \cdot x_i)`: zeros do not show the masks, and an attack has
to find n m bits as well. That is another model, and nothing here is about it.

References
----------
N. Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, 2014.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.architectures import Activation, Architecture, Linear
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters
from provable.observations.observation import Observation


def with_dropout(
    architecture: Architecture,
    parameters: Parameters,
    inputs: ArrayLike,
    labels: ArrayLike,
    probability: float,
    *,
    layer: int | None = None,
    rescaled: bool = True,
    reduction: str = "sum",
    rng: int | np.random.Generator | None = None,
) -> Observation:
    """Compute the gradient of a batch with dropout of hidden units, one mask for all samples.

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
    probability : float
        p in [0, 1): each unit is dropped with this probability. If all would be, one stays.
    layer : int, optional
        Index of the linear layer whose units are dropped (behind its activation); the first linear one by default.
    rescaled : bool, optional
        Whether surviving units are multiplied by 1 / (1 - p), as is usual.
    reduction : {"sum", "mean"}, optional
        As for `Observation.from_data`.
    rng : int or numpy.random.Generator, optional
        Draws the mask.

    Returns
    -------
    Observation
        Of kind ``"gradient"``, at the undropped parameters; what belongs to dropped units is exactly zero.

    Raises
    ------
    InputError
        If the probability, the layer or the data do not fit.
    UnsupportedError
        If the layer is not followed by an activation and a linear layer.
    """
    drop = _probability(probability)
    first = _dropped_layer(architecture, layer)
    outer = f"{first + 2}/weight"
    generator = np.random.default_rng(rng)
    units = parameters[outer].shape[1]
    alive: NDArray[np.bool_] = np.asarray(generator.random(units) >= drop)
    if not alive.any():
        alive[generator.integers(units)] = True
    scale = alive / (1 - drop) if rescaled else alive.astype(np.float64)
    thinned = Parameters(architecture, dict(parameters) | {outer: parameters[outer] * scale})
    seen = Observation.from_data(architecture, thinned, inputs, labels, reduction=reduction)
    vector = dict(seen.vector) | {outer: seen.vector[outer] * scale}
    return dataclasses.replace(seen, parameters=parameters, vector=vector)


def surviving_units(observation: Observation, *, layer: int | None = None) -> NDArray[np.bool_]:
    """Read the mask off the zeros of a gradient.

    Parameters
    ----------
    observation : Observation
        A gradient with dropout behind one linear layer.
    layer : int, optional
        Index of that layer; the first linear one by default.

    Returns
    -------
    ndarray of bool
        False for units of which every observed gradient (weights, bias, outgoing weights) is exactly zero.

    Raises
    ------
    InputError
        If no piece of the layer or the next one was observed.
    UnsupportedError
        If the layer is not followed by an activation and a linear layer.
    """
    first = _dropped_layer(observation.architecture, layer)
    incoming = [observation.vector[key] for key in (f"{first}/weight", f"{first}/bias") if key in observation.vector]
    seen = [piece.reshape(len(piece), -1).any(axis=1) for piece in incoming]
    if f"{first + 2}/weight" in observation.vector:
        seen.append(observation.vector[f"{first + 2}/weight"].any(axis=0))
    if not seen:
        raise InputError(f"vector: has neither layer {first} nor layer {first + 2}, which would show dropped units")
    return np.asarray(np.logical_or.reduce(seen))


def surviving(
    observation: Observation, probability: float, *, layer: int | None = None, rescaled: bool = True
) -> Observation:
    """Rewrite a gradient with dropout as the gradient of the network without the dropped units.

    Parameters
    ----------
    observation : Observation
        A gradient with dropout behind one linear layer.
    probability : float
        p, which belongs to the network as it was trained.
    layer : int, optional
        Index of that layer; the first linear one by default.
    rescaled : bool, optional
        Whether surviving units were multiplied by 1 / (1 - p).

    Returns
    -------
    Observation
        An ordinary gradient for the smaller architecture, whose outgoing weights contain the factor 1 / (1 - p). Their
        gradient is divided by it, and noise on that piece with it.

    Raises
    ------
    InputError
        If the probability does not fit, all units are dropped or no piece shows the mask.
    UnsupportedError
        If the layer is not followed by an activation and a linear layer.
    """
    architecture = observation.architecture
    first = _dropped_layer(architecture, layer)
    alive = surviving_units(observation, layer=first)
    if not alive.any():
        raise InputError(f"vector: every unit of layer {first} is dropped; one that is not zero is accepted")
    drop = _probability(probability)
    factor = 1 / (1 - drop) if rescaled else 1.0
    inner = architecture.layers[first]
    assert isinstance(inner, Linear)
    layers = list(architecture.layers)
    layers[first] = dataclasses.replace(inner, out_features=int(np.count_nonzero(alive)))
    smaller = Architecture(f"{architecture.name}-surviving", architecture.input_shape, tuple(layers), architecture.loss)

    def cut(key: str, array: NDArray[np.float64], power: int) -> NDArray[np.float64]:
        if key in (f"{first}/weight", f"{first}/bias"):
            return array[alive]
        return array[:, alive] * factor**power if key == f"{first + 2}/weight" else array

    return dataclasses.replace(
        observation,
        architecture=smaller,
        parameters=Parameters(smaller, {key: cut(key, array, 1) for key, array in observation.parameters.items()}),
        vector={key: cut(key, array, -1) for key, array in observation.vector.items()},
    )


def _probability(value: float) -> float:
    real = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
    if not real or not 0 <= value < 1:
        raise InputError(f"probability: found {str(value)[:40]!r}; a number from 0 to below 1 is accepted")
    return float(value)


def _dropped_layer(architecture: Architecture, layer: int | None) -> int:
    layers = architecture.layers
    linear = [index for index, candidate in enumerate(layers) if isinstance(candidate, Linear)]
    if layer is None:
        if not linear:
            raise UnsupportedError(f"layers: {architecture.name} has no linear one; dropout of its units needs one")
        layer = linear[0]
    if isinstance(layer, bool) or not isinstance(layer, int) or layer not in linear:
        raise InputError(f"layer: found {str(layer)[:40]!r}; the index of a linear layer ({linear}) is accepted")
    behind = layers[layer + 1 : layer + 3]
    if len(behind) < 2 or not isinstance(behind[0], Activation) or not isinstance(behind[1], Linear):
        raise UnsupportedError(
            f"layer {layer} (linear): dropout is supported where an activation and a linear layer follow it"
        )
    return layer
