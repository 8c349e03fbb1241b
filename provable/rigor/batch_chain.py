r"""A batch in a chain of layers, in balls: values and gradients, and how fast they change, by products of norms.

Notation as in `provable.rigor.chain_derivatives`, one column per sample. Within R of z = (points, coefficients), all samples
together, the following constants hold for every sample; `Growth` and `Decline` list them for every step. Forwards, for the
input h of a step: λ bounds ‖∂h/∂x‖, μ is a Lipschitz constant of ∂h/∂x, and λ_o one of every entry h_o.

* linear: λ ← ‖W‖λ, μ ← ‖W‖μ, λ_o ← ‖W[o, :]‖λ;
* activation, with p_o, q_o bounds of |σ'|, |σ''| on s_o ± λ_o R: μ ← max(q_o λ_o)·λ + max(p_o)·μ, λ ← max(p_o)·λ,
  λ_o ← p_o λ_o.

Backwards, for the gradient g above a step: γ and τ bound ‖∂g/∂x‖ and ‖∂g/∂c‖, γ₂ and τ₂ are Lipschitz constants of these two,
and ℓ_o one of g_o, so that |g_o| ≤ w_o = |ĝ_o| + ℓ_o R.

* top: γ = γ₂ = τ₂ = 0, τ = ℓ_o = 1;
* linear: all four times ‖W‖, and ℓ_o ← ‖W[:, o]‖·ℓ with ℓ = √(γ² + τ²);
* activation, with r_o a bound of |σ'''|: γ₂ ← max(q_o λ_o)·γ + max(p_o)·γ₂ + max(r_o λ_o w_o + q_o ℓ_o)·λ + max(q_o w_o)·μ,
  τ₂ ← max(q_o λ_o)·τ + max(p_o)·τ₂, γ ← max(p_o)·γ + max(q_o w_o)·λ, τ ← max(p_o)·τ, ℓ_o ← p_o ℓ_o + q_o w_o λ_o.

Each line is the product rule: Δ(ab) ≤ Δa·sup b + sup a·Δb, with the mean value theorem for σ' and σ''. The constants are
those of one sample, γ is kept for every sample: a batch that moves by R moves sample i by R_i with Σ R_i² ≤ R².
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence

import flint
import numpy as np

from provable.architectures import Activation, LeakyReLU, ReLU
from provable.errors import ArithmeticUnsupported
from provable.networks import activations
from provable.rigor.balls import Ball, BallMatrix, largest
from provable.rigor.chain_derivatives import ActivationStep, KinkError, LinearStep, Step, euclidean_upper

Entries = list[list[Ball]]
"""Rows of balls: one row per neuron, one entry per sample."""


@dataclasses.dataclass
class Layer:
    """One step as the batch passes it: inputs (m', B), σ' and σ'' there, and the gradients (m, B) above the step."""

    step: Step
    inputs: BallMatrix
    slopes: Entries = dataclasses.field(default_factory=list)
    bends: Entries = dataclasses.field(default_factory=list)
    gradients: BallMatrix = dataclasses.field(default_factory=lambda: flint.arb_mat(0, 0))


@dataclasses.dataclass(frozen=True)
class Growth:
    """λ, μ and λ_o of the input of a step; for an activation bounds of |σ'|, |σ''| and |σ'''|, (m, B)."""

    value: Ball
    derivative: Ball
    each: list[Ball]
    bounds: tuple[Entries, Entries, Entries] | None = None


@dataclasses.dataclass(frozen=True)
class Decline:
    """γ, for every sample, and τ, γ₂, τ₂ and ℓ_o of the gradient above a step."""

    by_point: list[Ball]
    by_coefficient: Ball
    second_by_point: Ball
    second_by_coefficient: Ball
    each: list[Ball]

    @property
    def both(self) -> list[Ball]:
        """Bound ‖∂g/∂(x, c)‖.

        Returns
        -------
        list of arb
            For every sample √(γ² + τ²), or the length of ℓ if that is less.
        """
        apart = euclidean_upper(self.each)
        together = [euclidean_upper([entry, self.by_coefficient]) for entry in self.by_point]
        return [apart if apart < entry else entry for entry in together]

    @property
    def second(self) -> Ball:
        """Lipschitz constant of ∂g/∂(x, c).

        Returns
        -------
        arb
            √(γ₂² + τ₂²).
        """
        return euclidean_upper([self.second_by_point, self.second_by_coefficient])


class Batch:
    """All samples of a measure, passed through a chain.

    Parameters
    ----------
    steps : sequence of LinearStep or ActivationStep
        The chain.
    points : arb_mat of shape (d, B)
        One column per sample.
    coefficients : arb_mat of shape (C, B)
        One column per sample.
    """

    def __init__(self, steps: Sequence[Step], points: BallMatrix, coefficients: BallMatrix) -> None:
        self.size, self.inputs, self.outputs = points.ncols(), points.nrows(), coefficients.nrows()
        self.layers: list[Layer] = []
        self._columns: dict[int, list[Ball]] = {}
        values = points
        ones = flint.arb_mat(1, self.size, [1] * self.size)
        for step in steps:
            layer = Layer(step, values)
            self.layers.append(layer)
            if isinstance(step, LinearStep):
                values = step.weight * values
                if step.bias is not None:
                    values = values + step.bias * ones
            else:
                arguments = _entries(values)
                values = _matrix(_rows(activations.value(step.layer, arguments)))
                layer.slopes, layer.bends = (
                    _rows(activations.derivative(step.layer, arguments, order)) for order in (1, 2)
                )
        gradients = coefficients
        for layer in reversed(self.layers):
            layer.gradients = gradients
            if isinstance(layer.step, LinearStep):
                if layer is not self.layers[0]:
                    gradients = layer.step.weight.transpose() * gradients
            else:
                gradients = _matrix(_products(layer.slopes, gradients.tolist()))

    def place(self, index: int) -> int:
        """Find a linear layer among the steps.

        Parameters
        ----------
        index : int
            Its index in the architecture.

        Returns
        -------
        int
            Its position in `layers`.
        """
        found = (k for k, layer in enumerate(self.layers) if getattr(layer.step, "index", None) == index)
        return next(found)

    def piece(self, index: int, part: str) -> BallMatrix:
        """Enclose one piece of the embedding.

        Parameters
        ----------
        index : int
            Index of a linear layer.
        part : {"weight", "bias"}
            Which parameter.

        Returns
        -------
        arb_mat
            Σ_i g_i h_iᵀ of shape (m, m'), or Σ_i g_i of shape (m, 1).
        """
        layer = self.layers[self.place(index)]
        if part == "bias":
            return layer.gradients * flint.arb_mat(self.size, 1, [1] * self.size)
        return layer.gradients * layer.inputs.transpose()

    def tangent(self, sample: int, start: BallMatrix | None, place: int) -> BallMatrix | None:
        """Derivative of the input of a step along directions of one sample's point.

        Parameters
        ----------
        sample : int
            Which sample.
        start : arb_mat of shape (d, k), or None
            The directions, in columns; None for the coordinate directions.
        place : int
            Position of the step.

        Returns
        -------
        arb_mat of shape (m', k), or None
            The derivative; None for the identity.
        """
        tangent = start
        for layer in self.layers[:place]:
            if isinstance(layer.step, LinearStep):
                tangent = layer.step.weight if tangent is None else layer.step.weight * tangent
            else:
                tangent = _scaled(self._column(layer.slopes, sample), tangent)
        return tangent

    def responses(self, directions: BallMatrix) -> list[BallMatrix]:
        """Derivatives of every sample's gradient above the first step.

        Parameters
        ----------
        directions : arb_mat of shape (d, k)
            Directions of the point, the same for every sample. The first step is linear.

        Returns
        -------
        list of arb_mat of shape (m, k + C)
            For every sample the derivatives along these directions of its point, then by its coefficients.
        """
        first = self.layers[0].step
        assert isinstance(first, LinearStep)
        common = first.weight * directions
        found = []
        for sample in range(self.size):
            tangents = [directions, common]
            for layer in self.layers[1:-1]:
                if isinstance(layer.step, LinearStep):
                    tangents.append(layer.step.weight * tangents[-1])
                else:
                    tangents.append(_scaled(self._column(layer.slopes, sample), tangents[-1]))
            found.append(self._back(sample, directions.ncols(), tangents))
        return found

    def _back(self, sample: int, width: int, tangents: list[BallMatrix]) -> BallMatrix:
        zeros, units = [0] * width, range(self.outputs)
        response = flint.arb_mat([zeros + [int(row == column) for column in units] for row in units])
        for position in range(len(self.layers) - 1, 0, -1):
            layer = self.layers[position]
            if isinstance(layer.step, LinearStep):
                response = layer.step.weight.transpose() * response
                continue
            response = _scaled(self._column(layer.slopes, sample), response)
            above = layer.gradients.tolist()
            bent = [bend[sample] * row[sample] for bend, row in zip(layer.bends, above, strict=True)]
            if any(not entry.is_zero() for entry in bent):
                response = response + _widened(_scaled(bent, tangents[position]), self.outputs)
        return response

    def coefficient_responses(self, place: int) -> BallMatrix:
        """Derivatives of all samples' gradients above a step by their coefficients.

        Parameters
        ----------
        place : int
            Position of the step.

        Returns
        -------
        arb_mat of shape (m, B C)
            Column iC + k is the gradient above the step of output k at sample i.
        """
        units = range(self.outputs)
        response = flint.arb_mat([[int(r == c % self.outputs) for c in range(self.size * self.outputs)] for r in units])
        for layer in reversed(self.layers[place + 1 :]):
            if isinstance(layer.step, LinearStep):
                response = layer.step.weight.transpose() * response
            else:
                spread = [[slope for slope in row for _ in units] for row in layer.slopes]
                response = _matrix(_products(spread, response.tolist()))
        return response

    @staticmethod
    def _column(rows: Entries, sample: int) -> list[Ball]:
        return [row[sample] for row in rows]

    def growth(self, radius: Ball) -> list[Growth]:
        """Constants of the forward pass within a radius.

        Parameters
        ----------
        radius : arb
            R > 0, exact.

        Returns
        -------
        list of Growth
            For the input of every step.

        Raises
        ------
        KinkError
            If a pre-activation may cross the kink of a piecewise activation within R.
        """
        value, derivative, each = flint.arb(1), flint.arb(0), [flint.arb(1)] * self.inputs
        found = []
        for layer in self.layers:
            if isinstance(layer.step, LinearStep):
                found.append(Growth(value, derivative, each))
                each = [_upper(norm * value) for norm in layer.step.row_norms]
                value, derivative = _upper(layer.step.norm * value), _upper(layer.step.norm * derivative)
                continue
            bounds = _bounds(layer, layer.step, [_upper(length * radius) for length in each])
            found.append(Growth(value, derivative, each, bounds))
            slopes = [largest(row) for row in bounds[0]]
            turned = largest(_upper(largest(row) * length) for row, length in zip(bounds[1], each, strict=True))
            steepest = largest(slopes)
            derivative = _upper(turned * value + steepest * derivative)
            each = [_upper(slope * length) for slope, length in zip(slopes, each, strict=True)]
            together, apart = _upper(steepest * value), euclidean_upper(each)
            value = apart if apart < together else together
        return found

    def decline(self, radius: Ball, growth: Sequence[Growth], place: int) -> Decline:
        """Constants of the gradient above a step within a radius.

        Parameters
        ----------
        radius : arb
            R > 0, exact.
        growth : sequence of Growth
            What `growth` found for this radius.
        place : int
            Position of the step.

        Returns
        -------
        Decline
            The constants.
        """
        zero, one = flint.arb(0), flint.arb(1)
        state = Decline([zero] * self.size, one, zero, zero, [one] * self.outputs)
        for position in range(len(self.layers) - 1, place, -1):
            layer = self.layers[position]
            if isinstance(layer.step, LinearStep):
                norm, whole = layer.step.norm, largest(state.both)
                three = (state.by_coefficient, state.second_by_point, state.second_by_coefficient)
                coefficient, second_point, second_coefficient = (_upper(norm * part) for part in three)
                point = [_upper(norm * part) for part in state.by_point]
                each = [_upper(column * whole) for column in self._column_norms(position, layer.step)]
                state = Decline(point, coefficient, second_point, second_coefficient, each)
            else:
                state = _through_activation(state, layer, growth[position], radius)
        return state

    def _column_norms(self, position: int, step: LinearStep) -> list[Ball]:
        if position not in self._columns:
            self._columns[position] = [euclidean_upper(row) for row in step.weight.transpose().tolist()]
        return self._columns[position]


def _through_activation(state: Decline, layer: Layer, growth: Growth, radius: Ball) -> Decline:
    assert growth.bounds is not None
    firsts, seconds, thirds = growth.bounds
    turned, changed, steepest = flint.arb(0), flint.arb(0), flint.arb(0)
    bent, each = [flint.arb(0)] * len(state.by_point), []
    for first, second, third, gradients, length, moves in zip(
        firsts, seconds, thirds, layer.gradients.tolist(), growth.each, state.each, strict=True
    ):
        slope, bend, rate = largest(first), largest(second), largest(third)
        sizes = [_upper(entry.abs_upper() + moves * radius) for entry in gradients]
        steepest = largest([steepest, slope])
        turned = largest([turned, _upper(bend * length)])
        products = [_upper(curvature * size) for curvature, size in zip(second, sizes, strict=True)]
        bent = [largest(pair) for pair in zip(bent, products, strict=True)]
        changed = largest([changed, _upper(rate * length * largest(sizes) + bend * moves)])
        each.append(_upper(slope * moves + largest(products) * length))
    return Decline(
        by_point=[_upper(steepest * own + b * growth.value) for own, b in zip(state.by_point, bent, strict=True)],
        by_coefficient=_upper(steepest * state.by_coefficient),
        second_by_point=_upper(
            turned * largest(state.by_point)
            + steepest * state.second_by_point
            + changed * growth.value
            + largest(bent) * growth.derivative
        ),
        second_by_coefficient=_upper(turned * state.by_coefficient + steepest * state.second_by_coefficient),
        each=each,
    )


def _bounds(layer: Layer, step: ActivationStep, moved: list[Ball]) -> tuple[Entries, Entries, Entries]:
    """Bounds of three derivatives on s_o ± moved_o: the first two by the mean value theorem from those of the next one.

    So they are exact to second order in the radius, and a checker with other enclosures finds nearly the same ones.
    """
    wide = [[s + flint.arb(0, length) for s in row] for row, length in zip(layer.inputs.tolist(), moved, strict=True)]
    arguments = np.array([entry for row in wide for entry in row], dtype=object).reshape(len(wide), -1)
    kind: Activation = step.layer
    try:
        if isinstance(kind, ReLU | LeakyReLU):  # their third derivative is zero on both sides of the kink
            activations.derivative(kind, arguments, 1)
        third = [[_upper(entry) for entry in row] for row in _rows(activations.derivative(kind, arguments, 3))]
    except ArithmeticUnsupported as error:
        raise KinkError(f"a pre-activation of {kind.type} may be zero, where the activation has a kink") from error
    second = _larger(layer.bends, third, moved)
    return _larger(layer.slopes, second, moved), second, third


def _larger(centres: Entries, rates: Entries, moved: list[Ball]) -> Entries:
    return [
        [_upper(centre.abs_upper() + rate * length) for centre, rate in zip(row, above, strict=True)]
        for row, above, length in zip(centres, rates, moved, strict=True)
    ]


def _entries(matrix: BallMatrix) -> np.ndarray[tuple[int, int], np.dtype[np.object_]]:
    return np.array(matrix.entries(), dtype=object).reshape(matrix.nrows(), matrix.ncols())


def _rows(array: np.ndarray[tuple[int, ...], np.dtype[np.object_]]) -> Entries:
    rows: Entries = array.tolist()
    return rows


def _matrix(rows: Entries) -> BallMatrix:
    return flint.arb_mat(rows)


def _products(left: Entries, right: Entries) -> Entries:
    multiply: Callable[[Ball, Ball], Ball] = lambda a, b: a * b  # noqa: E731
    return [list(map(multiply, first, second)) for first, second in zip(left, right, strict=True)]


def _scaled(factors: Iterable[Ball], matrix: BallMatrix | None) -> BallMatrix:
    """Rows times factors; without a matrix, the diagonal matrix of the factors."""
    numbers = list(factors)
    if matrix is None:
        size = range(len(numbers))
        return flint.arb_mat([[numbers[row] if row == column else 0 for column in size] for row in size])
    return flint.arb_mat(
        [[factor * entry for entry in row] for factor, row in zip(numbers, matrix.tolist(), strict=True)]
    )


def _widened(matrix: BallMatrix, columns: int) -> BallMatrix:
    return flint.arb_mat([row + [0] * columns for row in matrix.tolist()])


def _upper(number: Ball) -> Ball:
    return number.abs_upper()
