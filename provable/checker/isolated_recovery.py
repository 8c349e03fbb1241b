r"""The claim ``isolated-recovery``: proved again from the observation file and the numbers in the certificate.

Notation: z = (points, coefficients), F(z) the stated pieces of Φ_θ μ, v those of the observation, J = F'. Checked, in this
order: 2·residual ≤ eta and eta + residual ≤ sigma·rho and rho ≤ radius (rational arithmetic); the SHA-256 of the file;
‖F(ẑ) - v‖ ≤ residual; and J(ẑ)ᵀJ(ẑ) - (sigma + δ)²·I positive definite, where δ ≥ ‖J(ξ) - J(ẑ)‖₂ for all ξ within radius
of ẑ. By the last one, F(z) - F(ẑ) = ∫₀¹ J(ẑ + t(z - ẑ)) dt (z - ẑ) has norm at least sigma·‖z - ẑ‖ in the whole ball, so
every z there with ‖F(z) - v‖ ≤ eta has ‖z - ẑ‖ ≤ (eta + residual)/sigma ≤ rho. With a ``split`` that bound is proved without
JᵀJ (`provable.checker.separation`). ``modulo`` positive scaling, only z whose points have x_iᵀx̂_i = ‖x̂_i‖² are spoken of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from flint import arb, arb_mat, ctx

from provable.checker import documents, separation
from provable.checker.archive import Archive, Numbers
from provable.checker.batch import Batch
from provable.checker.bounds import exact
from provable.checker.chain import Piece, Step, Trace, embedding_piece, gram, linear
from provable.checker.definiteness import positive_definite
from provable.checker.description import ACTIVATIONS, layers_of, output_shape
from provable.checker.verdict import Invalid, Undecided

_PRECISIONS = (128, 256, 512)
_MOST_UNKNOWNS = 4000

_PROVED = "every measure within radius that explains the observation within eta lies within rho of the points"

_LARGEST_DEGREE = 999

_SQUARED = 256
"""Most rows or columns, whichever are fewer, of a batch's weight that is squared often for its norm."""

_NUMBERS = ("radius", "eta", "sigma", "residual", "rho")


def check(data: dict[str, Any], subject: str, observation: bytes | None) -> str:
    """Check an ``isolated-recovery`` claim.

    Parameters
    ----------
    data : dict
        ``points`` (n, d), ``coefficients`` (n, C), ``pieces``, ``radius``, ``eta``, ``sigma``, ``residual``, ``rho`` and, if
        wanted, ``split`` and ``modulo``.
    subject : str
        SHA-256 of the observation file.
    observation : bytes or None
        The file's bytes.

    Returns
    -------
    str
        What was proved.

    Raises
    ------
    Invalid
        If the claim is not proved.
    """
    documents.keys(data, {"points", "coefficients", "pieces", *_NUMBERS}, {"split", "modulo"})
    split = data.get("split")
    if "split" in data and (not isinstance(split, str) or split not in separation.SPLITS):
        raise Invalid(f"the split is none of {', '.join(separation.SPLITS)}")
    degree = _scaling_degree(data["modulo"]) if "modulo" in data else None
    scaled = degree is not None
    radius, eta, sigma, residual, rho = (documents.rational(data[key], key) for key in _NUMBERS)
    points = documents.rational_rows(data["points"], "points")
    coefficients = documents.rational_rows(data["coefficients"], "coefficients")
    if len(points) != len(coefficients):
        raise Invalid("points and coefficients do not have the same number of rows")
    most = _MOST_UNKNOWNS if split is None else separation.LARGEST_BATCH
    if len(points) * (len(points[0]) + len(coefficients[0])) > most:
        raise Invalid(f"the measure has more than {most} unknowns, the most that are checked")
    if sigma <= 0 or radius <= 0 or residual < 0:
        raise Invalid("sigma and radius are not positive, or residual is negative")
    if 2 * residual > eta:
        raise Invalid("eta is less than twice the residual")
    if eta + residual > sigma * rho:
        raise Invalid("rho is less than (eta + residual) / sigma")
    if rho > radius:
        raise Invalid("rho is larger than the radius within which the measure was isolated")
    if observation is None:
        raise Invalid("the observation file is needed, and none was given")
    if hashlib.sha256(observation).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the observation file")
    problem = _Problem(Archive(observation), data["pieces"], points, coefficients)
    if degree is not None:
        problem.require_scaling(degree)
    for bits in _PRECISIONS:
        with ctx.workprec(bits):
            try:
                if split is None:
                    problem.check(radius, sigma, residual, scaled)
                else:
                    problem.check_batch(split, radius, sigma, residual, scaled)
                return _PROVED + ("" if degree is None else _normalised(degree))
            except Undecided:
                continue
    raise Invalid("the claim could not be decided with balls of 512 bits")


class _Problem:
    """The observation and the measure, read and compared in shape."""

    def __init__(
        self, archive: Archive, pieces: Any, points: list[list[Fraction]], coefficients: list[list[Fraction]]
    ) -> None:
        if archive.text("format") != "provable-observation/1":
            raise Invalid("the observation is not a provable-observation/1 file")
        self.layers, shape = layers_of(archive.text("architecture"))
        self.parameters: dict[int, tuple[Numbers, Numbers | None]] = {}
        self.pieces, self.observed = _pieces(archive, pieces)
        size = 1
        for extent in shape:
            size *= extent
        if size != len(points[0]):
            raise Invalid(f"the points have {len(points[0])} entries, and the architecture has {size} inputs")
        for index, layer in enumerate(self.layers):
            following = output_shape(layer, shape)
            if layer["type"] == "linear":
                weight = archive.numbers(f"parameters/{index}/weight")
                if type(layer.get("bias", True)) is not bool:
                    raise Invalid(f"the bias of layer {index} is neither true nor false")
                bias = archive.numbers(f"parameters/{index}/bias") if layer.get("bias", True) else None
                if weight.shape != (*following, *shape) or (bias is not None and bias.shape != following):
                    raise Invalid(f"the parameters of layer {index} do not fit the architecture")
                self.parameters[index] = weight, bias
            elif layer["type"] not in ACTIVATIONS and layer["type"] != "flatten":
                raise Invalid(f"layer {index} is neither linear, nor flatten, nor an activation")
            shape = following
        if shape != (len(coefficients[0]),):
            raise Invalid(
                f"the coefficients have {len(coefficients[0])} entries per point, unlike the network's outputs"
            )
        for index, part in self.pieces:
            parameter = self.parameters.get(index, (None, None))[part == "bias"]
            if parameter is None or parameter.shape != self.observed[index, part].shape:
                raise Invalid(f"the piece {index}/{part} is no parameter of the network in that shape")
        self.points, self.coefficients = points, coefficients

    def require_scaling(self, degree: int) -> None:
        """Raise `Invalid` unless (s·x, c/sᵖ) explains the pieces as (x, c) does, for s > 0 and the degree p."""
        found = 1
        last = max(index for index, layer in enumerate(self.layers) if layer["type"] not in ("flatten", "identity"))
        for index, layer in enumerate(self.layers):
            if layer["type"] == "polynomial":
                found *= _monomial(layer, index)
            elif layer["type"] not in ("linear", "flatten", "identity", "relu", "leaky_relu"):
                raise Invalid(
                    f"layer {index} is not positively homogeneous, so nothing is open modulo positive scaling"
                )
            biased = index in self.parameters and self.parameters[index][1] is not None
            if biased and (index != last or (index, "bias") in self.pieces):
                raise Invalid(f"the bias of layer {index} fixes the scale, so nothing is open modulo positive scaling")
        if found != degree:
            raise Invalid(f"the network is homogeneous of degree {found}, and the symmetry is one of degree {degree}")

    def _steps(self, squarings: int | None) -> list[Step]:
        steps: list[Step] = []
        for index, layer in enumerate(self.layers):
            if index in self.parameters:
                weight, bias = self.parameters[index]
                often = squarings or (5 if min(weight.shape) <= _SQUARED else 1)
                steps.append(linear(index, weight, bias, often))
            elif layer["type"] != "flatten":
                steps.append(layer)
        return steps

    def check_batch(self, split: str, radius: Fraction, sigma: Fraction, residual: Fraction, scaled: bool) -> None:
        """As `check`, by a splitting."""
        batch = Batch(self._steps(None), _columns(self.points), _columns(self.coefficients))
        self._check_residual(residual, batch.embedding)
        separation.prove(batch, split, self.pieces, scaled, radius, sigma)

    def _check_residual(self, residual: Fraction, embedding: Callable[[int, str], list[arb]]) -> None:
        misfit = arb(0)
        for index, part in self.pieces:
            for entry, seen in zip(embedding(index, part), self.observed[index, part].entries, strict=True):
                difference = entry - arb(seen)
                misfit += difference * difference  # a power of a ball around zero would not be a number
        allowed = exact(residual * residual)
        if misfit > allowed:
            raise Invalid("the measure does not explain the observation within the stated residual")
        if not misfit <= allowed:
            raise Undecided

    def check(self, radius: Fraction, sigma: Fraction, residual: Fraction, scaled: bool) -> None:
        """Check residual and sigma at the working precision; raises `Invalid` or `Undecided`."""
        steps = self._steps(6)
        traces = [
            Trace(steps, [exact(entry) for entry in x], [exact(entry) for entry in c])
            for x, c in zip(self.points, self.coefficients, strict=True)
        ]
        self._check_residual(residual, lambda index, part: embedding_piece(traces, (index, part)))
        squares = arb(0)
        outer = exact(radius).abs_upper()
        for trace in traces:
            variation = trace.variation(outer, set(self.pieces))
            squares += variation * variation
        root = (exact(sigma) + squares.abs_upper().sqrt()).abs_upper()
        shift = root * root
        if not shift.is_finite():
            raise Invalid("no bound of the Jacobian's variation is known within the radius")
        rows = gram(traces, set(self.pieces))
        if scaled:
            _add_slices(rows, self.points, len(rows) // len(traces))
        for place, row in enumerate(rows):
            row[place] -= shift
        if not positive_definite(rows):
            raise Invalid("the embedding is not proved to be injective within the radius with the stated sigma")


def _scaling_degree(modulo: Any) -> int:
    """The p of the symmetry (s·x, c/sᵖ) in the only form in which it is written."""
    if modulo == ["positive-scaling"]:
        return 1
    for degree in range(2, _LARGEST_DEGREE + 1):
        if modulo == [f"positive-scaling:{degree}"]:
            return degree
    raise Invalid("the symmetries are not positive-scaling alone")


def _normalised(degree: int) -> str:
    inverse = "inversely" if degree == 1 else f"by the inverse of their power {degree}"
    return f", if its points x are scaled, and its coefficients {inverse}, so that the stated ones have (x - x̂)ᵀx̂ = 0"


def _monomial(layer: dict[str, Any], index: int) -> int:
    """The degree of a polynomial that has one term."""
    coefficients = layer.get("coefficients")
    degrees = [place for place, number in enumerate(coefficients) if number != 0] if coefficients else []
    if len(degrees) != 1 or degrees[0] == 0:
        raise Invalid(f"layer {index} is no monomial, so nothing is open modulo positive scaling")
    return degrees[0]


def _columns(rows: list[list[Fraction]]) -> arb_mat:
    return arb_mat([[exact(entry) for entry in row] for row in rows]).transpose()


def _add_slices(rows: list[list[arb]], points: list[list[Fraction]], width: int) -> None:
    """Add squares of x̂_iᵀdx_i, which vanish for the measures that are spoken of, to the lower triangle of a form."""
    total = sum((row[place] for place, row in enumerate(rows)), arb(0)).mid()
    for atom, point in enumerate(points):
        square = sum(entry * entry for entry in point)
        if square == 0:
            raise Invalid("a point is zero, so positive scaling does not move it")
        entries = [exact(entry) for entry in point]
        factor = total / exact(Fraction(square))
        for i, left in enumerate(entries):
            for k in range(i + 1):
                rows[atom * width + i][atom * width + k] += factor * left * entries[k]


def _pieces(archive: Archive, value: Any) -> tuple[list[Piece], dict[Piece, Numbers]]:
    if not isinstance(value, list) or not value or not all(isinstance(name, str) for name in value):
        raise Invalid("the pieces are not a list of names")
    if len(set(value)) < len(value):
        raise Invalid("a piece is named twice")
    pieces: list[Piece] = []
    observed: dict[Piece, Numbers] = {}
    for name in value:
        index, slash, part = name.partition("/")
        if not (slash and index.isascii() and index.isdigit() and len(index) <= 6 and part in ("weight", "bias")):
            raise Invalid(f"the piece {ascii(name)[:40]} is no parameter of a layer of a chain")
        pieces.append((int(index), part))
        observed[pieces[-1]] = archive.observed(name)
    return pieces, observed
