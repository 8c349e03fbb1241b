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

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Protocol

import flint
import numpy as np

from provable.architectures import Architecture
from provable.arithmetic import EPSILON, Float
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters
from provable.rigor.balls import (
    Ball,
    BallMatrix,
    ball,
    ball_matrix,
    lower_fraction,
    rounded_down,
    rounded_up,
    sum_of_squares,
    upper_fraction,
)
from provable.rigor.certificates import Certificate, Refusal, library_versions
from provable.rigor.chain_derivatives import Atom, KinkError, chain_of, gram_block
from provable.rigor.positive_definite import certified_lower_eigenvalue
from provable.rigor.rational_texts import encode_rational

LARGEST_SYSTEM = 2000
"""Most unknowns of a certificate; one elimination of that size in balls takes about half a minute."""

ROUNDINGS = 256
"""By default η is at least this many units of rounding of ‖v‖, so that a gradient computed in float64 is explained within
η by the data it was computed from."""

_MARGIN = Fraction(1, 2**20)
"""Relative slack of the stated σ, so that a checker with other roundings reaches it."""

_LARGEST = flint.arb((1, 10_000))
"""No embedding of a larger squared norm is certified; float64 ends at 2**1024."""

_DEVIATION_MARGIN = Fraction(1, 2**5)
"""Relative slack of δ, so that a checker that encloses activations by other formulas reaches the stated σ: balls of radius
ε around derivatives agree to first order in ε, and Arb rounds radii of elementary functions up by a few per mille."""


class Observed(Protocol):
    """What is needed of an observation (`provable.observations` is a floor above)."""

    @property
    def kind(self) -> str:
        """The kind, ``"gradient"`` or ``"parameter-change"``."""

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
    observation: Observed, measure: Measure, *, eta: Fraction | None = None, bits: int = 128
) -> Certificate | Refusal:
    """Make an ``isolated-recovery`` certificate of a recovered measure.

    Parameters
    ----------
    observation : Observed
        An `Observation`: a gradient or parameter change of a chain of linear, flatten and activation layers.
    measure : Measure
        The recovered measure; its float64 numbers are taken as the rationals that they are.
    eta : Fraction, optional
        Misfit, in the norm of v, up to which measures shall be excluded; default the larger of 2‖F(ẑ) - v‖ and
        `ROUNDINGS`·2⁻⁵²·‖v‖. It is raised to 2‖F(ẑ) - v‖ if it is below.
    bits : int
        Working precision of the balls.

    Returns
    -------
    Certificate or Refusal
        The certificate, or the reason why there is none: an unsupported layer, a rank-deficient Jacobian, a kink nearby, a
        residual too large for the curvature.

    Notes
    -----
    The radius R is the largest power of two for which δ ≤ σ₀/2 is proved; so σ is within a factor 2 of its best value.
    """
    if observation.kind not in ("gradient", "parameter-change"):
        return Refusal(f"a {observation.kind} has no observed vector; a gradient or a parameter change has one")
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
    unknowns = measure.size * (points.shape[1] + outputs)
    if unknowns > LARGEST_SYSTEM:
        return Refusal(f"the measure has {unknowns} unknowns; up to {LARGEST_SYSTEM} are certified")
    coefficients = measure.coefficients.reshape(measure.size, outputs)
    with flint.ctx.workprec(bits):
        try:
            steps = chain_of(observation.architecture, observation.parameters)
            atoms = [Atom(steps, x, c) for x, c in zip(points, coefficients, strict=True)]
            return _certify(observation, measure, atoms, eta, bits)
        except UnsupportedError as error:
            return Refusal(str(error))


def _certify(
    observation: Observed, measure: Measure, atoms: list[Atom], eta: Fraction | None, bits: int
) -> Certificate | Refusal:
    names = list(observation.vector)
    pieces = [(int(name.partition("/")[0]), name.partition("/")[2]) for name in names]
    length = sum_of_squares(
        entry for name in names for entry in ball_matrix(observation.vector[name].ravel()).entries()
    )
    squared = _residual(observation, atoms, pieces)
    if not (length < _LARGEST and squared < _LARGEST):
        return Refusal("the embedding of the measure is too large to be enclosed, even in balls")
    # a ball around a sum of squares may reach below zero, so its upper end is taken before the root
    size, misfit = (upper_fraction(number.abs_upper().sqrt()) for number in (length, squared))
    # the floor is far below float64 and far above the rounding of a checker that works with as many bits
    residual = rounded_up(misfit + size / 2 ** (bits - 32))
    tolerance = max(2 * residual, rounded_up(size * ROUNDINGS * Fraction(EPSILON) if eta is None else eta))

    smallest = certified_lower_eigenvalue(_gram(atoms, pieces), bits=bits)
    if not smallest > 0:
        return Refusal(
            "the Jacobian at the measure is not of full rank as far as can be proved, so a direction is left open: two equal "
            "atoms, a zero coefficient, a rescaling (t x, c/t) or too few equations"
        )
    centre = ball(Fraction(smallest)).sqrt()
    least = upper_fraction((ball(tolerance) + ball(residual)) / centre)
    found = _radius(atoms, pieces, centre, least, measure)
    if isinstance(found, Refusal):
        return found
    radius, deviation = found
    bound = (centre - deviation) * ball(1 - _MARGIN)
    sigma = rounded_down(lower_fraction(bound))
    rho = rounded_up((tolerance + residual) / sigma)
    if rho > radius:
        return Refusal(_too_curved(rho, radius))
    points = measure.points.reshape(measure.size, -1)
    data = {
        "points": [[encode_rational(entry) for entry in row] for row in points.tolist()],
        "coefficients": [
            [encode_rational(entry) for entry in row] for row in measure.coefficients.reshape(measure.size, -1).tolist()
        ],
        "pieces": names,
        "radius": encode_rational(radius),
        "eta": encode_rational(tolerance),
        "sigma": encode_rational(sigma),
        "residual": encode_rational(residual),
        "rho": encode_rational(rho),
    }
    return Certificate("isolated-recovery", data, observation.sha256, library_versions())


def _residual(observation: Observed, atoms: list[Atom], pieces: list[tuple[int, str]]) -> Ball:
    """Ball around ‖F(ẑ) - v‖²."""
    total = flint.arb(0)
    for index, part in pieces:
        difference = -ball_matrix(observation.vector[f"{index}/{part}"])
        for atom in atoms:
            difference = difference + atom.piece(index, part)
        total += sum_of_squares(difference.entries())
    return total


def _gram(atoms: list[Atom], pieces: list[tuple[int, str]]) -> BallMatrix:
    """Balls around JᵀJ at ẑ, unknowns ordered atom by atom; entries above the diagonal blocks are mirrored."""
    blocks = {(j, k): gram_block(atoms[j], atoms[k], pieces).tolist() for j in range(len(atoms)) for k in range(j + 1)}
    size = atoms[0].size
    entries = []
    for j in range(len(atoms)):
        for row in range(size):
            for k in range(len(atoms)):
                if k <= j:
                    entries.extend(blocks[j, k][row])
                else:
                    entries.extend(blocks[k, j][column][row] for column in range(size))
    return flint.arb_mat(len(atoms) * size, len(atoms) * size, entries)


def _radius(
    atoms: list[Atom], pieces: list[tuple[int, str]], centre: Ball, least: Fraction, measure: Measure
) -> tuple[Fraction, Ball] | Refusal:
    """Largest power of two R with a deviation of at most half of σ₀, and that deviation."""
    length = math.hypot(float(np.linalg.norm(measure.points)), float(np.linalg.norm(measure.coefficients)))
    radius = Fraction(2) ** max(math.frexp(length)[1], -1000)
    kink: KinkError | None = None
    while radius >= least:
        try:
            squares = sum_of_squares(atom.jacobian_deviation(ball(radius), pieces) for atom in atoms)
            deviation = (squares.abs_upper().sqrt() * ball(1 + _DEVIATION_MARGIN)).abs_upper()
            if deviation <= centre / 2:
                return radius, deviation
            kink = None
        except KinkError as error:
            kink = error
        radius /= 2
    if kink is not None:
        return Refusal(f"{kink}, at a distance below {float(least):.1e}, the radius that the residual needs")
    return Refusal(_too_curved(least, radius))


def _too_curved(least: Fraction, radius: Fraction) -> str:
    return (
        f"the residual and η need a ball of radius {float(least):.1e}, but the Jacobian is known to stay injective within "
        f"{float(radius):.1e} only"
    )
