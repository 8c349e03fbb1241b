r"""The claim ``univariate-support``: where the samples of a stationary network of one input lie, and how much each weighs.

Let f(x) = Σ_k v_k relu(w_k x + b_k), and let a measure Σ_i c_i δ_{x_i} explain the first layer with slopes s_ik: with E_k =
Σ_i c_i s_ik v_k (x_i, 1), ‖E - W‖ ≤ η, where s_ik is 1 or 0 as neuron k is active at x_i or not, and anything in [0, 1] if
x_i is within κ of its knot. If sign(c_i) f(x_i) is in [m₁, m₂] for all i, all x_i lie in the finitely many intervals of m₁ ≤
|f| ≤ m₂, which are computed here. Pairing E with W bounds Λ = Σ|c_i|, since Σ_k s_ik v_k (w_k x_i + b_k) is f(x_i) up to
κ Σ|v_k w_k|. Pairing it with multipliers ζ gives Σ_i c_i ψ(x_i) ≥ ⟨ζ, W⟩ - η‖ζ‖ for ψ(x) = Σ_k s_k v_k ζ_k·(x, 1). Where
sign·ψ ≤ Ψ on one interval and ≤ δ on all others, that interval holds Σ|c_i| ≥ (⟨ζ, W⟩ - η‖ζ‖ - δΛ)/Ψ.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

from provable.checker import documents
from provable.checker.archive import Archive
from provable.checker.description import layers_of
from provable.checker.verdict import Invalid

_BITS = 128
"""Binary digits behind the point of a root."""

Neuron = tuple[Fraction, Fraction, Fraction]
"""w, b and v."""

Interval = tuple[int, Fraction | None, Fraction | None]
"""A sign, and the ends of an interval on which the network times that sign is within the margin's bounds."""

_KEYS = {"points", "coefficients", "others", "slopes", "margin", "kink", "eta", "residual", "rho", "lower"}
_KEYS |= {"coefficient_rho", "outside", "multipliers"}


def check(data: dict[str, Any], subject: str, observation: bytes | None) -> str:
    """Check a ``univariate-support`` claim.

    Parameters
    ----------
    data : dict
        ``points`` and ``coefficients`` (n, 1), ``others``, ``slopes``, ``margin``, ``kink``, ``eta``, ``residual``,
        ``rho``, ``lower``, ``coefficient_rho``, ``outside`` and ``multipliers``.
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
    documents.keys(data, _KEYS)
    if observation is None:
        raise Invalid("the observation file is needed, and none was given")
    if hashlib.sha256(observation).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the observation file")
    network = _Network(_neurons(Archive(observation)))
    points = [row[0] for row in _columns(data["points"], "points")]
    coefficients = [row[0] for row in _columns(data["coefficients"], "coefficients", len(points))]
    low, high = documents.rationals(data["margin"], "margin", 2)
    numbers = {key: documents.rational(data[key], key) for key in ("kink", "eta", "residual", "rho")}
    kink, eta = numbers["kink"], numbers["eta"]
    if not 0 < low <= high or min(numbers.values()) < 0:
        raise Invalid("the margin, or a bound on an error, is negative")
    intervals = network.intervals(low, high)
    homes = [_home(intervals, points[j], coefficients[j], numbers["rho"]) for j in range(len(points))]
    if len(set(homes)) < len(homes):
        raise Invalid("two points lie in one interval")
    others = documents.rational_rows(data["others"], "others") if data["others"] != [] else []
    if others and len(others[0]) != 2:
        raise Invalid("others are not points with coefficients")
    for x, c in others:
        _home(intervals, x, c, None)
    everything = [*zip(points, coefficients, strict=True), *((x, c) for x, c in others)]
    _check_explained(network, everything, data["slopes"], kink, numbers["residual"])
    if numbers["residual"] > eta:
        raise Invalid("the stated measure is not among those that the claim is about")
    total = network.total(low, kink, eta)
    lower = documents.rationals(data["lower"], "lower", len(points))
    multipliers = data["multipliers"]
    if not isinstance(multipliers, list) or len(multipliers) != len(points):
        raise Invalid("there is not one list of multipliers for every point")
    for j, home in enumerate(homes):
        pairing = _Pairing(network, multipliers[j], kink)
        if lower[j] <= 0 or not pairing.proves(lower[j], home, intervals, total, eta):
            raise Invalid(f"the multipliers do not prove that the interval of point {j} holds what is stated")
    rest = total - sum(lower)
    if documents.rational(data["outside"], "outside") < rest:
        raise Invalid("more may lie outside the points' intervals than is stated")
    allowed = documents.rational(data["coefficient_rho"], "coefficient_rho")
    for bound, coefficient in zip(lower, coefficients, strict=True):
        if not bound >= abs(coefficient) - allowed or not bound + rest <= abs(coefficient) + allowed:
            raise Invalid("a coefficient may be further from the stated one than coefficient_rho")
    return (
        "every measure with sign(c) f(x) within the stated margin at all its samples that explains the first layer up to eta "
        f"has the stated weight, up to coefficient_rho, within rho of each of all {len(points)} points, and at most the "
        "stated weight elsewhere; measures with other margins are not excluded"
    )


def _columns(value: Any, name: str, length: int | None = None) -> list[list[Fraction]]:
    rows = documents.rational_rows(value, name)
    if len(rows[0]) != 1 or (length is not None and len(rows) != length):
        raise Invalid(f"{name} are not one number each, as many as there are points")
    return rows


def _neurons(archive: Archive) -> list[Neuron]:
    """Those of a stationary point's network, which has to be linear with bias, relu, linear without, from 1 input to 1."""
    if archive.text("format") != "provable-observation/1" or archive.text("kind") != "stationary-point":
        raise Invalid("the observation is not a provable-observation/1 file of a stationary-point")
    layers, shape = layers_of(archive.text("architecture"))
    kinds = [layer["type"] for layer in layers]
    if shape != (1,) or kinds != ["linear", "relu", "linear"]:
        raise Invalid("the network is not linear, relu, linear on one input")
    if layers[0].get("bias", True) is not True or layers[2].get("bias", True) is not False:
        raise Invalid("the network has not a bias in its first layer only")
    width = documents.natural(layers[0].get("out_features"), "out_features", 1)
    wanted = {"0/weight": (width, 1), "0/bias": (width,), "2/weight": (1, width)}
    arrays = [archive.numbers(f"parameters/{name}") for name in wanted]
    if [numbers.shape for numbers in arrays] != list(wanted.values()):
        raise Invalid("the parameters have not the shapes of the network")
    rows = zip(*(numbers.entries for numbers in arrays), strict=True)
    return [(Fraction(w), Fraction(b), Fraction(v)) for w, b, v in rows]


class _Network:
    """The network f in rational numbers."""

    def __init__(self, neurons: list[Neuron]) -> None:
        self.neurons = neurons
        self.knots = [None if w == 0 else -b / w for w, b, _ in neurons]

    def intervals(self, low: Fraction, high: Fraction) -> list[Interval]:
        """The intervals of low ≤ |f| ≤ high; neighbouring pieces of one interval are joined."""
        found: list[Interval] = []
        for (start, stop), (slope, intercept) in self._pieces():
            parts: list[Interval] = []
            for sign in (1, -1):
                left, right = start, stop
                if slope == 0:
                    if not low <= sign * intercept <= high:
                        continue
                else:
                    first, second = sorted((sign * bound - intercept) / slope for bound in (low, high))
                    left = first if left is None or first > left else left
                    right = second if right is None or second < right else right
                    if left > right:
                        continue
                parts.append((sign, left, right))
            if len(parts) == 2 and slope > 0:
                parts.reverse()  # from the left to the right: f is negative first
            for sign, left, right in parts:
                if found and found[-1][0] == sign and found[-1][2] is not None and found[-1][2] == left:
                    found[-1] = (sign, found[-1][1], right)
                else:
                    found.append((sign, left, right))
        return found

    def _pieces(self) -> Any:
        changes: dict[Fraction, list[Fraction]] = {}
        slope = intercept = Fraction(0)
        for (w, b, v), knot in zip(self.neurons, self.knots, strict=True):
            if w < 0 or (w == 0 and b > 0):
                slope, intercept = slope + v * w, intercept + v * b
            if knot is not None:
                change = changes.setdefault(knot, [Fraction(0), Fraction(0)])
                facing = 1 if w > 0 else -1
                change[0] += facing * v * w
                change[1] += facing * v * b
        knots = sorted(changes)
        ends = [None, *knots, None]
        for place in range(len(knots) + 1):
            if place:
                slope, intercept = slope + changes[knots[place - 1]][0], intercept + changes[knots[place - 1]][1]
            yield (ends[place], ends[place + 1]), (slope, intercept)

    def total(self, low: Fraction, kink: Fraction, eta: Fraction) -> Fraction:
        """Λ: what all coefficients together are at most."""
        square = sum((w * w + b * b for w, b, _ in self.neurons), Fraction(0))
        reliable = low - kink * sum((abs(v * w) for w, _, v in self.neurons), Fraction(0))
        if reliable <= 0:
            raise Invalid("kink is too large for the margin")
        return (square + eta * _root_above(square)) / reliable


def _root_above(square: Fraction) -> Fraction:
    """A rational number that is at least the square root, by 2⁻¹²⁸ at most."""
    return Fraction(math.isqrt((square.numerator << (2 * _BITS)) // square.denominator) + 1, 1 << _BITS)


def _home(intervals: list[Interval], point: Fraction, coefficient: Fraction, rho: Fraction | None) -> int:
    for place, (sign, left, right) in enumerate(intervals):
        if (left is None or left <= point) and (right is None or point <= right):
            if coefficient * sign <= 0:
                raise Invalid("a coefficient has not the sign of the network at its point")
            if rho is not None and (left is None or right is None or max(point - left, right - point) > rho):
                raise Invalid("the interval of a point reaches further than rho")
            return place
    raise Invalid("the network has not the stated margin at a point")


def _check_explained(
    network: _Network, atoms: list[tuple[Fraction, Fraction]], slopes: Any, kink: Fraction, residual: Fraction
) -> None:
    if not isinstance(slopes, list):
        raise Invalid("the slopes are not a list")
    stated: dict[tuple[int, int], Fraction] = {}
    for entry in slopes:
        if not isinstance(entry, list) or len(entry) != 3:
            raise Invalid("a slope is not a neuron, a point and a number")
        k, j = documents.natural(entry[0], "neuron"), documents.natural(entry[1], "point")
        if k >= len(network.neurons) or j >= len(atoms) or (k, j) in stated:
            raise Invalid("a slope is of no neuron or point, or stated twice")
        knot, stated[k, j] = network.knots[k], documents.rational(entry[2], "slope")
        if knot is None or abs(atoms[j][0] - knot) > kink or not 0 <= stated[k, j] <= 1:
            raise Invalid("a slope is stated away from the knot, or is not from 0 to 1")
    misfit = Fraction(0)
    for k, (w, b, v) in enumerate(network.neurons):
        first = zeroth = Fraction(0)
        for j, (x, c) in enumerate(atoms):
            part = c * v * stated.get((k, j), Fraction(int(w * x + b > 0)))
            first, zeroth = first + part * x, zeroth + part
        misfit += (first - w) ** 2 + (zeroth - b) ** 2
    if misfit > residual**2:
        raise Invalid("the stated measure does not explain the first layer within the stated residual")


class _Pairing:
    """ψ, as prefix sums over the knots of the neurons that face one way."""

    def __init__(self, network: _Network, value: Any, kink: Fraction) -> None:
        if not isinstance(value, list) or not value:
            raise Invalid("the multipliers of a point are not a list")
        self.kink = kink
        self.paired = self.square = Fraction(0)
        self.constant = [Fraction(0), Fraction(0)]
        facing: dict[int, list[tuple[Fraction, Fraction, Fraction]]] = {1: [], -1: []}
        seen = set()
        for entry in value:
            if not isinstance(entry, list) or len(entry) != 3:
                raise Invalid("a multiplier is not a neuron and two numbers")
            k = documents.natural(entry[0], "neuron")
            if k >= len(network.neurons) or k in seen:
                raise Invalid("a multiplier is of no neuron, or stated twice")
            seen.add(k)
            p, q = documents.rationals(entry[1:], "multiplier", 2)
            w, b, v = network.neurons[k]
            self.paired += p * w + q * b
            self.square += p * p + q * q
            knot = network.knots[k]
            if knot is not None:
                facing[1 if w > 0 else -1].append((knot, v * p, v * q))
            elif b > 0:
                self.constant = [self.constant[0] + v * p, self.constant[1] + v * q]
        self.facing = {side: sorted(parts) for side, parts in facing.items()}
        self.knots = {side: [part[0] for part in parts] for side, parts in self.facing.items()}
        self.cuts = sorted(knot + shift for knots in self.knots.values() for knot in knots for shift in (-kink, kink))
        self.sums = {
            side: [list(accumulate((part[axis] for part in parts), initial=Fraction(0))) for axis in (1, 2)]
            for side, parts in self.facing.items()
        }

    def proves(self, lower: Fraction, home: int, intervals: list[Interval], total: Fraction, eta: Fraction) -> bool:
        """Whether the interval holds at least `lower`."""
        inside, outside = Fraction(0), Fraction(0)
        for place, interval in enumerate(intervals):
            bound = self._largest(interval)
            if place == home:
                inside = bound
            else:
                outside = max(outside, bound)
        left = self.paired - outside * total - lower * inside
        return inside > 0 and left >= 0 and left**2 >= eta**2 * self.square

    def _largest(self, interval: Interval) -> Fraction:
        """An upper bound of sign·ψ on an interval, whatever the slopes near knots."""
        sign, start, stop = interval
        first = 0 if start is None else bisect_left(self.cuts, start)
        behind = len(self.cuts) if stop is None else bisect_right(self.cuts, stop)
        cuts = self.cuts[first:behind]
        ends = [start, *cuts, stop]
        return max(self._on_segment(sign, left, right) for left, right in pairwise(ends))

    def _on_segment(self, sign: int, left: Fraction | None, right: Fraction | None) -> Fraction:
        """The same where no neuron changes between active, inactive and undetermined: convex, so largest at an end."""
        if left is not None and right is not None:
            middle = (left + right) / 2
        elif left is not None:
            middle = left + 1
        else:
            middle = right - 1 if right is not None else Fraction(0)
        slope, intercept = self.constant
        open_parts: list[tuple[Fraction, Fraction, Fraction]] = []
        for side, knots in self.knots.items():
            first = bisect_left(knots, middle - self.kink)
            behind = bisect_right(knots, middle + self.kink)
            begin, end = (0, first) if side > 0 else (behind, len(knots))
            slope += self.sums[side][0][end] - self.sums[side][0][begin]
            intercept += self.sums[side][1][end] - self.sums[side][1][begin]
            open_parts += self.facing[side][first:behind]
        values = []
        for end_point, direction in ((left, -1), (right, 1)):
            if end_point is None:
                # no knot is near infinity, so nothing is undetermined there
                if sign * slope * direction > 0:
                    raise Invalid("the multipliers are not bounded on an interval that is not")
                continue
            value = sign * (slope * end_point + intercept)
            values.append(value + sum(max(Fraction(0), sign * (p * end_point + q)) for _, p, q in open_parts))
        return max(values) if values else sign * intercept
