"""From the moments of a measure, as the neurons of a polynomial network see them, to its atoms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.errors import UnsupportedError
from provable.recovery.stationary_point.polynomial_moments import MomentSolution
from provable.recovery.stationary_point.polynomial_neurons import SPAN_LEVEL, Neurons

Float = NDArray[np.float64]

TENSOR_LEVEL = 1e-7
"""Singular values of an unfolded tensor below this multiple of the largest are those of no further sample; errors of the
tensor are a thousandth of that where the equations have a condition of up to a million."""


def from_moments(neurons: Neurons, moments: MomentSolution, rng: np.random.Generator) -> tuple[Float, Float] | str:
    """Decompose the moments.

    Parameters
    ----------
    neurons : Neurons
        Say how coordinates, degrees and bias belong together.
    moments : MomentSolution
        One with full rank.
    rng : numpy.random.Generator
        Draws pencils.

    Returns
    -------
    (array of shape (n, r), array of shape (n,)), or str
        Points in the coordinates of the neurons and their coefficients, of norm one over the scale where the scale is open;
        or why there are none.
    """
    system = neurons.system
    tensors = system.tensors(moments.unknowns)
    highest = tensors[system.degree]
    directions = symmetric_directions(highest, rng)
    if isinstance(directions, str):
        return directions
    design = {order: _power_columns(directions, order) for order in tensors}
    weights = {
        order: np.linalg.lstsq(design[order], tensor.reshape(-1), rcond=None)[0] for order, tensor in tensors.items()
    }
    top: Float = np.asarray(weights[system.degree], dtype=np.float64)
    if neurons.anchored:
        along = directions[0] * neurons.anchored
        if np.min(np.abs(along)) <= SPAN_LEVEL * neurons.anchored:
            return "a term of the moments has no part along the bias"
        return (directions / along).T, top * along**system.degree
    lower = [order for order in system.orders if 0 < order < system.degree]
    if not lower:
        power = np.float64(neurons.scale) ** system.degree
        return (
            (neurons.scale * directions.T, top / power) if power > 0 else "the neurons are too small to be told apart"
        )
    step = system.degree - lower[-1]
    with np.errstate(all="ignore"):
        ratios = top / weights[lower[-1]]
        lengths = np.sign(ratios) ** step * np.abs(ratios) ** (1 / step)
        points, coefficients = (directions * lengths).T, top / lengths**system.degree
    if not (np.all(np.isfinite(points)) and np.all(np.isfinite(coefficients))):
        return "a term is missing in the moments of the second highest degree"
    return points, coefficients


def symmetric_directions(tensor: Float, rng: np.random.Generator) -> Float | str:
    """Find the directions u_i of T = Σ_i λ_i u_i^{⊗p}, p ≥ 3, by simultaneous diagonalisation.

    Parameters
    ----------
    tensor : array of shape (r,) * p
        A symmetric tensor.
    rng : numpy.random.Generator
        Draws pencils.

    Returns
    -------
    array of shape (r, n) or str
        Directions of norm one, or why there are none. From p = 5 on there may be more than r: it takes independent
        u_i^{⊗k} with k = ⌊(p - 1)/2⌋.
    """
    from provable.tensors import jennrich, symmetric_jennrich

    size, order = len(tensor), tensor.ndim
    half = (order - 1) // 2
    rows = tensor.reshape(size**half, -1)
    singular = np.linalg.svd(rows, compute_uv=False)
    if not singular[0] > 0:
        return f"the moments of degree {order} vanish"
    rank = int(np.count_nonzero(singular > TENSOR_LEVEL * singular[0]))
    try:
        if order <= 4:
            return np.asarray(symmetric_jennrich(tensor, rank, rng=rng).factors[0])
        third = order - 2 * half
        found = jennrich(tensor.reshape(size**half, size**half, size**third), rank, rng=rng).factors[0]
    except (UnsupportedError, np.linalg.LinAlgError) as error:
        return str(error)
    folded = np.moveaxis(np.asarray(found).reshape(size, -1, rank), 2, 0)
    return np.linalg.svd(folded, full_matrices=False)[0][:, :, 0].T


def _power_columns(directions: Float, order: int) -> Float:
    """The vectorised u_i^{⊗k} as columns, of order 0 too."""
    columns: Float = np.ones((1, directions.shape[1]))
    for _ in range(order):
        columns = (columns[:, None, :] * directions[None]).reshape(-1, directions.shape[1])
    return columns
