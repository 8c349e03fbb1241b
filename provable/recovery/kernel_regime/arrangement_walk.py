"""The arrangement walk: the training data from the parameters of an infinitely wide network, one hidden ReLU layer, exactly.

In the kernel regime the first-layer weights of a hidden neuron with initial weights w and output weight a change by a·g(w),
g(w) = Σ_j α_j 1[w·x_j > 0] x_j. Across the hyperplane w·x_j = 0 this map jumps by α_j x_j, and every half of a great circle
crosses every hyperplane once. So one walk along it meets all points; each is read off by itself, without an optimiser.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import numpy as np

from provable.arithmetic import EPSILON, Float
from provable.errors import InputError
from provable.measures import Measure
from provable.recovery.kernel_regime.arrangement_walk_circle import Crossings, walk_half_circle
from provable.recovery.kernel_regime.arrangement_walk_closing import (
    Axes,
    axes_of,
    closing_test,
    completed,
    mended,
    neurons_on_hyperplanes,
)
from provable.recovery.kernel_regime.arrangement_walk_oracle import (
    NEURONS,
    Oracle,
    OracleProbe,
    QueriedOracle,
    SimulatedNetwork,
    probe,
)
from provable.recovery.kernel_regime.arrangement_walk_orientation import Orientation, orient, orient_by_bias
from provable.recovery.kernel_regime.arrangement_walk_refinement import jump_noise, refined

FORMAT = "provable-arrangement-walk/1"

_CIRCLES = 8


@dataclasses.dataclass(frozen=True, eq=False)
class ArrangementWalk:
    """What a walk through the arrangement found, and what it cannot tell.

    Attributes
    ----------
    measure : Measure
        Unit vectors with coefficients α‖x‖, or with a bias coordinate the inputs with their α; by descending magnitude of the
        jumps.
    constant : ndarray of shape (dimension,)
        g minus the map of `measure`: zero unless the orientation is open.
    orientation : str
        What decided on which side of their hyperplanes the points lie: begins with ``"determined by"``, or is ``"open"``.
    fibre : tuple of str
        What the oracle hides, in words.
    point_errors : ndarray of shape (n,)
        Estimates of the relative errors of the points, from the measured rounding of the oracle.
    evaluations, calls, circles : int
        Neurons evaluated, calls of the oracle, half great circles walked.
    neurons_tested : int
        Neurons of the closing test.
    closing_residual, closing_tolerance : float
        The largest distance between the oracle and the recovered map at these neurons, and what rounding explains.
    smallest_visible_jump : float
        Points with a smaller |α|‖x‖ cannot be told from the oracle's rounding. One with less than twice `closing_tolerance`
        may still be missed: without it the map is off by half its jump, which the closing test lets pass.
    """

    measure: Measure
    constant: Float
    orientation: str
    fibre: tuple[str, ...]
    point_errors: Float
    evaluations: int
    calls: int
    circles: int
    neurons_tested: int
    closing_residual: float
    closing_tolerance: float
    smallest_visible_jump: float

    @property
    def orientation_is_open(self) -> bool:
        """Whether every point is known up to its sign only.

        Returns
        -------
        bool
            False if something determined the orientation.
        """
        return self.orientation == "open"

    def completed_measure(self) -> Measure:
        """The measure that reproduces the oracle exactly, also where the orientation is open.

        Returns
        -------
        Measure
            `measure` and, if the constant v is not zero, the pair v/‖v‖, -v/‖v‖ with coefficients ‖v‖, -‖v‖: it adds v to g
            on both sides of its own hyperplane.
        """
        size = float(np.linalg.norm(self.constant))
        if size == 0.0:
            return self.measure
        unit = self.constant / size
        return Measure(
            np.concatenate([self.measure.points, unit[None], -unit[None]]),
            np.concatenate([self.measure.coefficients, [size, -size]]),
        )

    def to_json(self) -> str:
        """Everything but the arrays, as a JSON document.

        Returns
        -------
        str
            With the format ``"provable-arrangement-walk/1"``.
        """
        document = {
            "format": FORMAT,
            "points": self.measure.size,
            "orientation": self.orientation,
            "constant": float(np.linalg.norm(self.constant)),
            "fibre": list(self.fibre),
            "largest_point_error": float(self.point_errors.max(initial=0.0)),
            "evaluations": self.evaluations,
            "calls": self.calls,
            "circles": self.circles,
            "neurons_tested": self.neurons_tested,
            "closing_residual": self.closing_residual,
            "closing_tolerance": self.closing_tolerance,
            "smallest_visible_jump": self.smallest_visible_jump,
        }
        return json.dumps(document)


def infinite_width(
    oracle: Oracle, dimension: int, *, bias: float | None = None, rng: np.random.Generator | int | None = None
) -> Measure:
    """Recover the training data from the first-layer change of an infinitely wide network with one hidden ReLU layer.

    Parameters
    ----------
    oracle : callable
        ``oracle(weights (q, dimension)) -> (q, dimension)``: the change of first-layer weights per unit of output weight,
        Σ_j α_j 1[w·x_j > 0] x_j, at neurons that are initialised at these weights.
    dimension : int
        The dimension of the inputs, a bias coordinate included.
    bias : float, optional
        If given, the last coordinate of every input is known to have this value.
    rng : numpy.random.Generator or int, optional
        Source of randomness, or its seed; default: seed 0.

    Returns
    -------
    Measure
        Unit vectors with coefficients α‖x‖, or with `bias` the inputs (that coordinate included) with their α. Points on one
        ray are one atom. Without `bias` the points are known up to orientation if nothing decides it; they then have their
        entry of largest magnitude positive, and `walk_arrangement` tells so.

    Raises
    ------
    InputError
        If the oracle is not of this form, or the inputs do not have that last coordinate.
    """
    return walk_arrangement(oracle, dimension, bias=bias, rng=rng).measure


def walk_arrangement(
    oracle: Oracle,
    dimension: int,
    *,
    bias: float | None = None,
    rng: np.random.Generator | int | None = None,
    accuracy: float = 1e-12,
    most_evaluations: int = 20_000_000,
) -> ArrangementWalk:
    """Recover the training data as `infinite_width` does, and tell how, how well, and what stays hidden.

    Parameters
    ----------
    oracle : callable
        ``oracle(weights (q, dimension)) -> (q, dimension)``.
    dimension : int
        The dimension of the inputs.
    bias : float, optional
        The known last coordinate of every input.
    rng : numpy.random.Generator or int, optional
        Source of randomness, or its seed; default: seed 0.
    accuracy : float
        The relative error wanted of every point; points with small coefficients, whose jumps do not have it, take further
        evaluations.
    most_evaluations : int
        Neurons on one circle after which to give up.

    Returns
    -------
    ArrangementWalk
        The measure has passed the closing test.

    Raises
    ------
    InputError
        If the oracle is not of this form, the inputs do not have that last coordinate, or no explanation passes the closing
        test.

    Notes
    -----
    Derived for this project; the dual, with neurons and samples exchanged, of the extraction of a network by its critical
    points [1]_. In expectation about 3.5 evaluations per point for data in general position.

    References
    ----------
    .. [1] N. Carlini, M. Jagielski, I. Mironov, Cryptanalytic extraction of neural network models, CRYPTO 2020.
    """
    _check(dimension, bias)
    rng = np.random.default_rng(0 if rng is None else rng)
    asked = QueriedOracle(oracle, dimension)
    known = probe(asked, rng)
    model = Axes(np.empty((0, dimension)), np.empty(0), known.total / 2)
    residual, tolerance, circles = 0.0, known.tolerance, 0
    neurons = values = np.empty((0, dimension))
    worst: Float | None = None
    if known.scale > 0:
        while circles < _CIRCLES:
            circles += 1
            model = _improved(asked, model, known, worst, rng, most_evaluations)
            neurons = neurons_on_hyperplanes(model, known.rounding, rng)
            values = asked(neurons)
            residual, worst = closing_test(model, known, neurons, values)
            tolerance = _closing_tolerance(known, len(model.coefficients))
            if residual <= tolerance:
                break
        else:
            raise InputError(
                f"oracle: after {_CIRCLES} great circles the {len(model.coefficients)} points found miss its answers at "
                f"other neurons by {residual:.1e}, {residual / known.scale:.1e} of the largest; "
                "a map w ↦ Σ_j α_j 1[w·x_j > 0] x_j is accepted"
            )

    largest_first = np.argsort(-np.abs(model.coefficients), kind="stable")
    axes, coefficients = model.directions[largest_first], model.coefficients[largest_first]
    amplification = _amplification(axes, bias)
    errors = np.empty(0)
    if len(axes):
        rough = _oriented(axes, coefficients, known, bias, tolerance)
        axes, coefficients, errors = refined(
            asked,
            axes,
            coefficients,
            noise=min(jump_noise(asked, axes, coefficients, rng, tolerance=known.tolerance), 2.0 * known.rounding),
            wanted=accuracy / 2 / amplification,
            rng=rng,
            sides=_sides(axes, rough),
        )
    oriented = _oriented(axes, coefficients, known, bias, tolerance)
    factors = np.ones(len(oriented.coefficients)) if bias is None else bias / oriented.directions[:, -1]
    points = oriented.directions * factors[:, None]
    if bias is not None:
        points[:, -1] = bias
    measure = Measure(points, oriented.coefficients / factors)
    final = _Final(measure, oriented.constant)
    residual, _ = closing_test(final, known, neurons, values)
    if residual > 2 * tolerance:
        raise InputError(
            f"oracle: the oriented points miss its answers by {residual:.1e}; "
            "a map w ↦ Σ_j α_j 1[w·x_j > 0] x_j is accepted"
        )
    return ArrangementWalk(
        measure=measure,
        constant=oriented.constant,
        orientation=oriented.how,
        fibre=_fibre(oriented, bias, tolerance),
        point_errors=(errors * amplification)[oriented.sources],
        evaluations=asked.evaluations,
        calls=asked.calls,
        circles=circles,
        neurons_tested=2 * NEURONS + len(neurons),
        closing_residual=residual,
        closing_tolerance=tolerance,
        smallest_visible_jump=known.tolerance,
    )


class _Final:
    """The map of a measure plus a constant."""

    def __init__(self, measure: Measure, constant: Float) -> None:
        self._network = SimulatedNetwork(measure.points, measure.coefficients)
        self._constant = constant

    def __call__(self, weights: Float) -> Float:
        return self._network(weights) + self._constant


def _check(dimension: int, bias: float | None) -> None:
    if isinstance(dimension, bool) or not isinstance(dimension, int | np.integer) or dimension < 1:
        raise InputError(f"dimension: found {dimension!r:.60}; a positive integer is accepted")
    if bias is not None and not (np.isfinite(bias) and bias != 0):
        raise InputError(f"bias: found {bias!r:.60}; a finite number other than zero is accepted")


def _improved(
    oracle: QueriedOracle,
    model: Axes,
    known: OracleProbe,
    wrong: Float | None,
    rng: np.random.Generator,
    most_evaluations: int,
) -> Axes:
    """Walk a circle, from the second on through a neuron where the model is wrong, on what it leaves of the oracle."""
    first = wrong is None
    tolerance = known.tolerance if first else _closing_tolerance(known, len(model.coefficients))

    def left(weights: Float) -> Float:
        return oracle(weights) - model(weights)

    query: Callable[[Float], Float] = oracle if first else left
    crossings: Crossings = walk_half_circle(
        query,
        _plane(oracle.dimension, rng, wrong),
        rounding=known.rounding,
        tolerance=tolerance,
        most=most_evaluations,
    )
    if first:
        return completed(*axes_of(crossings), known.total)
    return mended(model, crossings, known.total, rounding=known.rounding, tolerance=tolerance)


def _oriented(
    axes: Float, coefficients: Float, known: OracleProbe, bias: float | None, tolerance: float
) -> Orientation:
    if bias is None:
        return orient(axes, coefficients, known.total, tolerance=tolerance)
    return orient_by_bias(axes, coefficients, known.total, bias=bias, tolerance=tolerance)


def _sides(axes: Float, oriented: Orientation) -> Float | None:
    """On which side of its hyperplane each point lies; None if that is open, or if some axis holds two points."""
    if oriented.how == "open" or len(oriented.sources) > len(axes):
        return None
    return np.where(np.einsum("nd,nd->n", axes, oriented.directions) < 0, -1.0, 1.0)


def _amplification(axes: Float, bias: float | None) -> Float:
    """How much larger the relative errors of points are than those of directions.

    With a bias coordinate a direction is divided by its last entry, which has 1/√d of its error and |b|/‖x‖ of its size.
    """
    if bias is None:
        return np.ones(len(axes))
    amplification: Float = 1.0 + 1.0 / np.sqrt(axes.shape[1]) / np.maximum(np.abs(axes[:, -1]), EPSILON)
    return amplification


def _closing_tolerance(known: OracleProbe, count: int) -> float:
    """A sum of n jumps, each with an error of about √2 of one value's rounding, half of them at a time; eight times that."""
    return 16.0 * known.rounding * float(np.sqrt(1 + count / 2))


def _plane(dimension: int, rng: np.random.Generator, start: Float | None = None) -> Float:
    if dimension == 1:
        return np.array([[1.0], [0.0]])
    spanning = rng.standard_normal((dimension, 2))
    if start is not None:
        spanning[:, 0] = start
    plane: Float = np.linalg.qr(spanning)[0].T
    return plane


def _fibre(oriented: Orientation, bias: float | None, tolerance: float) -> tuple[str, ...]:
    if bias is not None:
        return (
            "permutation: the order of the points",
            "coinciding points: one atom with the sum of their coefficients",
            "points with coefficient 0: invisible",
        )
    words = [
        "permutation: the order of the points",
        "positive-scaling: only α‖x‖ and x/‖x‖ are visible",
        "shared rays: points on one ray are one atom with the sum of their α‖x‖",
        "zero vectors and points with coefficient 0: invisible",
    ]
    if oriented.how == "open":
        words.append(
            "orientation: each point or its antipode, with the same coefficient; the pair v, -v with the constant v "
            "completes every choice"
        )
        words.append("antipodal pairs: two points on one axis show the sum of their coefficients as one atom")
    elif (np.abs(oriented.coefficients) <= tolerance).any():
        words.append(f"orientation of points with |α|‖x‖ below {tolerance:.1e}: hidden by rounding")
    return tuple(words)
