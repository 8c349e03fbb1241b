"""Exact KKT points of max-margin problems for homogeneous networks: instances for theorems on trained networks.

A KKT point of min ½‖θ‖² subject to y_i Φ(θ; x_i) ≥ γ has θ = Σ λ_i y_i ∇Φ(θ; x_i) with λ_i ≥ 0, and λ_i = 0 unless
y_i Φ(θ; x_i) = γ. Training reaches such points only up to an error; here every equation holds in rational numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from provable.architectures import Architecture, Identity, Layer, LeakyReLU, Linear, ReLU
from provable.arithmetic import Array, Float
from provable.measures import Measure
from provable.networks import Parameters, embed, forward
from provable.theorems.strategies.rational_margins import (
    Block,
    Sample,
    Vector,
    one_label,
    separated_by_a_line,
    two_labels,
    unit_vector,
)

ACTIVATIONS: dict[str, Layer] = {"relu": ReLU(), "leaky_relu": LeakyReLU(negative_slope=0.25), "identity": Identity()}
"""What the networks are made of, by name."""

DIRECTIONS: dict[int, tuple[tuple[int, ...], ...]] = {
    1: ((1,),),
    2: ((1, 0), (4, 3), (3, 4), (0, 1), (12, 5)),
    3: ((1, 0, 0), (2, 2, 1), (1, 2, 2), (6, 2, 3), (2, 6, 3), (0, 4, 3)),
    4: ((1, 1, 1, 1), (4, 2, 2, 1), (1, 0, 0, 0), (2, 4, 1, 2)),
}
"""Integer vectors with integer norms, by dimension."""

UNITS = ((1,), (4, 3), (1, 0))
"""The same for the distribution over the units of a hidden layer; a zero makes a unit that is dead."""


@dataclass(frozen=True)
class StationaryPoint:
    """A network at θ, and labelled samples with multipliers. The numbers are integers over common denominators.

    Parameters
    ----------
    architecture : Architecture
        The network Φ, with one output.
    parameters : Parameters
        θ.
    inputs : ndarray of shape (n, d)
        The samples times their denominator.
    input_denominator : float
        One, unless the network has a bias.
    labels : ndarray of shape (n,)
        y_i = ±1.
    multipliers : ndarray of shape (n,)
        The λ_i times their denominator.
    multiplier_denominator : float
        The denominator.
    """

    architecture: Architecture
    parameters: Parameters
    inputs: Array
    input_denominator: float
    labels: Array
    multipliers: Array
    multiplier_denominator: float

    @property
    def points(self) -> Array:
        """The samples.

        Returns
        -------
        ndarray of shape (n, d)
            x_i.
        """
        points: Array = self.inputs / self.input_denominator
        return points

    @property
    def weights(self) -> Array:
        """The multipliers.

        Returns
        -------
        ndarray of shape (n,)
            λ_i.
        """
        weights: Array = self.multipliers / self.multiplier_denominator
        return weights

    @property
    def margins(self) -> Array:
        """The margins.

        Returns
        -------
        ndarray of shape (n,)
            y_i Φ(θ; x_i).
        """
        margins: Array = self.labels * forward(self.architecture, self.parameters, self.points)[:, 0]
        return margins

    @property
    def explained(self) -> Parameters:
        """The right side of the stationarity equation.

        Returns
        -------
        Parameters
            Σ_i λ_i y_i ∇_θ Φ(θ; x_i).
        """
        return embed(self.architecture, self.parameters, Measure(self.points, self.weights * self.labels))

    @property
    def is_stationary(self) -> bool:
        """Whether θ = Σ_i λ_i y_i ∇_θ Φ(θ; x_i).

        Returns
        -------
        bool
            True if all entries are equal, which only exact numbers decide.
        """
        return bool(np.all(self.explained.vector() == self.parameters.vector()))

    @property
    def is_complementary(self) -> bool:
        """Whether λ_i = 0 for all samples with more than the smallest margin.

        Returns
        -------
        bool
            True if so, which only exact numbers decide.
        """
        margins = self.margins
        return all(w == 0 or m == min(margins) for w, m in zip(self.multipliers, margins, strict=True))


def weight_matrices(blocks: Sequence[Block]) -> list[list[Vector]]:
    """Write blocks as weight matrices: block-diagonal between the first layer, which all blocks share, and the last one.

    Parameters
    ----------
    blocks : sequence of Block
        Of one depth L.

    Returns
    -------
    list of list of list of Fraction
        The rows of each of the L matrices.
    """
    depth, weights = blocks[0].depth, []
    if depth == 1:
        return [[[blocks[0].size * x for x in blocks[0].direction]]]
    weights.append([[b.size * unit * b.sign * x for x in b.direction] for b in blocks for unit in b.units[0]])
    for level in range(1, depth - 1):
        lines = []
        for index, block in enumerate(blocks):
            for output in block.units[level]:
                parts = [
                    [block.size * output * u * (other == index) for u in b.units[level - 1]]
                    for other, b in enumerate(blocks)
                ]
                lines.append([number for part in parts for number in part])
        weights.append(lines)
    weights.append([[b.size * b.sign * unit for b in blocks for unit in b.units[-1]]])
    return weights


def _architecture(weights: list[list[Vector]], activation: Layer, biased: bool) -> Architecture:
    layers: list[Layer] = []
    for level, lines in enumerate(weights):
        layers += [Linear(len(lines), bias=biased and level == 0), activation]
    return Architecture("stationary", (len(weights[0][0]) - biased,), tuple(layers[:-1]), "logistic")


def _denominator(numbers: Sequence[Fraction]) -> int:
    return math.lcm(*(number.denominator for number in numbers))


def _primitive(numbers: Sequence[Fraction]) -> Fraction:
    """The positive factor that turns fractions into integers without a common divisor."""
    denominator = _denominator(numbers)
    return Fraction(denominator, math.gcd(*(int(number * denominator) for number in numbers)) or 1)


def _floats(lines: Sequence[Sequence[Fraction]], factor: Fraction | int) -> Float:
    return np.array([[float(number * factor) for number in line] for line in lines])


def in_integers(
    weights: list[list[Vector]], samples: list[Sample], activation: Layer, biased: bool
) -> StationaryPoint | None:
    """Scale a KKT point to integers over common denominators, which are exact in every arithmetic.

    Parameters
    ----------
    weights : list of list of list of Fraction
        The rows of each weight matrix; with a bias, the first layer's last column.
    samples : list of Sample
        With a bias, inputs end with the constant one.
    activation : Layer
        Homogeneous of degree one.
    biased : bool
        Whether the first layer has a bias.

    Returns
    -------
    StationaryPoint or None
        A KKT point if the given one is; None if the integers need more than 53 bits.
    """
    depth, architecture = len(weights), _architecture(weights, activation, biased)
    scale = _primitive([number for lines in weights for line in lines for number in line])
    points = [sample.point[:-1] if biased else sample.point for sample in samples]
    everything = [number for point in points for number in point]
    inputs = Fraction(_denominator(everything)) if biased else _primitive(everything)
    # Φ has degree L in θ, and without bias degree one in x; so have gradients, and the multipliers take what that leaves
    factor = scale ** (2 - depth) / (1 if biased else inputs)
    multipliers = [sample.multiplier * factor for sample in samples]
    common = _denominator(multipliers)
    largest = [abs(number) * scale for lines in weights for line in lines for number in line]
    largest += [abs(number) * inputs for number in everything] + [number * common for number in multipliers]
    if max([*largest, inputs, Fraction(common)]) >= 2**53:
        return None
    arrays: dict[str, Any] = {f"{2 * level}/weight": _floats(lines, scale) for level, lines in enumerate(weights)}
    if biased:
        arrays["0/bias"], arrays["0/weight"] = arrays["0/weight"][:, -1], arrays["0/weight"][:, :-1]
    return StationaryPoint(
        architecture,
        Parameters(architecture, arrays),
        _floats(points, inputs),
        float(inputs) if biased else 1.0,
        np.array([float(sample.label) for sample in samples]),
        _floats([multipliers], common)[0],
        float(common),
    )


def _turned(draw: st.DrawFn, direction: Vector, biased: bool) -> Vector:
    if biased:  # what both classes need with one constant input: the opposite bias, and the same length without it
        return [*draw(st.permutations(direction[:-1])), -direction[-1]]
    return unit_vector(draw(st.sampled_from(DIRECTIONS[len(direction)])))


@st.composite
def stationary_points(
    draw: st.DrawFn,
    *,
    depths: tuple[int, ...] = (2, 1, 3),
    activations: tuple[str, ...] = ("relu", "identity", "leaky_relu"),
    biased: bool | None = None,
) -> StationaryPoint:
    """KKT points of small homogeneous networks, exact in rationals.

    Parameters
    ----------
    depths : tuple of int, optional
        Numbers of layers to draw from; depth one is a linear classifier, that is, a support vector machine.
    activations : tuple of {"relu", "leaky_relu", "identity"}, optional
        Names to draw from; depth one has no activation.
    biased : bool, optional
        Force or forbid a bias in the first layer; chains of linear layers never have one.

    Returns
    -------
    StationaryPoint
        One to four samples in each class, or one class only; some samples are no support vectors, some pre-activations are
        exactly zero and some units are dead.
    """
    depth, name = draw(st.sampled_from(depths)), draw(st.sampled_from(activations))
    linear = depth == 1 or name == "identity"
    has_bias = not linear and (draw(st.integers(0, 2)) == 2 if biased is None else biased)
    dimension = draw(st.integers(1, 3)) + has_bias
    sizes = st.sampled_from((Fraction(1), Fraction(2), Fraction(3)))
    units = [unit_vector(draw(st.sampled_from(UNITS))) for _ in range(depth - 1)]
    direction = unit_vector(draw(st.sampled_from([v for v in DIRECTIONS[dimension] if v[-1] or not has_bias])))
    plus = Block(draw(sizes), direction, units, 1)
    blocks, samples = [plus], None
    if linear:
        samples = separated_by_a_line(draw, plus)
    elif draw(st.integers(0, 3)) > 0 and (depth == 2 or name == "relu"):
        # leaky units of both blocks pass every sample on, so a deeper network would have gradients between the blocks
        minus = Block(plus.size if has_bias else draw(sizes), _turned(draw, direction, has_bias), units, -1)
        slope = Fraction(1, 4) if name == "leaky_relu" else Fraction(0)
        blocks, samples = [plus, minus], two_labels(draw, plus, minus, slope, has_bias)
    if samples is None:
        blocks, samples = [plus], one_label(draw, plus, has_bias)
    weights = weight_matrices(blocks)
    if draw(st.booleans()):  # the mirror image: other labels and another sign of the last layer
        samples = [Sample(sample.point, -sample.label, sample.multiplier) for sample in samples]
        weights[-1] = [[-number for number in line] for line in weights[-1]]
    point = in_integers(weights, samples, ACTIVATIONS["identity" if linear else name], has_bias)
    assume(point is not None)
    assert point is not None
    return point
