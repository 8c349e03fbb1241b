r"""A batch in a chain, in balls: every sample's values and gradients, and constants that hold within a radius.

Forwards, at the input h of every step: ``stretch`` ≥ ‖∂h/∂x‖, ``turn`` a Lipschitz constant of ∂h/∂x, ``each[o]`` one of h_o.
A linear step multiplies the first two by ‖W‖; behind it every entry has ‖W[o, :]‖·stretch. An activation with
|σ'| ≤ slope[o] and |σ''| ≤ bend[o] on the balls turns them into max(slope)·stretch, max(bend·each)·stretch + max(slope)·turn
and slope·each.

Backwards, at the gradient g above a step: ``px`` (for every sample), ``pc`` ≥ ‖∂g/∂x‖, ‖∂g/∂c‖, ``sx``, ``sc`` Lipschitz
constants of those, and ``each[o]`` one of g_o in (x, c). A linear step multiplies the four by ‖W‖, and every entry has
‖W[:, o]‖·√(px² + pc²). An activation, with size[o] ≥ |g_o| and third[o] a bound of the third derivative, has
diag(σ')∂g + diag(σ'' ⊙ g)∂s below it, and the product rule gives the rest.
"""

from __future__ import annotations

import dataclasses

from flint import arb, arb_mat

from provable.checker.activations import jet
from provable.checker.bounds import length
from provable.checker.chain import Linear, Step


@dataclasses.dataclass
class Stage:
    """A step, its input for all samples in columns, σ' and σ'' of an activation, and the gradients above."""

    step: Step
    inputs: arb_mat
    slopes: list[list[arb]]
    bends: list[list[arb]]
    gradients: arb_mat


@dataclasses.dataclass(frozen=True)
class Forward:
    """Constants at the input of a step; for an activation per neuron and sample the bounds of σ', σ'' and σ'''."""

    stretch: arb
    turn: arb
    each: list[arb]
    slope: list[list[arb]]
    bend: list[list[arb]]
    third: list[list[arb]]


@dataclasses.dataclass(frozen=True)
class Backward:
    """Constants at the gradient above a step."""

    px: list[arb]
    pc: arb
    sx: arb
    sc: arb
    each: list[arb]

    def whole(self) -> list[arb]:
        """Bound ‖∂g/∂(x, c)‖.

        Returns
        -------
        list of arb
            For every sample the lesser one of two bounds.
        """
        second = length(self.each)
        firsts = [length([own, self.pc]) for own in self.px]
        return [second if second < first else first for first in firsts]


class Batch:
    """Forward and backward pass of all samples.

    Parameters
    ----------
    steps : list of Linear or dict
        The chain.
    points, coefficients : arb_mat
        One column per sample.
    """

    def __init__(self, steps: list[Step], points: arb_mat, coefficients: arb_mat) -> None:
        self.samples, self.inputs, self.outputs = points.ncols(), points.nrows(), coefficients.nrows()
        self.stages: list[Stage] = []
        values = points
        for step in steps:
            stage = Stage(step, values, [], [], values)
            self.stages.append(stage)
            if isinstance(step, Linear):
                values = step.weight * values
                if step.bias is not None:
                    values += step.bias * arb_mat([[1] * self.samples])
            else:
                jets = [[jet(step, entry) for entry in row] for row in values.tolist()]
                stage.slopes, stage.bends = ([[found[k] for found in row] for row in jets] for k in (1, 2))
                values = arb_mat([[found[0] for found in row] for row in jets])
        gradients = coefficients
        for stage in reversed(self.stages):
            stage.gradients = gradients
            if isinstance(stage.step, Linear):
                gradients = stage.step.weight.transpose() * gradients if stage is not self.stages[0] else gradients
            else:
                gradients = arb_mat(_entrywise(stage.slopes, gradients.tolist()))

    def position(self, index: int) -> int:
        """Find a linear layer.

        Parameters
        ----------
        index : int
            Its index in the architecture.

        Returns
        -------
        int
            Its place among the stages.
        """
        return next(k for k, s in enumerate(self.stages) if isinstance(s.step, Linear) and s.step.index == index)

    def embedding(self, index: int, part: str) -> list[arb]:
        """Enclose one piece of Φ_θ μ.

        Parameters
        ----------
        index : int
            Index of a linear layer.
        part : str
            ``"weight"`` or ``"bias"``.

        Returns
        -------
        list of arb
            Its entries in row-major order.
        """
        stage = self.stages[self.position(index)]
        right = arb_mat([[1]] * self.samples) if part == "bias" else stage.inputs.transpose()
        return (stage.gradients * right).entries()

    def push(self, sample: int, first: arb_mat, upto: int) -> list[arb_mat]:
        """Push directions of one point through the chain.

        Parameters
        ----------
        sample : int
            Which sample.
        first : arb_mat
            The images of the directions at the output of the first step, in columns.
        upto : int
            How many steps.

        Returns
        -------
        list of arb_mat
            Their images at the outputs of these steps.
        """
        found = [first]
        for stage in self.stages[1:upto]:
            if isinstance(stage.step, Linear):
                found.append(stage.step.weight * found[-1])
            else:
                found.append(times_rows([row[sample] for row in stage.slopes], found[-1]))
        return found

    def first_images(self, sample: int) -> arb_mat:
        """Images of the coordinate directions at the output of the first step.

        Parameters
        ----------
        sample : int
            Which sample.

        Returns
        -------
        arb_mat
            The step's derivative.
        """
        first = self.stages[0]
        if isinstance(first.step, Linear):
            return first.step.weight
        return arb_mat(
            [[row[sample] if i == k else 0 for k in range(self.inputs)] for i, row in enumerate(first.slopes)]
        )

    def pull(self, sample: int, images: list[arb_mat], columns: int, place: int) -> arb_mat:
        """Derivatives of one sample's gradient above a step.

        Parameters
        ----------
        sample : int
            Which sample.
        images : list of arb_mat
            What `push` gave for some directions, at least up to the step before the last one; empty for none.
        columns : int
            The number of directions.
        place : int
            The step.

        Returns
        -------
        arb_mat
            By the directions, then by the coefficients.
        """
        pulled = arb_mat([[int(k == columns + i) for k in range(columns + self.outputs)] for i in range(self.outputs)])
        for k in range(len(self.stages) - 1, place, -1):
            stage = self.stages[k]
            if isinstance(stage.step, Linear):
                pulled = stage.step.weight.transpose() * pulled
                continue
            pulled = times_rows([row[sample] for row in stage.slopes], pulled)
            if columns:
                weights = [b[sample] * g[sample] for b, g in zip(stage.bends, stage.gradients.tolist(), strict=True)]
                rows = times_rows(weights, images[k - 1]).tolist()
                pulled += arb_mat([row + [0] * self.outputs for row in rows])
        return pulled

    def forwards(self, radius: arb) -> list[Forward]:
        """Constants of the forward pass.

        Parameters
        ----------
        radius : arb
            Exact and positive; no sample moves further.

        Returns
        -------
        list of Forward
            For the input of every step.

        Raises
        ------
        Invalid
            If a kink may lie within the radius.
        """
        stretch, turn, each = arb(1), arb(0), [arb(1)] * self.inputs
        found = []
        for stage in self.stages:
            if isinstance(stage.step, Linear):
                found.append(Forward(stretch, turn, each, [], [], []))
                each = [(row * stretch).abs_upper() for row in stage.step.rows]
                stretch, turn = (stage.step.norm * stretch).abs_upper(), (stage.step.norm * turn).abs_upper()
                continue
            slope, bend, third = _over_balls(stage, [(e * radius).abs_upper() for e in each])
            found.append(Forward(stretch, turn, each, slope, bend, third))
            steep = [most(row) for row in slope]
            swing = most([(most(row) * e).abs_upper() for row, e in zip(bend, each, strict=True)])
            turn = (swing * stretch + most(steep) * turn).abs_upper()
            each = [(s * e).abs_upper() for s, e in zip(steep, each, strict=True)]
            stretch, alone = (most(steep) * stretch).abs_upper(), length(each)
            stretch = alone if alone < stretch else stretch
        return found

    def backwards(self, radius: arb, forwards: list[Forward], place: int) -> Backward:
        """Constants of the gradient above a step.

        Parameters
        ----------
        radius : arb
            As for `forwards`.
        forwards : list of Forward
            What that gave.
        place : int
            The step.

        Returns
        -------
        Backward
            The constants.
        """
        now = Backward([arb(0)] * self.samples, arb(1), arb(0), arb(0), [arb(1)] * self.outputs)
        for k in range(len(self.stages) - 1, place, -1):
            stage, ahead = self.stages[k], forwards[k]
            if isinstance(stage.step, Linear):
                norm, whole = stage.step.norm, most(now.whole())
                columns = [length(row) for row in stage.step.weight.transpose().tolist()]
                px = [(norm * own).abs_upper() for own in now.px]
                pc, sx, sc = ((norm * x).abs_upper() for x in (now.pc, now.sx, now.sc))
                now = Backward(px, pc, sx, sc, [(c * whole).abs_upper() for c in columns])
            else:
                now = _below_activation(now, stage, ahead, radius)
        return now


def _below_activation(now: Backward, stage: Stage, ahead: Forward, radius: arb) -> Backward:
    steep = [most(row) for row in ahead.slope]
    sizes = [
        [(g.abs_upper() + e * radius).abs_upper() for g in row]
        for row, e in zip(stage.gradients.tolist(), now.each, strict=True)
    ]
    products = _entrywise(ahead.bend, sizes)
    curved, for_samples = (
        [most(row) for row in products],
        [most(list(column)) for column in zip(*products, strict=True)],
    )
    swing, rate = arb(0), arb(0)
    for bend, third, size, own, e in zip(ahead.bend, ahead.third, sizes, now.each, ahead.each, strict=True):
        swing = most([swing, (most(bend) * e).abs_upper()])
        rate = most([rate, (most(third) * e * most(size) + most(bend) * own).abs_upper()])
    top = most(steep)
    return Backward(
        px=[(top * own + c * ahead.stretch).abs_upper() for own, c in zip(now.px, for_samples, strict=True)],
        pc=(top * now.pc).abs_upper(),
        sx=(swing * most(now.px) + top * now.sx + rate * ahead.stretch + most(curved) * ahead.turn).abs_upper(),
        sc=(swing * now.pc + top * now.sc).abs_upper(),
        each=[(s * own + c * e).abs_upper() for s, own, c, e in zip(steep, now.each, curved, ahead.each, strict=True)],
    )


def _over_balls(stage: Stage, radii: list[arb]) -> tuple[list[list[arb]], list[list[arb]], list[list[arb]]]:
    """Bounds of |σ'|, |σ''|, |σ'''| for every neuron and sample: the third over the ball, the others by mean values."""
    slope, bend, third = [], [], []
    for row, slopes, bends, radius in zip(stage.inputs.tolist(), stage.slopes, stage.bends, radii, strict=True):
        around = arb(0, radius)
        third.append([jet(stage.step, entry + around)[3].abs_upper() for entry in row])  # type: ignore[arg-type]
        bend.append([(b.abs_upper() + t * radius).abs_upper() for b, t in zip(bends, third[-1], strict=True)])
        slope.append([(s.abs_upper() + b * radius).abs_upper() for s, b in zip(slopes, bend[-1], strict=True)])
    return slope, bend, third


def times_rows(factors: list[arb], matrix: arb_mat) -> arb_mat:
    """Multiply every row of a matrix by a number.

    Parameters
    ----------
    factors : list of arb
        One per row.
    matrix : arb_mat
        The matrix.

    Returns
    -------
    arb_mat
        The product.
    """
    return arb_mat([[factor * entry for entry in row] for factor, row in zip(factors, matrix.tolist(), strict=True)])


def _entrywise(left: list[list[arb]], right: list[list[arb]]) -> list[list[arb]]:
    return [[a * b for a, b in zip(first, second, strict=True)] for first, second in zip(left, right, strict=True)]


def most(numbers: list[arb]) -> arb:
    """Bound the largest absolute value.

    Parameters
    ----------
    numbers : list of arb
        Numbers.

    Returns
    -------
    arb
        An exact ball; one that is not finite if a number is not.
    """
    best = arb(0)
    for number in numbers:
        if not number.is_finite():
            return number
        upper = number.abs_upper()
        best = upper if upper > best else best
    return best
