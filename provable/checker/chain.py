r"""The embedding of a measure by a chain of linear layers and activations, in balls: values, Jacobian, and its variation.

For an atom (x, c), let h be the input of a linear layer and g = ∂(c·f)/∂s for its output s. Its part of Φ_θ μ is g hᵀ in the
weight and g in the bias. Derivatives by the unknowns (x, c) are H (of h) and G (of g), and the derivative of g hᵀ is
G ⊗ h + g ⊗ H, whose products with another atom's are four products of small matrices. Rules, with σ', σ'' at s = Wh + b and
S = ∂s = WH: activations map H to diag(σ')S, and backwards g to σ' ⊙ g and G to diag(σ')G + diag(σ'' ⊙ g)S; linear layers map
backwards g to Wᵀg and G to WᵀG.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from flint import arb, arb_mat

from provable.checker.activations import Jet, jet
from provable.checker.archive import Numbers
from provable.checker.bounds import length, spectral
from provable.checker.description import Layer

Piece = tuple[int, str]

_PARTS = 8
"""Parts into which the ball of a pre-activation is cut."""


@dataclasses.dataclass(frozen=True)
class Linear:
    """W, b, an upper bound of ‖W‖₂ and of the norms of its rows."""

    index: int
    weight: arb_mat
    bias: arb_mat | None
    norm: arb
    rows: list[arb]


Step = Linear | Layer


def linear(index: int, weight: Numbers, bias: Numbers | None, squarings: int = 6) -> Linear:
    """Take a linear layer's parameters as balls of radius zero.

    Parameters
    ----------
    index : int
        Index of the layer.
    weight : Numbers
        W, two-dimensional.
    bias : Numbers or None
        b.
    squarings : int
        For the bound of ‖W‖₂, see `spectral`.

    Returns
    -------
    Linear
        The layer.
    """
    matrix = arb_mat(weight.shape[0], weight.shape[1], [arb(entry) for entry in weight.entries])
    column = None if bias is None else arb_mat(weight.shape[0], 1, [arb(entry) for entry in bias.entries])
    return Linear(index, matrix, column, spectral(matrix, squarings), [length(row) for row in matrix.tolist()])


def _greatest(numbers: list[arb]) -> arb:
    best = arb(0)
    for number in numbers:
        if not number.is_finite():
            return number
        best = number if number > best else best
    return best


@dataclasses.dataclass
class _Stage:
    """One step as seen by one atom: input, derivative of the input, and what the backward pass brings to its output."""

    step: Step
    inputs: list[arb]
    tangent: arb_mat | None  # None: the unknowns x themselves
    norm: arb
    slopes: list[arb]
    bends: list[arb]
    gradient: list[arb] = dataclasses.field(default_factory=list)
    response: arb_mat = dataclasses.field(default_factory=lambda: arb_mat(0, 0))
    response_norm: arb = dataclasses.field(default_factory=arb)


class Trace:
    """Forward and backward pass of one atom.

    Parameters
    ----------
    steps : list of Linear or dict
        The chain.
    point, coefficients : list of arb
        x and c.
    """

    def __init__(self, steps: list[Step], point: list[arb], coefficients: list[arb]) -> None:
        self.inputs, self.unknowns = len(point), len(point) + len(coefficients)
        self.stages: list[_Stage] = []
        values, tangent, norm = point, None, arb(1)
        for step in steps:
            stage = _Stage(step, values, tangent, norm, [], [])
            self.stages.append(stage)
            if isinstance(step, Linear):
                image = step.weight * _column(values)
                values = (image if step.bias is None else image + step.bias).entries()
                tangent = self._wide(step.weight) if tangent is None else step.weight * tangent
            else:
                jets = [jet(step, z) for z in values]
                values, stage.slopes, stage.bends = ([part[k] for part in jets] for k in range(3))
                tangent = _rows_scaled(stage.slopes, self._dense(tangent))
            norm = spectral(tangent)
        self._backward(coefficients)

    def _backward(self, gradient: list[arb]) -> None:
        count = len(gradient)
        response = arb_mat([[arb(int(k == self.inputs + i)) for k in range(self.unknowns)] for i in range(count)])
        for stage in reversed(self.stages):
            stage.gradient, stage.response, stage.response_norm = gradient, response, spectral(response)
            if stage is self.stages[0]:
                break
            if isinstance(stage.step, Linear):
                back = stage.step.weight.transpose()
                gradient, response = (back * _column(gradient)).entries(), back * response
            else:
                bent = [bend * g for bend, g in zip(stage.bends, gradient, strict=True)]
                response = _rows_scaled(stage.slopes, response) + _rows_scaled(bent, self._dense(stage.tangent))
                gradient = [slope * g for slope, g in zip(stage.slopes, gradient, strict=True)]

    def _wide(self, matrix: arb_mat) -> arb_mat:
        zeros = [arb(0)] * (self.unknowns - self.inputs)
        return arb_mat([row + zeros for row in matrix.tolist()])

    def _dense(self, tangent: arb_mat | None) -> arb_mat:
        if tangent is not None:
            return tangent
        return arb_mat([[arb(int(i == k)) for k in range(self.unknowns)] for i in range(self.inputs)])

    def at(self, index: int) -> _Stage:
        """Find the stage of a linear layer.

        Parameters
        ----------
        index : int
            Index of the layer.

        Returns
        -------
        _Stage
            The stage.
        """
        return next(s for s in self.stages if isinstance(s.step, Linear) and s.step.index == index)

    def variation(self, radius: arb, pieces: set[Piece]) -> arb:
        """Bound ‖J(x', c') - J(x, c)‖₂ for all (x', c') within a radius of (x, c).

        Parameters
        ----------
        radius : arb
            Exact and positive.
        pieces : set of (int, str)
            The pieces that count.

        Returns
        -------
        arb
            An exact upper bound; infinite or not a number if none is known.

        Raises
        ------
        Invalid
            If a kink may lie within the radius.

        Notes
        -----
        First every stage's input h and its derivative H get bounds of ‖h' - h‖ and ‖H' - H‖, then, downwards, the same is
        done for g and G; products are bounded by ‖ab - a₀b₀‖ ≤ ‖a - a₀‖(‖b₀‖ + ‖b - b₀‖) + ‖a₀‖‖b - b₀‖.
        """
        moved = []
        shift, turn, each = radius, arb(0), [radius] * self.inputs
        for stage in self.stages:
            if isinstance(stage.step, Linear):
                moved.append((shift, turn, _Local.none()))
                each = [(row * shift).abs_upper() for row in stage.step.rows]
                shift, turn = (stage.step.norm * shift).abs_upper(), (stage.step.norm * turn).abs_upper()
            else:
                local = _Local.of(stage, each)
                moved.append((shift, turn, local))
                each = [(slope * e).abs_upper() for slope, e in zip(local.slope, each, strict=True)]
                steepest = _greatest(local.slope)
                turn = (_greatest(local.slope_moved) * stage.norm + steepest * turn).abs_upper()
                shift = _lesser((steepest * shift).abs_upper(), length(each))
        total = arb(0)
        drift, twist = radius, arb(0)
        for stage, (shift, turn, local) in zip(reversed(self.stages), reversed(moved), strict=True):
            if isinstance(stage.step, Linear):
                if (stage.step.index, "weight") in pieces:
                    part = twist * (length(stage.inputs) + shift) + stage.response_norm * shift
                    part += drift * (stage.norm + turn) + length(stage.gradient) * turn
                    total += part * part
                if (stage.step.index, "bias") in pieces:
                    total += twist * twist
                drift, twist = (stage.step.norm * drift).abs_upper(), (stage.step.norm * twist).abs_upper()
            else:
                size = [g.abs_upper() for g in stage.gradient]
                bend = [(b * (g + drift)).abs_upper() for b, g in zip(local.bend, size, strict=True)]
                bend_moved = [
                    (m * g + b * drift).abs_upper() for m, b, g in zip(local.bend_moved, local.bend, size, strict=True)
                ]
                steepest = _greatest(local.slope)
                twist = _greatest(local.slope_moved) * stage.response_norm + steepest * twist
                twist = (twist + _greatest(bend_moved) * stage.norm + _greatest(bend) * turn).abs_upper()
                lost = length([m * g for m, g in zip(local.slope_moved, size, strict=True)])
                drift = (lost + steepest * drift).abs_upper()
        return total.abs_upper().sqrt().abs_upper()


@dataclasses.dataclass(frozen=True)
class _Local:
    """For every neuron over its ball: bounds of |σ'|, |σ' - σ'(s)|, |σ''| and |σ'' - σ''(s)|."""

    slope: list[arb]
    slope_moved: list[arb]
    bend: list[arb]
    bend_moved: list[arb]

    @classmethod
    def none(cls) -> _Local:
        return cls([], [], [], [])

    @classmethod
    def of(cls, stage: _Stage, each: list[arb]) -> _Local:
        layer: Any = stage.step
        jets = [_split(layer, s, e) for s, e in zip(stage.inputs, each, strict=True)]
        bend = [_greatest([part[2].abs_upper() for part in parts]) for parts in jets]
        third = [_greatest([part[3].abs_upper() for part in parts]) for parts in jets]
        return cls(
            slope=[_greatest([part[1].abs_upper() for part in parts]) for parts in jets],
            slope_moved=[(b * e).abs_upper() for b, e in zip(bend, each, strict=True)],
            bend=bend,
            bend_moved=[(t * e).abs_upper() for t, e in zip(third, each, strict=True)],
        )


def _split(layer: Layer, centre: arb, radius: arb) -> list[Jet]:
    """Jets on parts that cover the ball; on parts, a number that occurs twice in a formula widens the result less."""
    half = arb(0, (radius / _PARTS).abs_upper())
    return [jet(layer, centre + radius * (2 * part + 1 - _PARTS) / _PARTS + half) for part in range(_PARTS)]


def _lesser(first: arb, second: arb) -> arb:
    return second if second < first else first


def _column(entries: list[arb]) -> arb_mat:
    return arb_mat(len(entries), 1, entries)


def _rows_scaled(factors: list[arb], matrix: arb_mat) -> arb_mat:
    rows = zip(factors, matrix.tolist(), strict=True)
    return arb_mat(matrix.nrows(), matrix.ncols(), [factor * entry for factor, row in rows for entry in row])


def embedding_piece(traces: list[Trace], piece: Piece) -> list[arb]:
    """Enclose one piece of Φ_θ μ.

    Parameters
    ----------
    traces : list of Trace
        The atoms.
    piece : (int, str)
        Index of a linear layer, and ``"weight"`` or ``"bias"``.

    Returns
    -------
    list of arb
        Its entries in row-major order.
    """
    stages = [trace.at(piece[0]) for trace in traces]
    gradients = arb_mat([stage.gradient for stage in stages]).transpose()
    if piece[1] == "bias":
        return (gradients * arb_mat([[1]] * len(stages))).entries()
    return (gradients * arb_mat([stage.inputs for stage in stages])).entries()


def gram(traces: list[Trace], pieces: set[Piece]) -> list[list[arb]]:
    """Enclose JᵀJ.

    Parameters
    ----------
    traces : list of Trace
        The atoms.
    pieces : set of (int, str)
        The pieces that count.

    Returns
    -------
    list of list of arb
        The lower triangle; the unknowns are those of the first atom, then of the second and so on.
    """
    width = traces[0].unknowns
    size = width * len(traces)
    total = [[arb(0)] * (row + 1) for row in range(size)]
    for index in sorted({index for index, _ in pieces}):
        stages = [trace.at(index) for trace in traces]
        responses = _side_by_side([stage.response for stage in stages])
        squares = (responses.transpose() * responses).tolist()
        gradients = arb_mat([stage.gradient for stage in stages])
        inputs = arb_mat([stage.inputs for stage in stages])
        by_gradient = (gradients * responses).tolist()  # [k][i]: g_k · G_i
        by_input = _by_input(traces, stages, inputs)  # [k][i]: h_k · H_i
        g_products = (gradients * gradients.transpose()).tolist()
        h_products = (inputs * inputs.transpose()).tolist()
        tangents = _tangent_squares(traces, stages)
        for row in range(size):
            j = row // width
            line = total[row]
            for column in range(row + 1):
                k = column // width
                value = line[column]
                if (index, "bias") in pieces:
                    value += squares[row][column]
                if (index, "weight") in pieces:
                    value += squares[row][column] * h_products[j][k]
                    value += by_gradient[k][row] * by_input[j][column] + by_gradient[j][column] * by_input[k][row]
                    value += tangents(row, column) * g_products[j][k]
                line[column] = value
    return total


def _side_by_side(matrices: list[arb_mat]) -> arb_mat:
    return arb_mat(
        [[entry for row in rows for entry in row] for rows in zip(*(m.tolist() for m in matrices), strict=True)]
    )


def _by_input(traces: list[Trace], stages: list[_Stage], inputs: arb_mat) -> list[list[arb]]:
    if stages[0].tangent is not None:
        return (inputs * _side_by_side([s.tangent for s in stages if s.tangent is not None])).tolist()
    zeros = [arb(0)] * (traces[0].unknowns - traces[0].inputs)
    return [(row + zeros) * len(traces) for row in inputs.tolist()]


def _tangent_squares(traces: list[Trace], stages: list[_Stage]) -> Any:
    """Function (row, column) -> entry of HᵀH."""
    tangents = [stage.tangent for stage in stages if stage.tangent is not None]
    if tangents:
        together = _side_by_side(tangents)
        products = (together.transpose() * together).tolist()
        return lambda row, column: products[row][column]
    width, inputs = traces[0].unknowns, traces[0].inputs
    one, zero = arb(1), arb(0)
    return lambda row, column: one if row % width == column % width < inputs else zero
