"""The closing test: does what the walk found reproduce the oracle at random neurons, and if not, what is missing?

Two hyperplanes that a circle crosses within one window are taken for one, whose point is the sum of theirs. The map of the
recovered points then differs from g on at least the cells between these hyperplanes. On another circle the difference shows
the wrong jump with the opposite sign, and the missing ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from provable.arithmetic import Float
from provable.recovery.kernel_regime.arrangement_walk_circle import Crossings
from provable.recovery.kernel_regime.arrangement_walk_oracle import OracleProbe, SimulatedNetwork


@dataclass(eq=False)
class Axes:
    """Points up to orientation: the map Σ_k c_k e_k 1[w·e_k > 0] + constant.

    Attributes
    ----------
    directions : ndarray of shape (n, dimension)
        Unit vectors e_k.
    coefficients : ndarray of shape (n,)
        c_k = α_k‖x_k‖.
    constant : ndarray of shape (dimension,)
        What is left of g.
    """

    directions: Float
    coefficients: Float
    constant: Float

    def __call__(self, weights: Float) -> Float:
        """Evaluate the map.

        Parameters
        ----------
        weights : ndarray of shape (q, dimension)
            Neurons.

        Returns
        -------
        ndarray of shape (q, dimension)
            Its values.
        """
        return SimulatedNetwork(self.directions, self.coefficients)(weights) + self.constant


def axes_of(crossings: Crossings) -> tuple[Float, Float]:
    """Turn jumps into axes and coefficients.

    Parameters
    ----------
    crossings : Crossings
        The jumps on half a circle.

    Returns
    -------
    tuple of ndarray
        Unit vectors e with e·w' > 0 at their crossings, and α‖x‖, such that J = α‖x‖e.
    """
    norms = np.linalg.norm(crossings.jumps, axis=1)
    coefficients = crossings.signs * norms
    return crossings.jumps / coefficients[:, None], coefficients


def completed(directions: Float, coefficients: Float, total: Float) -> Axes:
    """Add the constant that makes g(w) + g(-w) right.

    Parameters
    ----------
    directions : ndarray of shape (n, dimension)
        Unit vectors.
    coefficients : ndarray of shape (n,)
        Their coefficients.
    total : ndarray of shape (dimension,)
        g(w) + g(-w).

    Returns
    -------
    Axes
        The map.
    """
    return Axes(directions, coefficients, (total - coefficients @ directions) / 2)


def closing_residual(model: Callable[[Float], Float], known: OracleProbe) -> float:
    """The largest distance between the oracle and a map at the neurons that the walk did not use.

    Parameters
    ----------
    model : callable
        The map.
    known : OracleProbe
        Random neurons and their values.

    Returns
    -------
    float
        The largest norm of a difference.
    """
    there = np.linalg.norm(model(known.neurons) - known.values, axis=1).max()
    opposite = np.linalg.norm(model(-known.neurons) - known.opposite_values, axis=1).max()
    return float(max(there, opposite))


def mended(model: Axes, crossings: Crossings, total: Float, *, rounding: float, tolerance: float) -> Axes:
    """Add the jumps of the residual to the points, on the axes that they share.

    Parameters
    ----------
    model : Axes
        What was found so far.
    crossings : Crossings
        The jumps of the oracle minus the map of `model`.
    total : ndarray of shape (dimension,)
        g(w) + g(-w).
    rounding : float
        The root mean square error of one value.
    tolerance : float
        Norms that count as zero.

    Returns
    -------
    Axes
        The corrected map: a merged point is removed by its own negative jump, the points it was made of are added.
    """
    vectors = model.directions * model.coefficients[:, None]
    directions = model.directions.copy()
    new_vectors, new_directions = [], []
    for direction, coefficient in zip(*axes_of(crossings), strict=True):
        products = directions @ direction
        nearest = int(np.abs(products).argmax()) if len(products) else -1
        side = 1.0 if nearest < 0 or products[nearest] >= 0 else -1.0
        if nearest >= 0:
            size = min(abs(coefficient), float(np.linalg.norm(vectors[nearest])))
            apart = float(np.linalg.norm(side * direction - directions[nearest])) * size
            if apart <= 32.0 * rounding:
                vectors[nearest] += side * coefficient * direction
                continue
        new_vectors.append(coefficient * direction)
        new_directions.append(direction)
    if new_vectors:
        vectors = np.concatenate([vectors, np.array(new_vectors)])
        directions = np.concatenate([directions, np.array(new_directions)])
    norms = np.linalg.norm(vectors, axis=1)
    kept = norms > tolerance
    vectors, directions, norms = vectors[kept], directions[kept], norms[kept]
    coefficients = np.where(np.einsum("nd,nd->n", vectors, directions) < 0, -norms, norms)
    return completed(vectors / coefficients[:, None], coefficients, total)
