"""Whether the slopes at a sample's kinks may be chosen freely, each on its own, within Clarke's subdifferential.

Notes
-----
Parameters next to θ reach all combinations of sides of kinks if, layer by layer, the pre-activations that are zero have
linearly independent gradients in the weights of their own layer: a small change of these gives them any signs, and a much
smaller one in front of them changes nothing of that. Units of a dense layer have separate weights, so it is enough that the
layer's input is not zero. Places of one channel of a convolution share theirs: of two antipodal patches, relu(w·a) and
relu(-w·a), one is active wherever the other one is not, and slopes of 0 at both belong to no gradient nearby. Where a
pre-activation stays zero whatever the parameters, as on a patch of zeros, it has no gradient, and its slope does not matter.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.architectures import Architecture, Flatten, Linear
from provable.arithmetic import Array
from provable.networks import Parameters, tangents
from provable.stationarity.clarke import ClarkeTangents


def samples_with_tied_kinks(clarke: ClarkeTangents, samples: NDArray[np.intp]) -> dict[int, str]:
    """Find samples at whose kinks not every choice of slopes is shown to be one of Clarke's.

    Parameters
    ----------
    clarke : ClarkeTangents
        The tangents, whose cells take every choice.
    samples : ndarray of int
        The samples to look at.

    Returns
    -------
    dict of int to str
        The path of the first activation whose kinks are tied, by sample; samples with free kinks are left out. There the set
        of the cells is Clarke's subdifferential; at the others it contains it, and may be larger.
    """
    found = {}
    for sample in dict.fromkeys(samples.tolist()):
        path = _first_tied(clarke, sample)
        if path is not None:
            found[sample] = path
    return found


def _first_tied(clarke: ClarkeTangents, sample: int) -> str | None:
    moved: set[int] = set()  # layers whose weights decide about kinks already
    for path, where in clarke.kinks.items():
        units = np.flatnonzero(where[sample])
        if len(units) == 0:
            continue
        weighted = [k for k in range(int(path)) if _has_weights(clarke.architecture, k)]
        if not weighted:
            continue  # the input itself: nothing moves it
        own = weighted[-1]
        matter, independent = _gradients(clarke, sample, own, int(path), units)
        kinked = sum(str(k) in clarke.kinks for k in range(own))
        # an input of zeros behind active or inactive units only stays as it is; otherwise it may move in some directions only
        if not matter.all() and (moved or kinked < len(weighted) - 1):
            return path
        if matter.any():
            if own in moved or not independent:
                return path
            moved.add(own)
    return None


def _has_weights(architecture: Architecture, index: int) -> bool:
    return bool(architecture.layers[index].parameter_shapes(architecture.shapes[index]))


def _gradients(
    clarke: ClarkeTangents, sample: int, own: int, stop: int, units: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], bool]:
    """Which pre-activations have a gradient in the weights of their own layer, and whether these are independent."""
    architecture, layer = clarke.architecture, clarke.architecture.layers[own]
    inputs = clarke.traced.inputs[str(own)][[sample]]
    if isinstance(layer, Linear) and own == stop - 1:  # separate weights, one input
        return np.full(len(units), layer.bias or bool(np.any(inputs != 0))), True
    part = Architecture("part", architecture.shapes[own], (*architecture.layers[own:stop], Flatten()), "squared")
    names = layer.parameter_shapes(architecture.shapes[own])
    weights = Parameters(part, {f"0/{name}": clarke.parameters[f"{own}/{name}"] for name in names})
    rows: Array = tangents(part, weights, inputs)[0, units]
    matter = np.asarray((rows != 0).any(axis=1), dtype=np.bool_)
    rows = rows[matter]
    if len(rows) > rows.shape[1]:
        return matter, False
    if arithmetic.kind(rows) == "float64":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return matter, arithmetic.rank(rows) == len(rows)
