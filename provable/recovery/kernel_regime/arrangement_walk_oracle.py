"""The map that the arrangement walk queries: checked and counted calls, its rounding noise, and a simulated network.

To a hidden neuron with first-layer weights w belongs, in the kernel regime at infinite width, the change of these weights per
unit of output weight g(w) = Σ_j α_j 1[w·x_j > 0] x_j. It does not depend on the length of w, it is constant on the cells of
the arrangement of the hyperplanes {w : w·x_j = 0}, and g(w) + g(-w) = Σ_j α_j x_j for every w off the hyperplanes. The
last identity tells how well an oracle rounds; all three tell whether it is of this form at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from provable.arithmetic import EPSILON, Float
from provable.errors import InputError
from provable.measures import Measure

Oracle = Callable[[Float], Float]
"""``oracle(weights (q, dimension)) -> (q, dimension)``."""

NEURONS = 24
"""Random pairs w, -w: a hyperplane of which one side is wrong goes unseen with probability 2^-24."""

_SMALLEST = 1e-120  # squares of smaller numbers, and of their reciprocals, leave the range of float64
_CALL_BYTES = 1 << 25  # weights in one call: large enough for matrix products, small beside what they are computed from


class QueriedOracle:
    """An oracle whose calls are cut into pieces, checked and counted.

    Parameters
    ----------
    oracle : callable
        ``oracle(weights (q, dimension)) -> (q, dimension)``, float64.
    dimension : int
        The dimension of the inputs.

    Attributes
    ----------
    evaluations : int
        Neurons evaluated so far.
    calls : int
        Calls of the oracle so far.
    """

    def __init__(self, oracle: Oracle, dimension: int) -> None:
        self._oracle = oracle
        self.dimension = dimension
        self.evaluations = 0
        self.calls = 0

    def __call__(self, weights: Float) -> Float:
        """Evaluate neurons.

        Parameters
        ----------
        weights : ndarray of shape (q, dimension)
            First-layer weights.

        Returns
        -------
        ndarray of shape (q, dimension)
            The changes g(w).

        Raises
        ------
        InputError
            If the oracle returns another shape, complex numbers or anything that is not finite.
        """
        piece = max(1, _CALL_BYTES // (8 * self.dimension))
        result = np.empty(weights.shape)
        for start in range(0, len(weights), piece):
            asked = weights[start : start + piece]
            answer = np.asarray(self._oracle(asked))
            if answer.shape != asked.shape:
                raise InputError(
                    f"oracle: found an answer of shape {answer.shape} to weights of shape {asked.shape}; "
                    "the same shape is accepted"
                )
            if answer.dtype.kind not in "fiu":
                raise InputError(f"oracle: found an answer of type {answer.dtype}; real numbers are accepted")
            if not np.isfinite(answer).all():
                raise InputError("oracle: found an answer that is not finite; finite numbers are accepted")
            result[start : start + piece] = answer
            self.evaluations += len(asked)
            self.calls += 1
        return result


@dataclass(frozen=True, eq=False)
class OracleProbe:
    """What random neurons tell about an oracle before the walk.

    Attributes
    ----------
    neurons : ndarray of shape (q, dimension)
        Random unit vectors.
    values : ndarray of shape (q, dimension)
        g at these.
    opposite_values : ndarray of shape (q, dimension)
        g at their negatives.
    total : ndarray of shape (dimension,)
        Σ_j α_j x_j, the mean of g(w) + g(-w).
    scale : float
        The largest norm of a value.
    rounding : float
        The root mean square Euclidean error of one value: from the scatter of g(w) + g(-w), and at least ε times `scale`.
    """

    neurons: Float
    values: Float
    opposite_values: Float
    total: Float
    scale: float
    rounding: float

    @property
    def tolerance(self) -> float:
        """The largest distance of two values that counts as none.

        Returns
        -------
        float
            16 times the rounding, of which two values in one cell differ by √2 in root mean square; jumps below it are
            invisible.
        """
        return 16.0 * self.rounding


def random_directions(count: int, dimension: int, rng: np.random.Generator) -> Float:
    """Draw uniform unit vectors.

    Parameters
    ----------
    count, dimension : int
        How many, and of which dimension.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray of shape (count, dimension)
        The vectors.
    """
    drawn = rng.standard_normal((count, dimension))
    unit: Float = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


def probe(oracle: QueriedOracle, rng: np.random.Generator) -> OracleProbe:
    """Evaluate random neurons, check the oracle's form and measure how it rounds.

    Parameters
    ----------
    oracle : QueriedOracle
        The oracle.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    OracleProbe
        The values and the rounding noise.

    Raises
    ------
    InputError
        If its answers are extremely small or large, if it answers the same neuron differently twice, depends on the length of
        w, is not piecewise constant, or if g(w) + g(-w) depends on w.
    """
    w = random_directions(NEURONS, oracle.dimension, rng)
    values, opposite = oracle(w), oracle(-w)
    largest = float(max(np.abs(values).max(), np.abs(opposite).max()))
    if largest and not _SMALLEST < largest < 1 / _SMALLEST:
        raise InputError(
            f"oracle: found answers as large as {largest:.1e}; "
            f"zero or between {_SMALLEST:g} and {1 / _SMALLEST:g} is accepted"
        )
    scale = float(max(np.linalg.norm(values, axis=1).max(), np.linalg.norm(opposite, axis=1).max()))

    # Repetitions: another place in the batch, and a call of their own; another length; and a step far below the distance to
    # the hyperplanes. A step crosses one of N with probability about N times its length, so most neurons must not feel it.
    order = rng.permutation(NEURONS)[: NEURONS // 3]
    again = _distances(oracle(w[order]), values[order])
    alone = np.array([_distances(oracle(w[k : k + 1]), values[k : k + 1])[0] for k in order[:3]])
    again = np.concatenate([again, alone])  # a call with one neuron adds up in another order
    longer = _distances(oracle(w[order] * (1.0 + 9.0 * rng.random((len(order), 1)))), values[order])
    steps = 1e-9 * random_directions(len(order), oracle.dimension, rng)
    beside = _distances(oracle(w[order] + steps), values[order])
    totals = values + opposite
    total: Float = totals.mean(axis=0)
    scatter = _distances(totals, total)

    repeated = float(max(again.max(), longer.max()))
    spread = float(np.sqrt(np.sum(scatter**2) / (2 * (NEURONS - 1))))
    rounding = max(repeated, spread, EPSILON * scale)

    # A millionth: single precision passes, and anything that depends on chance or on the length of w does not. In one cell
    # only rounding is left, of which 64 times the root mean square is far outside.
    millionth = 1e-6 * scale
    for distances, limit, what in (
        (again, millionth, "two answers to the same neuron"),
        (longer, millionth, "g(cw) and g(w), for c between 1 and 10,"),
        (scatter, millionth, "g(w) + g(-w) at different neurons"),
        (np.median(beside), 64.0 * rounding, "g(w) and g(w + δ), for most w and ‖δ‖ = 1e-9 ‖w‖,"),
    ):
        if np.max(distances) > limit:
            raise InputError(
                f"oracle: {what} differ by {np.max(distances) / scale:.1e} of the largest answer; "
                "a map w ↦ Σ_j α_j 1[w·x_j > 0] x_j without noise is accepted"
            )
    return OracleProbe(w, values, opposite, total, scale, rounding)


def _distances(left: Float, right: Float) -> Float:
    distances: Float = np.linalg.norm(left - right, axis=-1)
    return distances


class SimulatedNetwork:
    """The oracle of an infinitely wide network trained in the kernel regime, from its data: for tests and benchmarks.

    Parameters
    ----------
    points : ndarray of shape (n, dimension)
        The inputs x_j.
    coefficients : ndarray of shape (n,)
        The α_j.
    """

    def __init__(self, points: Float, coefficients: Float) -> None:
        self._points = np.asarray(points, dtype=np.float64)
        self._terms = self._points * np.asarray(coefficients, dtype=np.float64)[:, None]

    def __call__(self, weights: Float) -> Float:
        """Compute g(w) = Σ_j α_j 1[w·x_j > 0] x_j by two matrix products.

        Parameters
        ----------
        weights : ndarray of shape (q, dimension)
            First-layer weights.

        Returns
        -------
        ndarray of shape (q, dimension)
            The changes.
        """
        result = np.empty(weights.shape)
        piece = max(1, (1 << 24) // max(1, len(self._points)))  # 128 MiB of activations
        for start in range(0, len(weights), piece):
            products = weights[start : start + piece] @ self._points.T
            np.heaviside(products, 0.0, out=products)
            result[start : start + piece] = products @ self._terms
        return result


def simulated_network(measure: Measure) -> SimulatedNetwork:
    """Make the oracle of a measure.

    Parameters
    ----------
    measure : Measure
        Points of shape (n, dimension) with one coefficient each.

    Returns
    -------
    SimulatedNetwork
        ``oracle(weights)``.

    Raises
    ------
    InputError
        If the points are no vectors or have more than one coefficient.
    """
    if measure.points.ndim != 2 or measure.coefficients.ndim != 1:
        raise InputError(
            f"measure: found points of shape {measure.points.shape} and coefficients of shape "
            f"{measure.coefficients.shape}; (n, dimension) and (n,) are accepted"
        )
    return SimulatedNetwork(measure.points, measure.coefficients)
