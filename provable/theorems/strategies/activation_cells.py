"""Small (leaky) ReLU networks with a sample in an activation cell, and moves that stay in it: exact in rationals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import Architecture, Identity, Layer, LeakyReLU, Linear, ReLU
from provable.arithmetic import RATIONAL, Array, Float
from provable.arithmetic.null_space import null_space
from provable.networks import Parameters
from provable.stationarity.activation_cells import ActivationCells, CellMeasure, activation_cells
from provable.theorems.strategies.arrays import seeds

BITS = 5
"""Steps to the boundary of a cell that are no such binary numbers are rounded down to this many binary digits."""


@dataclass(frozen=True)
class AnchoredNetwork:
    """A network with one sample and Clarke weights at its kinks.

    Parameters
    ----------
    architecture : Architecture
        A chain with one output and (leaky) ReLUs.
    parameters : Parameters
        θ.
    anchor : ndarray of shape (1, d)
        The sample x.
    slopes : dict of str to ndarray of shape (1, units)
        Slopes for pre-activations that are zero, by the path of the activation.
    """

    architecture: Architecture
    parameters: Parameters
    anchor: Array
    slopes: dict[str, Array]

    @property
    def cells(self) -> ActivationCells:
        """The cell of the sample.

        Returns
        -------
        ActivationCells
            In the arithmetic of the numbers.
        """
        return activation_cells(self.architecture, self.parameters, self.anchor, slopes=self.slopes)

    def measure(self, points: Array, coefficients: Array) -> CellMeasure:
        """Attribute atoms to the cell of the sample.

        Parameters
        ----------
        points : ndarray of shape (k, d)
            The atoms.
        coefficients : ndarray of shape (k,)
            Their coefficients.

        Returns
        -------
        CellMeasure
            The measure.
        """
        return CellMeasure(points, coefficients.reshape(-1, 1), np.zeros(len(points), dtype=np.intp))

    def explained(self, points: Array, coefficients: Array) -> Array:
        """The tangent embedding with the slopes that the network really has at the atoms.

        Parameters
        ----------
        points : ndarray of shape (k, d)
            The atoms, in the cell or not.
        coefficients : ndarray of shape (k,)
            Their coefficients.

        Returns
        -------
        ndarray of shape (P,)
            Σ_j c_j ∇_θ f(x_j; θ); where a pre-activation is zero, with the slope of the sample there.
        """
        measure = self.measure(points, coefficients)
        there = self.cells.at(measure)
        return there.embedding(there.measure(measure.coefficients))


@dataclass(frozen=True)
class CellLine:
    """A direction through a sample with steps on both sides.

    Parameters
    ----------
    network : AnchoredNetwork
        The network and the sample x.
    direction : ndarray of shape (d,)
        ν.
    forward, backward : float
        The steps a along it and b against it.
    coefficient : float
        The coefficient of the sample.
    """

    network: AnchoredNetwork
    direction: Array
    forward: float
    backward: float
    coefficient: float


@dataclass(frozen=True)
class CellGroup:
    """Several atoms.

    Parameters
    ----------
    network : AnchoredNetwork
        The network and the sample whose cell is meant.
    moves : ndarray of shape (k, d)
        The atoms minus that sample.
    coefficients : ndarray of shape (k,)
        Their coefficients.
    """

    network: AnchoredNetwork
    moves: Array
    coefficients: Array


@st.composite
def anchored_networks(draw: st.DrawFn, *, activations: tuple[str, ...] = ("relu", "leaky_relu")) -> AnchoredNetwork:
    """Networks of two or three layers with readable numbers and a sample, on which some pre-activations are zero.

    Parameters
    ----------
    activations : tuple of {"relu", "leaky_relu", "identity"}, optional
        What to draw from.

    Returns
    -------
    AnchoredNetwork
        One to three inputs, one to three units in a layer, biases in every layer or none.
    """
    known: dict[str, Layer] = {"relu": ReLU(), "leaky_relu": LeakyReLU(negative_slope=0.25), "identity": Identity()}
    activation = known[draw(st.sampled_from(activations))]
    dimension, biased = draw(st.integers(1, 3)), draw(st.booleans())
    widths = [draw(st.integers(1, 3)) for _ in range(draw(st.sampled_from((1, 1, 2))))]
    layers: list[Layer] = []
    for width in widths:
        layers += [Linear(width, bias=biased), activation]
    architecture = Architecture("small", (dimension,), (*layers, Linear(1, bias=biased)), "logistic")
    # from a seed: entries drawn one by one would be shrunk one by one, which takes ten times as long as all the rest
    rng = np.random.default_rng(draw(seeds()))
    parameters = Parameters.from_vector(architecture, rng.integers(-3, 4, size=architecture.parameter_count) / 2)
    low = {"relu": 0.0, "leaky_relu": 0.25}.get(activation.type, 1.0)
    weights = (low, 1.0, (1 + low) / 2, (1 + 3 * low) / 4)
    slopes = {str(2 * k + 1): rng.choice(weights, size=(1, width)) for k, width in enumerate(widths)}
    return AnchoredNetwork(architecture, parameters, rng.integers(-3, 4, size=(1, dimension)) / 2, slopes)


@st.composite
def cell_lines(draw: st.DrawFn, *, keep_outputs: bool = True) -> CellLine:
    """Directions within a cell, with steps that do not leave it.

    Parameters
    ----------
    keep_outputs : bool, optional
        Whether the direction is orthogonal to the gradient of the output.

    Returns
    -------
    CellLine
        With different steps in general; often one of them ends on the boundary of the cell.
    """
    network = draw(anchored_networks())
    cell = RATIONAL.convert(network).cells.cell(0)
    direction = _integer_direction(draw, cell.fixed if keep_outputs else cell.rows[cell.kinks], cell.outputs)
    reached = cell.steps(RATIONAL.convert(direction))
    steps = [_step(draw, reach) for reach in reached]
    return CellLine(network, direction, steps[0], steps[1], draw(st.sampled_from((1.0, -1.0, 0.5, 3.0))))


@st.composite
def cell_groups(draw: st.DrawFn) -> CellGroup:
    """Two or three atoms of one cell with coefficients of one sign.

    Returns
    -------
    CellGroup
        Their outputs differ in general.
    """
    network = draw(anchored_networks())
    cell = RATIONAL.convert(network).cells.cell(0)
    moves = []
    for _ in range(draw(st.integers(2, 3))):
        direction = _integer_direction(draw, cell.rows[cell.kinks], cell.outputs)
        forward, _ = cell.steps(RATIONAL.convert(direction))
        moves.append(_step(draw, forward) * direction)
    sizes = [draw(st.sampled_from((1.0, 2.0, 0.5, 3.0))) for _ in moves]
    return CellGroup(network, np.array(moves), draw(st.sampled_from((1.0, -1.0))) * np.array(sizes))


def _integer_direction(draw: st.DrawFn, rows: Array, outputs: Array) -> Float:
    """A nonzero vector of integers that is orthogonal to some rows."""
    basis = null_space(np.concatenate([rows, 0 * outputs[:1]]))
    assume(len(basis))
    factors = np.array([draw(st.integers(-2, 2)) for _ in range(len(basis))])
    assume(np.any(factors))
    vector = sum((int(factor) * row for factor, row in zip(factors, basis, strict=True)), 0 * basis[0])
    denominator = math.lcm(*(int(entry.q) for entry in vector))
    result: Float = arithmetic.to_float(vector * denominator)
    assume(np.all(np.abs(result) < 2**40))
    return result


def _step(draw: st.DrawFn, reach: Any) -> float:
    """A binary number up to the distance of the boundary: often that distance."""
    if reach is None:
        return draw(st.sampled_from((1.0, 0.5, 8.0, 1024.0)))
    largest = Fraction(int(reach.p), int(reach.q))
    exponent = math.floor(math.log2(largest)) - BITS
    unit = Fraction(2) ** exponent
    whole = float(math.floor(largest / unit) * unit)
    return whole * draw(st.sampled_from((1.0, 0.5, 0.25)))
