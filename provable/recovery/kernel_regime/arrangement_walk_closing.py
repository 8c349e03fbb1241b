"""The closing test: does what the walk found reproduce the oracle at random neurons, and if not, what is missing?

Two hyperplanes that a circle crosses within one window are taken for one, whose point is the sum of theirs. The map of the
recovered points then differs from g on at least the cells between these hyperplanes, which hold a random neuron with the
probability angle/π, and the neurons on the wrong hyperplane itself. On another circle the difference shows
the wrong jump with the opposite sign, and the missing ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from provable.arithmetic import EPSILON, Float
from provable.recovery.kernel_regime.arrangement_walk_circle import Crossings
from provable.recovery.kernel_regime.arrangement_walk_oracle import (
    OracleProbe,
    SimulatedNetwork,
    random_directions,
)

_BESIDE = 1e-9
_TOO_FAR = 1e-3  # points whose direction is not known that well are not worth a neuron


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


def neurons_on_hyperplanes(model: Axes, rounding: float, rng: np.random.Generator) -> Float:
    """Choose neurons that lie beside as many hyperplanes of the model at once as fit, on both sides of every hyperplane.

    Random neurons hardly ever tell two nearly parallel hyperplanes from the one that they were taken for. Where g is seen on
    both sides of that one it does not jump, unless it is a true one.

    Parameters
    ----------
    model : Axes
        What was found.
    rounding : float
        The root mean square error of one value of the oracle.
    rng : numpy.random.Generator
        Source of randomness: which hyperplanes go together, and where on them the neurons lie.

    Returns
    -------
    ndarray of shape (m, dimension)
        About 8/3 of the number of points over the dimension that they span. None in dimension 2: a hyperplane is then a line,
        on which the circle has been already.
    """
    count, dimension = model.directions.shape
    if not count or dimension <= 2:
        return np.empty((0, dimension))
    some = rng.permutation(count)[: 2 * dimension]
    spanned = int(np.linalg.matrix_rank(model.directions[some]))
    together = max(1, (3 * spanned) // 4)
    # Beside: outside of the error of the direction, which is a jump's error over its size.
    distances = np.maximum(_BESIDE, 64.0 * rounding / np.abs(model.coefficients))
    order = rng.permutation(np.flatnonzero(distances <= _TOO_FAR))
    neurons = []
    for group in np.array_split(order, -(-len(order) // together)) if len(order) else ():
        unit = model.directions[group]
        start = random_directions(1, dimension, rng)[0]
        offsets = distances[group] * rng.choice([-1.0, 1.0], len(group))
        orthonormal, triangle = np.linalg.qr(unit.T)
        wanted = np.stack([offsets, -offsets], axis=1) - (unit @ start)[:, None]
        if np.diagonal(triangle).all():
            steps = orthonormal @ np.linalg.solve(triangle.T, wanted)
        else:
            steps = np.linalg.lstsq(unit, wanted, rcond=None)[0]
        neurons.append(start + steps.T)
    return np.array(neurons).reshape(-1, dimension)


def closing_test(
    model: Callable[[Float], Float], known: OracleProbe, neurons: Float, values: Float
) -> tuple[float, Float]:
    """Find the neuron, of those that the walk did not use, where a map and the oracle differ most.

    Parameters
    ----------
    model : callable
        The map.
    known : OracleProbe
        Random neurons and their values.
    neurons, values : ndarray of shape (m, dimension)
        Further neurons and the values of the oracle there.

    Returns
    -------
    residual : float
        The norm of the difference there.
    neuron : ndarray of shape (dimension,)
        The neuron.
    """
    tested = np.concatenate([known.neurons, -known.neurons, neurons])
    wanted = np.concatenate([known.values, known.opposite_values, values])
    distances = np.linalg.norm(model(tested) - wanted, axis=1)
    worst = int(distances.argmax())
    return float(distances[worst]), tested[worst]


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
    found, found_coefficients = axes_of(crossings)
    count = len(model.directions)
    vectors = np.concatenate([model.directions * model.coefficients[:, None], np.zeros_like(found)])
    directions = np.concatenate([model.directions, np.zeros_like(found)])
    for direction, coefficient in zip(found, found_coefficients, strict=True):
        # Jumps of one circle can belong together too: two that were crossed at once come twice, with opposite signs.
        nearest, side = _nearest(directions[:count], direction)
        if nearest >= 0:
            size = min(abs(coefficient), float(np.linalg.norm(vectors[nearest])))
            apart = float(np.linalg.norm(side * direction - directions[nearest])) * size
            if apart <= 32.0 * rounding:
                vectors[nearest] += side * coefficient * direction
                continue
        vectors[count], directions[count] = coefficient * direction, direction
        count += 1
    vectors, directions = vectors[:count], directions[:count]
    norms = np.linalg.norm(vectors, axis=1)
    kept = norms > tolerance
    vectors, directions, norms = vectors[kept], directions[kept], norms[kept]
    coefficients = np.where(np.einsum("nd,nd->n", vectors, directions) < 0, -norms, norms)
    return completed(vectors / coefficients[:, None], coefficients, total)


def _nearest(directions: Float, direction: Float) -> tuple[int, float]:
    """The axis nearest to a direction, -1 if there is none, and the side of it where the direction lies."""
    if not len(directions):
        return -1, 1.0
    products = directions @ direction
    # Cosines do not tell angles below √ε apart, differences do.
    close = np.flatnonzero(np.abs(products) >= np.abs(products).max() - 64.0 * EPSILON)
    sides = np.where(products[close] < 0, -1.0, 1.0)
    best = int(np.linalg.norm(sides[:, None] * direction - directions[close], axis=1).argmin())
    return int(close[best]), float(sides[best])
