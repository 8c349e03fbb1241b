r"""A recovered measure, certified: no other measure nearby explains the observation as well.

Notation: z = (points, coefficients) in Rᴺ with the Euclidean norm, F(z) the observed pieces of
:math:`\Phi_\theta \mu = \sum_j \sum_k c_{jk} \nabla_\theta f_k(x_j; \theta)`, v the observation, ẑ the recovered measure.
The equation is F(z) = v whatever the reduction of the loss was: a ``"mean"`` puts the factor 1/B into the coefficients.

**The bound.** Let J be the derivative of F, σ₀ ≤ σ_min(J(ẑ)) and δ ≥ ‖J(ξ) - J(ẑ)‖₂ for all ξ with ‖ξ - ẑ‖ ≤ R, and let F be
continuously differentiable there (no pre-activation crosses a kink). With
:math:`\bar J = \int_0^1 J(\hat z + t(z - \hat z))\,dt`,

.. math:: \|F(z) - F(\hat z)\| = \|\bar J (z - \hat z)\| \ge (\sigma_0 - \delta)\,\|z - \hat z\|
          \qquad\text{for all } \|z - \hat z\| \le R,

because ‖J̄ - J(ẑ)‖ ≤ δ. This is the stated ``sigma`` ≤ σ₀ - δ. (Bounding J over a box and forming the Gram matrix of its
enclosure would be valid only with one enclosure per row, since the mean value theorem takes another point for every row;
the deviation bound needs no rows at all.) So every z in the ball with ‖F(z) - v‖ ≤ η obeys

.. math:: \|z - \hat z\| \le \rho \quad\text{as soon as}\quad \rho \ge (\eta + r) / \sigma, \qquad r \ge \|F(\hat z) - v\|.

**A moved point is rejected.** A certificate is valid only if r bounds the residual of its own point, 2r ≤ η and
(η + r)/σ ≤ ρ ≤ R. Let a valid one have its point replaced by z' with ρ < ‖z' - ẑ‖ ≤ R and nothing else changed. Then
‖F(z') - v‖ ≥ σ‖z' - ẑ‖ - r > σρ - r ≥ η ≥ 2r ≥ r, so r is no bound of the residual at z', and a checker that computes that
residual rejects. Beyond R the data can only pass if z' is another solution (the same atoms in another order, say), and
then the certificate is a true statement about that solution. Edits of η, σ, r, ρ and R are rejected unless the numbers
stay consistent, and then the claim is a weaker one that is true.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Protocol

import flint
import numpy as np

from provable.architectures import Architecture, Flatten, Identity, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import EPSILON, Float
from provable.errors import ArithmeticUnsupported, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters
from provable.rigor.balls import (
    Ball,
    BallMatrix,
    ball,
    ball_matrix,
    lower_float,
    lower_fraction,
    rounded_down,
    rounded_up,
    sum_of_squares,
    upper_float,
    upper_fraction,
)
from provable.rigor.batch_chain import Batch
from provable.rigor.block_triangular import Bounds, Pieces, RankError, Splitting, candidates
from provable.rigor.certificates import Certificate, Refusal, library_versions
from provable.rigor.chain_derivatives import Atom, KinkError, chain_of
from provable.rigor.dense_isolation import gram_matrix, point_slices, radius_by_deviation, too_curved
from provable.rigor.positive_definite import certified_lower_eigenvalue
from provable.rigor.rational_texts import encode_rational
from provable.symmetries import scaling_degree, scaling_name

LARGEST_SYSTEM = 2000
"""Most unknowns of a certificate; one elimination of that size in balls takes about half a minute."""

SMALL_SYSTEM = 300
"""Most unknowns that are certified by their Gram matrix first."""

_NO_SPLITTING = (
    "no splitting of the unknowns applies: it takes the weight gradient of the first layer and at most as many samples as "
    "inputs and as neurons, or that of a deeper layer with at least as many inputs as a sample and the batch together"
)

ROUNDINGS = (Fraction(256), Fraction(16), Fraction(1, 2))
"""η is by default the first of these numbers of units of rounding of ‖v‖ with which there is a proof: a gradient is explained
within 256 units by the data it was computed from, and within a half if its numbers were rounded only when stored."""

_MARGIN = Fraction(1, 2**20)
"""Relative slack of the stated σ, so that a checker with other roundings reaches it."""

_REFUSED = (UnsupportedError, ArithmeticUnsupported, OverflowError)
"""What is no mistake of a caller: a layer, a pre-activation that may be zero where there is a kink, a number out of range."""

_LARGEST = flint.arb((1, 10_000))
"""No embedding of a larger squared norm is certified; float64 ends at 2**1024."""


class Observed(Protocol):
    """What is needed of an observation (`provable.observations` is a floor above)."""

    @property
    def kind(self) -> str:
        """The kind, such as ``"gradient"``."""

    @property
    def architecture(self) -> Architecture:
        """The network."""

    @property
    def parameters(self) -> Parameters:
        """θ."""

    @property
    def vector(self) -> Mapping[str, Float]:
        """The observed pieces of v."""

    @property
    def sha256(self) -> str:
        """Digest of the observation file."""


def certify(
    observation: Observed,
    measure: Measure,
    *,
    eta: Fraction | None = None,
    bits: int = 128,
    split: str | None = None,
    modulo: Sequence[str] = (),
    unit: float = EPSILON,
) -> Certificate | Refusal:
    """Make an ``isolated-recovery`` certificate of a recovered measure.

    Parameters
    ----------
    observation : Observed
        An `Observation`: a gradient or parameter change of a chain of linear, flatten and activation layers.
    measure : Measure
        The recovered measure; its float64 numbers are taken as the rationals that they are.
    eta : Fraction, optional
        Misfit, in the norm of the pieces of v that the certificate names, up to which measures shall be excluded; default
        the largest of `ROUNDINGS` times unit·‖v‖ that can be proved. It is raised to 2‖F(ẑ) - v‖ if it is below.
    bits : int
        Working precision of the balls; where it leaves the rank of a batch open, twice as many are tried.
    split : {"dense", "row-space", "layer-inputs"}, optional
        How σ is bounded: by the whole Gram matrix, or by one of the splittings of `provable.rigor.block_triangular`, for
        batches; default whichever can be proved, the dense one first for up to `SMALL_SYSTEM` unknowns and last beyond.
    modulo : sequence of str
        ``"positive-scaling"``, ``"positive-scaling:p"`` with the degree p of the network's homogeneity, or nothing: whether
        measures are normalised as x̂ᵀx = ‖x̂‖², atom by atom.
    unit : float
        Unit of rounding of the observed numbers. Where there are hardly more equations than unknowns, a fit explains
        rounded numbers far better than the data behind them do, and only η ≥ unit·‖v‖/2 speaks of these.

    Returns
    -------
    Certificate or Refusal
        The certificate, or the reason why there is none: an unsupported layer, a rank-deficient Jacobian, a kink nearby, a
        residual too large for the curvature.

    Notes
    -----
    The radius R is a power of two: for the dense bound the largest for which δ ≤ σ₀/2 is proved, for a splitting the largest
    that leaves 7/8 of s and of t or, where ρ needs more, a half. So σ is within a small factor of its value at R = 0.
    """
    outputs = observation.architecture.output_size
    if measure.size == 0:
        return Refusal("the measure has no atoms, so nothing is to be isolated")
    points = measure.points.reshape(measure.size, -1)
    if points.shape[1] != observation.architecture.input_size or measure.coefficients.size != measure.size * outputs:
        return Refusal(
            f"the measure's atoms have {points.shape[1]} entries and its coefficients the shape "
            f"{measure.coefficients.shape}; {observation.architecture.input_size} and {outputs} per atom would fit"
        )
    if measure.points.dtype != np.float64 or measure.coefficients.dtype != np.float64:
        return Refusal("the measure holds exact numbers; float64, which are rationals too, are certified")
    if len(modulo) > 1 or any(scaling_degree(name) is None for name in modulo):
        return Refusal(
            f"measures modulo {', '.join(modulo)} are not certified; positive-scaling is the one symmetry that is"
        )
    if modulo and open_scaling(observation) is None:
        return Refusal(
            "the network is not positively homogeneous, so nothing is open to be taken modulo positive scaling"
        )
    if modulo and open_scaling(observation) != modulo[0]:
        return Refusal(f"the network scales by {open_scaling(observation)}, and not by {modulo[0]}")
    problem = _Problem(observation, measure, eta, bits, modulo[0] if modulo else None, unit)
    if split is None:
        return problem.by_any_way()
    return problem.densely() if split == "dense" else problem.structurally(split)


def open_scaling(observation: Observed) -> str | None:
    """Name the scaling (x, c) ↦ (s x, c / sᵖ), s > 0, that changes no observed piece.

    Parameters
    ----------
    observation : Observed
        An observation.

    Returns
    -------
    str or None
        ``"positive-scaling"`` or ``"positive-scaling:p"`` if all activations are positively homogeneous or monomials of
        positive degree, p is the product of their degrees, and no layer has a bias but one without an activation behind it,
        whose gradient is not observed; otherwise None.
    """
    layers = observation.architecture.layers
    effective = [index for index, layer in enumerate(layers) if not isinstance(layer, Identity | Flatten)]
    degree = 1
    for index, layer in enumerate(layers):
        if isinstance(layer, Linear):
            if layer.bias and (index != effective[-1] or f"{index}/bias" in observation.vector):
                return None
        elif isinstance(layer, Polynomial):
            powers = np.flatnonzero(layer.coefficients)
            if len(powers) != 1 or not powers[0]:
                return None
            degree *= int(powers[0])
        elif not isinstance(layer, ReLU | LeakyReLU | Identity | Flatten):
            return None
    return scaling_name(degree)


@dataclasses.dataclass(frozen=True)
class _Problem:
    """What is to be certified, and at which precision."""

    observation: Observed
    measure: Measure
    eta: Fraction | None
    bits: int
    modulo: str | None
    unit: float

    @property
    def slice_points(self) -> bool:
        return self.modulo is not None

    @property
    def points(self) -> Float:
        return np.asarray(self.measure.points.reshape(self.measure.size, -1))

    @property
    def coefficients(self) -> Float:
        return np.asarray(self.measure.coefficients.reshape(self.measure.size, -1))

    @property
    def unknowns(self) -> int:
        return int(self.points.size + self.coefficients.size)

    def by_any_way(self) -> Certificate | Refusal:
        ways: list[Callable[[], Certificate | Refusal]] = [self.densely, lambda: self.structurally(None)]
        if self.unknowns > SMALL_SYSTEM:
            ways.reverse()
        first = ways[0]()
        if isinstance(first, Certificate):
            return first
        second = ways[1]()
        if isinstance(second, Certificate):
            return second
        # the dense bound is the sharper one, so its reason is the better one where it was tried
        dense, structural = (first, second) if self.unknowns <= SMALL_SYSTEM else (second, first)
        return dense if self.unknowns <= LARGEST_SYSTEM else Refusal(f"{dense.reason}; {structural.reason}")

    def densely(self) -> Certificate | Refusal:
        if self.unknowns > LARGEST_SYSTEM:
            return Refusal(
                f"the measure has {self.unknowns} unknowns; up to {LARGEST_SYSTEM} are certified by their Gram matrix"
            )
        with flint.ctx.workprec(self.bits):
            try:
                steps = chain_of(self.observation.architecture, self.observation.parameters)
                atoms = [Atom(steps, x, c) for x, c in zip(self.points, self.coefficients, strict=True)]
                return self._certify_densely(atoms)
            except _REFUSED as error:
                return Refusal(str(error))

    def _certify_densely(self, atoms: list[Atom]) -> Certificate | Refusal:
        pieces = _pieces(self.observation)
        found = self._misfit(pieces, lambda index, part: _sum([atom.piece(index, part) for atom in atoms]))
        if isinstance(found, Refusal):
            return found
        gram = gram_matrix(atoms, pieces)
        if self.slice_points:
            gram = gram + point_slices(self.points, atoms[0].size) * flint.arb(gram.trace().mid())
        smallest = certified_lower_eigenvalue(gram, bits=self.bits)
        if not smallest > 0:
            return Refusal(
                "the Jacobian at the measure is not of full rank as far as can be proved, so a direction is left open: two "
                "equal atoms, a zero coefficient, a rescaling (t x, c/t) or too few equations"
            )
        centre = ball(Fraction(smallest)).sqrt()
        reason: Refusal | None = None
        for misfit in found:
            bounded = radius_by_deviation(atoms, pieces, centre, misfit.distance(centre), self.measure)
            if isinstance(bounded, Refusal):
                reason = reason or bounded
                continue
            radius, deviation = bounded
            sigma = rounded_down(lower_fraction((centre - deviation) * ball(1 - _MARGIN)))
            made = self._certificate(pieces, misfit, radius, sigma, None)
            if isinstance(made, Certificate):
                return made
            reason = reason or made
        assert reason is not None
        return reason

    def structurally(self, split: str | None) -> Certificate | Refusal:
        refusals: list[str] = []
        for bits in (self.bits, 2 * self.bits):
            with flint.ctx.workprec(bits):
                try:
                    steps = chain_of(self.observation.architecture, self.observation.parameters)
                    batch = Batch(steps, ball_matrix(self.points.T), ball_matrix(self.coefficients.T))
                except _REFUSED as error:
                    return Refusal(str(error))
                ways = candidates(batch, _pieces(self.observation), self.slice_points)
                open_rank = False
                refusals = []
                for way, pieces in ways:
                    if split is not None and way.name != split:
                        continue
                    try:
                        made = dataclasses.replace(self, bits=bits)._certify_structurally(
                            way(batch, pieces, self.slice_points), pieces
                        )
                    except RankError as error:
                        open_rank, made = True, Refusal(str(error))
                    except _REFUSED as error:
                        made = Refusal(str(error))
                    if isinstance(made, Certificate):
                        return made
                    refusals.append(f"{way.name} at layer {pieces[0][0]}: {made.reason}")
                if not open_rank:
                    break
        return Refusal("; ".join(dict.fromkeys(refusals)) or _NO_SPLITTING)

    def _certify_structurally(self, splitting: Splitting, pieces: Pieces) -> Certificate | Refusal:
        found = self._misfit(pieces, splitting.batch.piece)
        if isinstance(found, Refusal):
            return found
        reason: Refusal | None = None
        for misfit in found:
            bounded = _radius_of_splitting(splitting, misfit)
            if isinstance(bounded, Refusal):
                reason = reason or bounded
                continue
            radius, bounds = bounded
            sigma = rounded_down(lower_fraction(bounds.sigma() * ball(1 - _MARGIN)))
            made = self._certificate(pieces, misfit, radius, sigma, splitting.name)
            if isinstance(made, Certificate):
                return made
            reason = reason or made
        assert reason is not None
        return reason

    def _misfit(self, pieces: Pieces, piece: Callable[[int, str], BallMatrix]) -> list[_Misfit] | Refusal:
        """Bound of the residual with the η to be tried, largest first."""
        length, squared = flint.arb(0), flint.arb(0)
        for index, part in pieces:
            observed = ball_matrix(self.observation.vector[f"{index}/{part}"])
            length += sum_of_squares(observed.entries())
            squared += sum_of_squares((piece(index, part) - observed).entries())
        if not (length < _LARGEST and squared < _LARGEST):
            return Refusal("the embedding of the measure is too large to be enclosed, even in balls")
        # a ball around a sum of squares may reach below zero, so its upper end is taken before the root
        size, misfit = (upper_fraction(number.abs_upper().sqrt()) for number in (length, squared))
        # the floor is far below float64 and far above the rounding of a checker that works with as many bits
        residual = rounded_up(misfit + size / 2 ** (self.bits - 32))
        allowed = [size * count * Fraction(self.unit) for count in ROUNDINGS] if self.eta is None else [self.eta]
        tolerances = [max(2 * residual, rounded_up(tolerance)) for tolerance in allowed]
        return [_Misfit(residual, tolerance) for tolerance in dict.fromkeys(tolerances)]

    def _certificate(
        self, pieces: Pieces, misfit: _Misfit, radius: Fraction, sigma: Fraction, split: str | None
    ) -> Certificate | Refusal:
        rho = rounded_up((misfit.eta + misfit.residual) / sigma)
        if rho > radius:
            return Refusal(too_curved(rho, radius))
        data: dict[str, Any] = {
            "points": [[encode_rational(entry) for entry in row] for row in self.points.tolist()],
            "coefficients": [[encode_rational(entry) for entry in row] for row in self.coefficients.tolist()],
            "pieces": [f"{index}/{part}" for index, part in pieces],
            "radius": encode_rational(radius),
            "eta": encode_rational(misfit.eta),
            "sigma": encode_rational(sigma),
            "residual": encode_rational(misfit.residual),
            "rho": encode_rational(rho),
        }
        if split is not None:
            data["split"] = split
        if self.modulo is not None:
            data["modulo"] = [self.modulo]
        return Certificate("isolated-recovery", data, self.observation.sha256, library_versions())


@dataclasses.dataclass(frozen=True)
class _Misfit:
    """r ≥ ‖F(ẑ) - v‖ and η."""

    residual: Fraction
    eta: Fraction

    def distance(self, sigma: Ball) -> Fraction:
        """The radius that is needed at least with this σ."""
        return upper_fraction((ball(self.eta) + ball(self.residual)) / sigma)


def _pieces(observation: Observed) -> Pieces:
    parts = (name.partition("/") for name in observation.vector)
    return [(int(index), part) for index, _, part in parts]


def _sum(matrices: list[BallMatrix]) -> BallMatrix:
    total = matrices[0]
    for matrix in matrices[1:]:
        total = total + matrix
    return total


def _radius_of_splitting(splitting: Splitting, misfit: _Misfit) -> tuple[Fraction, Bounds] | Refusal:
    """Largest power of two R within which 7/8 of s and of t are left, or a half if 7/8 need less than ρ."""
    start = Fraction(2) ** -80
    bounds = splitting.within(ball(start))
    if not bounds.sigma() > 0:
        return Refusal("the samples stay separated within no radius that is large enough to be of use")
    least = misfit.distance(bounds.sigma())
    # the constants only grow, so that beyond this radius less than a half is left
    lost = 1 - splitting.kept(bounds)
    exponent = math.frexp(lower_float(start / upper_fraction(lost) / 2))[1] if lost > 0 else 0
    kink: KinkError | None = None
    for part in (ball(0.875), ball(0.5)):
        radius = Fraction(2) ** min(exponent, 1000)
        while radius >= least:
            try:
                bounds = splitting.within(ball(radius))
                if splitting.kept(bounds) >= part:
                    if misfit.distance(bounds.sigma()) * (1 + _MARGIN) <= radius:
                        return radius, bounds
                    break  # σ changes by a few per cent only
                kink = None
            except KinkError as error:
                kink = error
            radius /= 2
    if kink is not None:
        return Refusal(f"{kink}, at a distance below {upper_float(least):.1e}, the radius that the residual needs")
    return Refusal(too_curved(least, radius))
