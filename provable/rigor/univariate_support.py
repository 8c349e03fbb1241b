r"""Certificates ``univariate-support``: where the samples of a stationary network of one input lie, for a given margin.

Nothing is proved here: the numbers that a certificate states are computed in float64 with some slack, and the checker proves
them in rational numbers.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from provable.rigor.balls import rounded_up
from provable.rigor.certificates import Certificate, Refusal, library_versions
from provable.rigor.rational_texts import encode_rational
from provable.stationarity.univariate import Level, UnivariateNetwork

Float = NDArray[np.float64]

SLACK = 2.0**-44
"""Stated bounds give way by this, relative to the sizes of what they are computed from: float64 rounds by 2⁻⁵²."""

BITS = 32
"""Significant bits of stated errors, which are rounded up."""


@dataclasses.dataclass(frozen=True)
class Member:
    """A point, and why there is a sample.

    Parameters
    ----------
    point, coefficient : float
        The point, within a level, and what the samples there weigh.
    slopes : mapping of int to float
        Slopes of the neurons at whose knots the point is.
    multipliers : mapping of int to (float, float)
        ζ: for neurons, the factors of the equations of their weight and bias.
    """

    point: float
    coefficient: float
    slopes: Mapping[int, float]
    multipliers: Mapping[int, tuple[float, float]]


class _Neurons:
    """The numbers of a network in float64."""

    def __init__(self, network: UnivariateNetwork) -> None:
        rows = [(n.index, float(n.weight), float(n.bias), float(n.outer), n.side) for n in network.neurons]
        columns = [np.array(column) for column in zip(*rows, strict=True)]
        self.index = columns[0].astype(int)
        self.weight, self.bias, self.outer, self.side = columns[1:]
        knots = [float(n.knot) if n.side else 0.0 for n in network.neurons]  # constant neurons have none
        self.knot: Float = np.array(knots)
        self.square = float(np.sum(self.weight**2 + self.bias**2))

    def slopes(self, x: float, kink: float) -> tuple[Float, NDArray[np.bool_]]:
        """1 or 0, and whether it may be anything in between."""
        active = np.where(self.side == 0, self.bias > 0, self.side * (x - self.knot) > 0).astype(float)
        return active, (self.side != 0) & (np.abs(x - self.knot) <= kink)


def certify(
    network: UnivariateNetwork,
    subject: str,
    members: Sequence[Member],
    others: Sequence[Member],
    margin: tuple[Fraction, Fraction],
    kink: float,
    error: float,
) -> Certificate | Refusal:
    """State where the samples of a stationary network lie.

    Parameters
    ----------
    network : UnivariateNetwork
        The network.
    subject : str
        SHA-256 of the observation file.
    members : sequence of Member
        Points in different levels.
    others : sequence of Member
        What else explains the network together with them; their multipliers are not used.
    margin : tuple of two Fraction
        Bounds of the samples' margins.
    kink : float
        How near to a knot a sample may have any slope there.
    error : float
        A bound of ‖E - W‖ below which measures are to be covered; raised to twice the error of the stated measure.

    Returns
    -------
    Certificate or Refusal
        What the checker is to prove, or the reason why there is nothing to state.
    """
    if not members:
        return Refusal("no point is forced")
    levels = network.levels(*margin)
    homes = [_home(levels, Fraction(member.point)) for member in members]
    if None in homes or len(set(homes)) < len(homes):
        return Refusal("a point lies on no level, or two on one")
    neurons = _Neurons(network)
    residual = _residual(neurons, [*members, *others])
    eta = max(error, 2 * residual)
    reliable = float(margin[0]) - kink * float(np.sum(np.abs(neurons.outer * neurons.weight)))
    if reliable <= 0:
        return Refusal("the kinks' width is too large for the margin")
    total = (neurons.square + eta * math.sqrt(neurons.square)) / reliable * (1 + SLACK)
    lower = []
    for member, home in zip(members, homes, strict=True):
        bound = _lower_bound(neurons, member, levels, home, kink, eta, total)
        if not bound > 0:
            return Refusal(f"the multipliers of the point {member.point:.6g} separate it from nothing")
        lower.append(bound)
    rest = total - sum(lower) + SLACK * total
    off = [max(abs(m.coefficient) - b, b + rest - abs(m.coefficient)) for m, b in zip(members, lower, strict=True)]
    reach = []
    for member, home in zip(members, homes, strict=True):
        level = levels[home or 0]
        if level.left is None or level.right is None:
            return Refusal("the network has its margin on a half-line")
        reach.append(max(Fraction(member.point) - level.left, level.right - Fraction(member.point)))
    data = {
        "points": [[encode_rational(m.point)] for m in members],
        "coefficients": [[encode_rational(m.coefficient)] for m in members],
        "others": [[encode_rational(m.point), encode_rational(m.coefficient)] for m in others],
        "slopes": [[k, j, encode_rational(s)] for j, m in enumerate([*members, *others]) for k, s in m.slopes.items()],
        "margin": [encode_rational(bound) for bound in margin],
        "kink": encode_rational(kink),
        "eta": encode_rational(eta),
        "residual": encode_rational(residual),
        "rho": encode_rational(rounded_up(max(reach), bits=BITS)),
        "lower": [encode_rational(bound) for bound in lower],
        "coefficient_rho": encode_rational(rounded_up(Fraction(max(off) + SLACK * total), bits=BITS)),
        "outside": encode_rational(rounded_up(Fraction(rest), bits=BITS)),
        "multipliers": [
            [[k, encode_rational(p), encode_rational(q)] for k, (p, q) in m.multipliers.items()] for m in members
        ],
    }
    return Certificate("univariate-support", data, subject, library_versions())


def _home(levels: Sequence[Level], point: Fraction) -> int | None:
    for place, level in enumerate(levels):
        if (level.left is None or level.left <= point) and (level.right is None or point <= level.right):
            return place
    return None


def _residual(neurons: _Neurons, members: Sequence[Member]) -> float:
    """‖E - W‖ of the members' measure, with room for the rounding of it here."""
    first, zeroth, size = (np.zeros(len(neurons.index)) for _ in range(3))
    for member in members:
        slopes, _ = neurons.slopes(member.point, 0.0)
        for k, slope in member.slopes.items():
            slopes[neurons.index == k] = slope
        part = member.coefficient * slopes * neurons.outer
        first, zeroth = first + part * member.point, zeroth + part
        size = size + np.abs(part) * (1 + abs(member.point))
    misfit = math.hypot(float(np.linalg.norm(first - neurons.weight)), float(np.linalg.norm(zeroth - neurons.bias)))
    return misfit + SLACK * (float(np.linalg.norm(size)) + math.sqrt(neurons.square))


def _lower_bound(
    neurons: _Neurons,
    member: Member,
    levels: Sequence[Level],
    home: int | None,
    kink: float,
    eta: float,
    total: float,
) -> float:
    zeta = np.zeros((len(neurons.index), 2))
    place = {int(k): row for row, k in enumerate(neurons.index)}
    for k, pair in member.multipliers.items():
        zeta[place[k]] = pair
    paired = float(zeta[:, 0] @ neurons.weight + zeta[:, 1] @ neurons.bias)
    scaled = zeta * neurons.outer[:, None]
    inside = outside = magnitude = 0.0
    for index, level in enumerate(levels):
        bound, size = _largest(neurons, scaled, level, kink)
        magnitude = max(magnitude, size)
        if index == home:
            inside = bound
        else:
            outside = max(outside, bound)
    slack = SLACK * (magnitude * total + float(np.abs(zeta[:, 0]) @ np.abs(neurons.weight)))
    if inside <= 0 or not math.isfinite(outside):
        return 0.0
    left = paired - outside * total - eta * float(np.linalg.norm(zeta)) * (1 + SLACK) - slack
    return left / (inside + SLACK * magnitude)


def _largest(neurons: _Neurons, scaled: Float, level: Level, kink: float) -> tuple[float, float]:
    """The largest sign·ψ on a level, whatever the slopes near knots, and the sum of the sizes of the terms."""
    left = -math.inf if level.left is None else float(level.left)
    right = math.inf if level.right is None else float(level.right)
    # ends and kinks are rounded here: what is within an ulp of undetermined is taken for it
    ulp = 4 * np.finfo(np.float64).eps * (1 + max((abs(x) for x in (left, right) if math.isfinite(x)), default=0.0))
    wide = kink + ulp
    used = np.any(scaled != 0, axis=1) & (neurons.side != 0)
    cuts = np.concatenate([neurons.knot[used] - wide, neurons.knot[used] + wide])
    ends = [left, *np.unique(cuts[(cuts >= left) & (cuts <= right)]).tolist(), right]
    best, size = -math.inf, 0.0
    for start, stop in itertools.pairwise(ends):
        finite = [x for x in (start, stop) if math.isfinite(x)]
        middle = (start + stop) / 2 if len(finite) == 2 else (start + 1 if finite == [start] else stop - 1)
        if not finite:
            middle = 0.0
        active, open_slopes = neurons.slopes(middle, wide)
        sure = active * ~open_slopes
        for end, direction in ((start, -1.0), (stop, 1.0)):
            if math.isfinite(end):
                values = level.sign * (scaled[:, 0] * end + scaled[:, 1])
                best = max(best, float(sure @ values + np.sum(np.maximum(values, 0.0) * open_slopes)))
                size = max(size, float(np.abs(scaled[:, 0] * end) @ sure + np.abs(scaled[:, 1]) @ sure))
            elif level.sign * direction * float(sure @ scaled[:, 0]) > 0:
                return math.inf, size
        if not finite:
            best = max(best, float(level.sign * (sure @ scaled[:, 1])))
    return best, size
