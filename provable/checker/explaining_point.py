"""A measure of one atom in a convolutional chain, which is claimed to explain an observation: reading and evaluating it."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flint import arb, arb_mat

from provable.checker import documents
from provable.checker.affine import Affine, Step, chain, combination
from provable.checker.archive import Archive, Numbers
from provable.checker.bounds import exact
from provable.checker.inversion import value
from provable.checker.verdict import Invalid, Undecided

Stage = tuple[list[arb], list[arb], list[arb]]
"""Of an activation: ẑ, σ(ẑ) and σ'(ẑ)."""


class ExplainingPoint:
    """The observation and the stated point, read and compared in shape.

    Parameters
    ----------
    archive : Archive
        The observation file.
    data : dict
        With ``points`` (1, d), ``coefficients`` (1, C) and ``pieces``.
    residual : Fraction
        The stated bound of ‖F(x̂, ĉ) - v‖.

    Raises
    ------
    Invalid
        If something is malformed or does not fit.
    """

    def __init__(self, archive: Archive, data: dict[str, Any], residual: Fraction) -> None:
        if archive.text("format") != "provable-observation/1":
            raise Invalid("the observation is not a provable-observation/1 file")
        self.kind = archive.text("kind")
        self.residual = residual
        points = documents.rational_rows(data["points"], "points")
        coefficients = documents.rational_rows(data["coefficients"], "coefficients")
        if len(points) != 1 or len(coefficients) != 1:
            raise Invalid("the measure has not exactly one atom, which this claim is about")
        self.point, self.coefficients = points[0], coefficients[0]
        self.steps, shape = chain(archive)
        self.affine = [step for step in self.steps if isinstance(step, Affine)]
        size = 1
        for extent in shape:
            size *= extent
        if size != len(self.point) or self.affine[-1].outputs != len(self.coefficients):
            raise Invalid("the point or the coefficients have not as many entries as the network has inputs or outputs")
        self.observed = self._pieces(archive, data["pieces"])

    def _pieces(self, archive: Archive, value: Any) -> dict[tuple[int, str], Numbers]:
        if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
            raise Invalid("the pieces are not a list of names")
        known = {f"{a.index}/weight": ((a.index, "weight"), a.weight) for a in self.affine}
        known |= {f"{a.index}/bias": ((a.index, "bias"), a.bias) for a in self.affine if a.bias is not None}
        observed = {}
        for name in value:
            if name not in known or known[name][0] in observed:
                raise Invalid(f"the piece {ascii(name)[:40]} is no parameter of the network, or is named twice")
            piece, parameter = known[name]
            observed[piece] = archive.observed(name)
            if observed[piece].shape != parameter.shape:
                raise Invalid(f"the piece {name} has not the shape of its parameter")
        return observed

    def forward(self) -> tuple[list[Stage], list[list[arb]]]:
        """Evaluate the network at the point.

        Returns
        -------
        stages : list of Stage
            One for every activation.
        inputs : list of list of arb
            The input of every affine layer.
        """
        current = [exact(entry) for entry in self.point]
        stages: list[Stage] = []
        inputs: list[list[arb]] = []
        step: Step
        for step in self.steps:
            if isinstance(step, Affine):
                inputs.append(current)
                current = step.forward(current)
            else:
                pairs = [value(step, z) for z in current]
                stages.append((current, [output for output, _ in pairs], [slope for _, slope in pairs]))
                current = stages[-1][1]
        return stages, inputs

    def backward(self, stages: list[Stage]) -> list[tuple[list[list[arb]], list[list[arb]]]]:
        """Propagate sensitivities back with the slopes at the point.

        Parameters
        ----------
        stages : list of Stage
            What `forward` gives.

        Returns
        -------
        list of (list of list of arb, list of list of arb)
            For every affine layer the columns of B_j and of H_j (none for the first), from the first layer to the last.
        """
        outputs = len(self.coefficients)
        columns = [[arb(int(i == k)) for i in range(outputs)] for k in range(outputs)]
        found: list[tuple[list[list[arb]], list[list[arb]]]] = []
        for place in range(len(self.affine) - 1, -1, -1):
            heads = [self.affine[place].adjoint(column) for column in columns] if place else []
            found.append((columns, heads))
            if place:
                columns = [[s * h for s, h in zip(stages[place - 1][2], head, strict=True)] for head in heads]
        return found[::-1]

    def sensitivities(self, backward: list[tuple[list[list[arb]], list[list[arb]]]]) -> list[list[arb]]:
        """Give the sensitivities of the outputs of every affine layer.

        Parameters
        ----------
        backward : list
            What `backward` gives.

        Returns
        -------
        list of list of arb
            D̂_j.
        """
        return [combination(columns, [exact(entry) for entry in self.coefficients]) for columns, _ in backward]

    def check_residual(self, sensitivities: list[list[arb]], patches: list[arb_mat]) -> None:
        """Prove that the point explains the observation within the stated residual.

        Parameters
        ----------
        sensitivities : list of list of arb
            D̂_j.
        patches : list of arb_mat
            P(x̂_j).

        Raises
        ------
        Invalid
            If it does not.
        Undecided
            If the balls are too wide to tell.
        """
        misfit = arb(0)
        for affine, sensitivity, windows in zip(self.affine, sensitivities, patches, strict=True):
            for part in ("weight", "bias"):
                if (affine.index, part) not in self.observed:
                    continue
                weight = part == "weight"
                values = affine.gradient(sensitivity, windows) if weight else affine.bias_gradient(sensitivity)
                for number, seen in zip(values, self.observed[affine.index, part].entries, strict=True):
                    difference = number - arb(seen)
                    misfit += difference * difference
        allowed = exact(self.residual**2)
        if misfit > allowed:
            raise Invalid("the point does not explain the observation within the stated residual")
        if not misfit <= allowed:
            raise Undecided
