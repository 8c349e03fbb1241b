r"""The tangent embedding of one atom by a chain of layers, its Jacobian, and how fast the Jacobian varies, in balls.

A chain is a list of linear layers and activations. For an atom (x, c), forwards with h the input of a layer and
H = ∂h/∂(x, c), backwards with g = ∂(c·f)/∂s for the output s of a layer and G = ∂g/∂(x, c):

* linear, s = Wh + b: ∂s/∂(x, c) = WH, and one layer down g ← Wᵀg, G ← WᵀG;
* activation, h' = σ(s): H' = diag(σ')·S with S = ∂s/∂(x, c), and one layer down g ← σ' ⊙ g,
  G ← diag(σ')G + diag(σ'' ⊙ g)S;
* at the top g = c and G = [0, I].

The pieces of the embedding are g hᵀ (weight) and g (bias), so row (o, i) of its Jacobian is h_i·G[o, :] + g_o·H[i, :]
(weight), and G[o, :] (bias). The Gram matrix of atoms j and k therefore needs no row of the Jacobian:

.. math::
    J_j^T J_k = (h_j \cdot h_k)\, G_j^T G_k + (G_j^T g_k)(h_j^T H_k) + (H_j^T h_k)(g_j^T G_k) + (g_j \cdot g_k)\, H_j^T H_k
    \;+\; G_j^T G_k \text{ for the bias}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import flint
import numpy as np

from provable.architectures import Activation, Architecture, Flatten, Linear
from provable.errors import ArithmeticUnsupported, UnsupportedError
from provable.networks import Parameters, activations
from provable.rigor.balls import Ball, BallMatrix, ball_matrix, largest, spectral_upper, sum_of_squares

LARGEST_SQUARED = 256
"""Most rows or columns, whichever are fewer, of a weight whose norm is found by many squarings."""


class KinkError(UnsupportedError):
    """A ball of pre-activations contains the kink of a piecewise activation, so the mean value theorem does not apply."""


@dataclasses.dataclass(frozen=True)
class LinearStep:
    """A linear layer of the chain: its index, its weight W (m, m'), its bias (m, 1), ‖W‖₂ and the norms of W's rows."""

    index: int
    weight: BallMatrix
    bias: BallMatrix | None
    norm: Ball
    row_norms: list[Ball]


@dataclasses.dataclass(frozen=True)
class ActivationStep:
    """An activation of the chain."""

    layer: Activation


Step = LinearStep | ActivationStep


def chain_of(architecture: Architecture, parameters: Parameters) -> list[Step]:
    """Read an architecture as a chain of linear layers and activations on flat vectors.

    Parameters
    ----------
    architecture : Architecture
        The network; flatten layers are the identity on flat vectors.
    parameters : Parameters
        Its float64 parameters, taken as the rational numbers that they are.

    Returns
    -------
    list of LinearStep or ActivationStep
        The steps in order.

    Raises
    ------
    UnsupportedError
        If a layer is of another kind; the message names it.
    """
    steps: list[Step] = []
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Linear):
            weight = ball_matrix(parameters[f"{index}/weight"])
            bias = ball_matrix(parameters[f"{index}/bias"]) if layer.bias else None
            row_norms = [euclidean_upper(row) for row in weight.tolist()]
            # a squaring of a matrix of some hundred rows costs a second, and five of them are worth a factor 2 at most
            squarings = 5 if min(weight.nrows(), weight.ncols()) <= LARGEST_SQUARED else 1
            steps.append(LinearStep(index, weight, bias, spectral_upper(weight, squarings), row_norms))
        elif isinstance(layer, Activation):
            steps.append(ActivationStep(layer))
        elif not isinstance(layer, Flatten):
            raise UnsupportedError(
                f"layer {index} ({layer.type}): certificates are made for chains of linear, flatten and activation "
                "layers; this one would need its own Jacobian enclosure"
            )
    return steps


def euclidean_upper(entries: Sequence[Ball]) -> Ball:
    """Upper bound of a Euclidean norm.

    Parameters
    ----------
    entries : sequence of arb
        A vector.

    Returns
    -------
    arb
        Exact ball.
    """
    return sum_of_squares(entry.abs_upper() for entry in entries).abs_upper().sqrt().abs_upper()


def _empty() -> BallMatrix:
    return flint.arb_mat(0, 0)


@dataclasses.dataclass
class _Record:
    """What one step leaves for the backward pass; norms are upper bounds."""

    step: Step
    inputs: BallMatrix  # h of a linear layer, s of an activation, (m', 1)
    tangent: BallMatrix | None  # H or S, (m', d + C); None for the identity [I, 0]
    tangent_norm: Ball
    first: list[Ball] = dataclasses.field(default_factory=list)  # σ'(s)
    second: list[Ball] = dataclasses.field(default_factory=list)  # σ''(s)
    gradient: BallMatrix = dataclasses.field(default_factory=_empty)  # g above the step, (m, 1)
    gradient_tangent: BallMatrix = dataclasses.field(default_factory=_empty)  # G above the step, (m, d + C)
    gradient_tangent_norm: Ball = dataclasses.field(default_factory=flint.arb)


class Atom:
    """One atom (x, c) of a measure, with everything that its embedding and its Jacobian consist of.

    Parameters
    ----------
    steps : list of LinearStep or ActivationStep
        The chain.
    point : ndarray of shape (d,)
        x, flat.
    coefficients : ndarray of shape (C,)
        c.
    """

    def __init__(self, steps: Sequence[Step], point: Any, coefficients: Any) -> None:
        self.dimension = len(point)
        self.size = len(point) + len(coefficients)
        self.records: list[_Record] = []
        self._forward(steps, ball_matrix(np.asarray(point)))
        self._backward(ball_matrix(np.asarray(coefficients)))

    def _forward(self, steps: Sequence[Step], values: BallMatrix) -> None:
        tangent: BallMatrix | None = None
        tangent_norm = flint.arb(1)
        for step in steps:
            record = _Record(step, values, tangent, tangent_norm)
            self.records.append(record)
            if isinstance(step, LinearStep):
                values = step.weight * values
                if step.bias is not None:
                    values = values + step.bias
                tangent = _padded(step.weight, self.size) if tangent is None else step.weight * tangent
            else:
                arguments = np.array(values.entries(), dtype=object)
                values = ball_matrix(activations.value(step.layer, arguments))
                record.first = list(activations.derivative(step.layer, arguments, 1))
                record.second = list(activations.derivative(step.layer, arguments, 2))
                tangent = _scaled_rows(record.first, self._dense(tangent))
            tangent_norm = spectral_upper(tangent)

    def _backward(self, gradient: BallMatrix) -> None:
        rows, columns = gradient.nrows(), self.size
        unit = [flint.arb(int(column - self.dimension == row)) for row in range(rows) for column in range(columns)]
        tangent = flint.arb_mat(rows, columns, unit)
        for position in reversed(range(len(self.records))):
            record = self.records[position]
            record.gradient, record.gradient_tangent = gradient, tangent
            record.gradient_tangent_norm = spectral_upper(tangent)
            if position == 0:
                return
            if isinstance(record.step, LinearStep):
                transposed = record.step.weight.transpose()
                gradient, tangent = transposed * gradient, transposed * tangent
            else:
                entries = gradient.entries()
                bent = [second * g for second, g in zip(record.second, entries, strict=True)]
                tangent = _scaled_rows(record.first, tangent) + _scaled_rows(bent, self._dense(record.tangent))
                entries = [first * g for first, g in zip(record.first, entries, strict=True)]
                gradient = flint.arb_mat(len(entries), 1, entries)

    def _dense(self, tangent: BallMatrix | None) -> BallMatrix:
        if tangent is not None:
            return tangent
        unit = [flint.arb(int(i == j)) for i in range(self.dimension) for j in range(self.dimension)]
        return _padded(flint.arb_mat(self.dimension, self.dimension, unit), self.size)

    def linear_records(self) -> dict[int, _Record]:
        """Records of the linear layers.

        Returns
        -------
        dict of int to record
            By layer index.
        """
        return {record.step.index: record for record in self.records if isinstance(record.step, LinearStep)}

    def piece(self, index: int, part: str) -> BallMatrix:
        """Contribution of the atom to one piece of the embedding.

        Parameters
        ----------
        index : int
            Index of a linear layer.
        part : {"weight", "bias"}
            Which parameter.

        Returns
        -------
        arb_mat
            g hᵀ of shape (m, m'), or g of shape (m, 1).
        """
        record = self.linear_records()[index]
        if part == "bias":
            return record.gradient
        return record.gradient * record.inputs.transpose()

    def jacobian_deviation(self, radius: Ball, pieces: Sequence[tuple[int, str]]) -> Ball:
        """Bound how much the Jacobian changes within a ball around the atom.

        Parameters
        ----------
        radius : arb
            R > 0, exact.
        pieces : sequence of (int, str)
            The pieces of the embedding that count.

        Returns
        -------
        arb
            Exact ball, at least ``‖J(x', c') - J(x, c)‖₂`` for all (x', c') within R of (x, c).

        Raises
        ------
        KinkError
            If a pre-activation may cross the kink of a piecewise activation within R.

        Notes
        -----
        With Δ for the difference to the centre and sup for the supremum over the ball, all in the spectral norm:
        Δ(h ⊗ G + g ⊗ H) ≤ ΔG·sup‖h‖ + ‖G‖·Δh + Δg·sup‖H‖ + ‖g‖·ΔH, because ‖h ⊗ G‖ = ‖h‖‖G‖. The four deviations follow
        the recursions of the module, with |Δs_o| ≤ ‖W[o, :]‖·Δh for every neuron, |Δσ'(s_o)| ≤ sup|σ''|·|Δs_o| by the
        mean value theorem, and |Δσ''(s_o)| from the ball that σ'' takes on s_o ± |Δs_o|.
        """
        forward = self._forward_deviation(radius)
        gradient, tangent = radius, flint.arb(0)
        total = flint.arb(0)
        for record, moved in zip(reversed(self.records), reversed(forward), strict=True):
            step = record.step
            if isinstance(step, LinearStep):
                if (step.index, "weight") in pieces:
                    part = (
                        tangent * (euclidean_upper(record.inputs.entries()) + moved.values)
                        + record.gradient_tangent_norm * moved.values
                        + gradient * (record.tangent_norm + moved.tangent)
                        + euclidean_upper(record.gradient.entries()) * moved.tangent
                    )
                    total += part * part
                if (step.index, "bias") in pieces:
                    total += tangent * tangent
                gradient, tangent = _upper(step.norm * gradient), _upper(step.norm * tangent)
            else:
                size = [g.abs_upper() for g in record.gradient.entries()]
                neurons = list(zip(moved.neurons, size, strict=True))
                slope, slope_change = moved.largest_slope, moved.largest_slope_change
                curvature = largest(_upper(neuron.curvature * (g + gradient)) for neuron, g in neurons)
                change = largest(
                    _upper(neuron.curvature_change * g + neuron.curvature * gradient) for neuron, g in neurons
                )
                tangent = _upper(
                    slope_change * record.gradient_tangent_norm
                    + slope * tangent
                    + change * record.tangent_norm
                    + curvature * moved.tangent
                )
                shift = euclidean_upper([_upper(neuron.slope_change * g) for neuron, g in neurons])
                gradient = _upper(shift + slope * gradient)
        return _upper(_upper(total).sqrt())

    def _forward_deviation(self, radius: Ball) -> list[_Deviation]:
        values, tangent = radius, flint.arb(0)
        entrywise = [radius] * self.dimension
        deviations = []
        for record in self.records:
            step = record.step
            if isinstance(step, LinearStep):
                deviations.append(_Deviation(values, tangent, []))
                entrywise = [_upper(norm * values) for norm in step.row_norms]
                values, tangent = _upper(step.norm * values), _upper(step.norm * tangent)
                continue
            neurons = _neurons(step.layer, record.inputs.entries(), record.second, entrywise)
            deviation = _Deviation(values, tangent, neurons)
            deviations.append(deviation)
            entrywise = [_upper(neuron.slope * moved) for neuron, moved in zip(neurons, entrywise, strict=True)]
            tangent = _upper(deviation.largest_slope_change * record.tangent_norm + deviation.largest_slope * tangent)
            together, apart = _upper(deviation.largest_slope * values), euclidean_upper(entrywise)
            values = together if together < apart else apart
        return deviations


@dataclasses.dataclass(frozen=True)
class _Neuron:
    """Over the ball of one pre-activation: sup|σ'|, sup|σ' - σ'(s)|, sup|σ''| and sup|σ'' - σ''(s)|."""

    slope: Ball
    slope_change: Ball
    curvature: Ball
    curvature_change: Ball


@dataclasses.dataclass(frozen=True)
class _Deviation:
    """How far the input of a step, and its derivative, move over the ball; for an activation, every neuron's bounds."""

    values: Ball
    tangent: Ball
    neurons: list[_Neuron]

    @property
    def largest_slope(self) -> Ball:
        return largest(neuron.slope for neuron in self.neurons)

    @property
    def largest_slope_change(self) -> Ball:
        return largest(neuron.slope_change for neuron in self.neurons)


def _neurons(layer: Activation, centres: list[Ball], curvatures: list[Ball], moved: list[Ball]) -> list[_Neuron]:
    arguments = np.array([s + flint.arb(0, m) for s, m in zip(centres, moved, strict=True)], dtype=object)
    try:
        first, second = (activations.derivative(layer, arguments, order) for order in (1, 2))
    except ArithmeticUnsupported as error:
        raise KinkError(f"a pre-activation of {layer.type} may be zero, where the activation has a kink") from error
    return [
        _Neuron(
            slope=slope.abs_upper(),
            slope_change=_upper(curvature.abs_upper() * m),
            curvature=curvature.abs_upper(),
            curvature_change=(curvature - at_centre).abs_upper(),
        )
        for slope, curvature, at_centre, m in zip(first, second, curvatures, moved, strict=True)
    ]


def gram_block(first: Atom, second: Atom, pieces: Sequence[tuple[int, str]]) -> BallMatrix:
    """Block of the Gram matrix JᵀJ that belongs to two atoms.

    Parameters
    ----------
    first, second : Atom
        Atoms j and k.
    pieces : sequence of (int, str)
        The pieces of the embedding that count.

    Returns
    -------
    arb_mat of shape (d + C, d + C)
        Balls around J_jᵀ J_k.
    """
    total = flint.arb_mat(first.size, second.size)
    left, right = first.linear_records(), second.linear_records()
    for index, j in left.items():
        k = right[index]
        if (index, "weight") not in pieces and (index, "bias") not in pieces:
            continue
        both = j.gradient_tangent.transpose() * k.gradient_tangent
        if (index, "bias") in pieces:
            total = total + both
        if (index, "weight") in pieces:
            total = total + both * _inner(j.inputs, k.inputs)
            total = total + (j.gradient_tangent.transpose() * k.gradient) * _row_times(j.inputs, k.tangent, second)
            row = _row_times(k.inputs, j.tangent, first)
            total = total + row.transpose() * (j.gradient.transpose() * k.gradient_tangent)
            total = total + _tangent_product(j.tangent, k.tangent, first) * _inner(j.gradient, k.gradient)
    return total


def _inner(left: BallMatrix, right: BallMatrix) -> Ball:
    return (left.transpose() * right)[0, 0]


def _row_times(column: BallMatrix, tangent: BallMatrix | None, atom: Atom) -> BallMatrix:
    transposed = column.transpose()
    return _padded(transposed, atom.size) if tangent is None else transposed * tangent


def _tangent_product(left: BallMatrix | None, right: BallMatrix | None, atom: Atom) -> BallMatrix:
    if left is not None and right is not None:
        return left.transpose() * right
    size = atom.size
    unit = [flint.arb(int(i == j < atom.dimension)) for i in range(size) for j in range(size)]
    return flint.arb_mat(size, size, unit)


def _padded(matrix: BallMatrix, columns: int) -> BallMatrix:
    zeros = [flint.arb(0)] * (columns - matrix.ncols())
    return flint.arb_mat(matrix.nrows(), columns, [entry for row in matrix.tolist() for entry in [*row, *zeros]])


def _scaled_rows(factors: Sequence[Ball], matrix: BallMatrix) -> BallMatrix:
    rows = zip(factors, matrix.tolist(), strict=True)
    return flint.arb_mat(matrix.nrows(), matrix.ncols(), [factor * entry for factor, row in rows for entry in row])


def _upper(number: Ball) -> Ball:
    return number.abs_upper()
