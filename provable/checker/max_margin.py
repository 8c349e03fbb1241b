r"""The claim ``max-margin-optimality``: no two-layer ReLU network with margins of at least 1 has a much smaller norm.

With x̃ = (x, 1), or x without bias, let f(x) = Σ_k v_k relu(w_k·x̃) be any such network with y_i f(x_i) ≥ 1, and let λ ≥ 0 be
such that |h(w)| ≤ M ‖w‖ for h(w) = Σ_i λ_i y_i relu(w·x̃_i) and all w. Then

    M ½‖θ‖² ≥ M Σ_k |v_k| ‖w_k‖ ≥ Σ_k v_k h(w_k) = Σ_i λ_i y_i f(x_i) ≥ Σ_i λ_i,

so ½‖θ‖² ≥ Σ λ_i / M. The bound of h is proved on cones: with e_i = ±λ_i y_i and any numbers t_i, q = Σ t_i x̃_i,

    ±h(w) = q·w + Σ_i (e_i relu(w·x̃_i) - t_i w·x̃_i) ≤ (‖q‖ + Σ_i κ_i) ‖w‖

where a sample contributes at most 0 if it is active (w·x̃_i ≥ 0) and t_i ≥ e_i, or inactive (≤ 0) and t_i ≤ 0; and otherwise
at most κ_i ‖w‖ with κ_i = ‖x̃_i‖ max(e_i - t_i, t_i, 0): e - t on the side where it is active, t on the other one.

The cones are the leaves of a tree; each branch divides a cone by the sign of one pre-activation, so the leaves cover
everything. A cone may be left out if Σ ν_i (±x̃_i) = 0 for some ν ≥ 0, not all zero, over decided samples with their signs:
its interior is empty then, the closed cones with interior cover a dense set, and h is continuous. That holds for x̃_i ≠ 0
only: of a sample with x̃_i = 0 both sides are everything, and a dependency of it alone would leave out all neurons. Margins of
at least 1 exclude such a sample, on which every network is 0; it is refused before anything else is looked at.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import ceil, isqrt
from typing import Any

from provable.checker import documents
from provable.checker.verdict import Invalid

_BITS = 128
"""Binary digits behind the point of the norms of samples that are not decided."""

_MOST_NODES = 2_000_000

Row = list[Fraction]


def check(data: dict[str, Any], subject: str) -> str:
    """Check a ``max-margin-optimality`` claim.

    Parameters
    ----------
    data : dict
        ``points``, ``labels``, ``bias``; ``hidden`` and ``outer``, the network; ``multipliers``, ``height``, ``trees``;
        ``gap``.
    subject : str
        SHA-256 of the canonical JSON of the data.

    Returns
    -------
    str
        What was proved.

    Raises
    ------
    Invalid
        If the claim is not proved.
    """
    documents.keys(data, {"points", "labels", "bias", "hidden", "outer", "multipliers", "height", "trees", "gap"})
    if hashlib.sha256(documents.canonical(data)).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the data")
    points = documents.rational_rows(data["points"], "points")
    if type(data["bias"]) is not bool:
        raise Invalid("bias is neither true nor false")
    rows = [[*point, Fraction(1)] if data["bias"] else point for point in points]
    if not all(any(row) for row in rows):
        raise Invalid("a sample is zero, without a bias")
    labels = data["labels"]
    if (
        not isinstance(labels, list)
        or len(labels) != len(rows)
        or not all(type(y) is int and abs(y) == 1 for y in labels)
    ):
        raise Invalid("the labels are not one 1 or -1 for each point")
    hidden = documents.rational_rows(data["hidden"], "hidden")
    outer = documents.rationals(data["outer"], "outer", len(hidden))
    if len(hidden[0]) != len(rows[0]):
        raise Invalid("the hidden weights do not have the dimension of the points, with the bias if there is one")
    _require_margins(rows, labels, hidden, outer)
    multipliers = documents.rationals(data["multipliers"], "multipliers", len(rows))
    height, gap = documents.rational(data["height"], "height"), documents.rational(data["gap"], "gap")
    if min(multipliers) < 0 or height <= 0:
        raise Invalid("a multiplier is negative, or the height is not positive")
    if not isinstance(data["trees"], dict) or set(data["trees"]) != {"positive", "negative"}:
        raise Invalid("the trees are not one for positive and one for negative output weights")
    cones = 0
    for name, sign in (("positive", 1), ("negative", -1)):
        excess = [sign * y * value for y, value in zip(labels, multipliers, strict=True)]
        cones += _require_bound(data["trees"][name], rows, excess, height)
    objective = (sum((_squared(w) for w in hidden), Fraction(0)) + _squared(outer)) / 2
    if objective - sum(multipliers, Fraction(0)) / height > gap:
        raise Invalid("the network's objective exceeds the proved lower bound by more than the stated gap")
    kind = f"two-layer ReLU network of any width {'with' if data['bias'] else 'without'} first-layer bias"
    return (
        f"the network has margins of at least 1 on the {len(rows)} samples, and half its squared norm is within "
        f"{_shown(gap)} of the smallest that a {kind} has with such margins, by {cones} cones of neurons"
    )


def _shown(gap: Fraction) -> str:
    """A decimal of three digits that is at least the gap, of any size."""
    if not gap:
        return "0"
    power = len(str(gap.numerator)) - len(str(gap.denominator)) - 3
    digits = ceil(gap / Fraction(10) ** power)
    return f"{digits}e{power}"


def _dot(left: Row, right: Row) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))


def _squared(row: Row) -> Fraction:
    return _dot(row, row)


def _norm_above(row: Row) -> Fraction:
    square = _squared(row)
    return Fraction(isqrt((square.numerator << (2 * _BITS)) // square.denominator) + 1, 1 << _BITS)


def _require_margins(rows: list[Row], labels: list[int], hidden: list[Row], outer: Row) -> None:
    for index, (row, label) in enumerate(zip(rows, labels, strict=True)):
        value = Fraction(0)
        for w, v in zip(hidden, outer, strict=True):
            activation = _dot(w, row)
            if activation > 0:
                value += v * activation
        if label * value < 1:
            raise Invalid(f"the margin of sample {index} is below 1")


def _require_bound(tree: Any, rows: list[Row], excess: Row, height: Fraction) -> int:
    """Prove Σ e_i relu(w·x̃_i) ≤ M ‖w‖ for all w; return the number of cones."""
    norms = [_norm_above(row) for row in rows]
    stack: list[tuple[Any, dict[int, int]]] = [(tree, {})]
    cones = nodes = 0
    while stack:
        node, decided = stack.pop()
        nodes += 1
        if nodes > _MOST_NODES:
            raise Invalid(f"a tree has more than {_MOST_NODES} nodes")
        if not isinstance(node, dict):
            raise Invalid("a node of a tree is not an object")
        if "sample" in node:
            documents.keys(node, {"sample", "active", "inactive"})
            sample = documents.natural(node["sample"], "sample")
            if sample >= len(rows) or sample in decided:
                raise Invalid("a branch is about no sample, or about one that is decided")
            stack += [(node["active"], {**decided, sample: 1}), (node["inactive"], {**decided, sample: -1})]
            continue
        cones += 1
        if "dependency" in node:
            documents.keys(node, {"dependency"})
            _require_empty(_numbers(node["dependency"], len(rows)), decided, rows)
        else:
            documents.keys(node, {"coefficients"})
            _require_cone(_numbers(node["coefficients"], len(rows)), decided, rows, norms, excess, height)
    return cones


def _numbers(value: Any, count: int) -> dict[int, Fraction]:
    if not isinstance(value, dict):
        raise Invalid("the numbers of a cone are not an object")
    names = {str(index): index for index in range(count)}
    if not set(value) <= set(names):
        raise Invalid("a number of a cone belongs to no sample")
    return {names[name]: documents.rational(text, "a number of a cone") for name, text in value.items()}


def _require_empty(shares: dict[int, Fraction], decided: dict[int, int], rows: list[Row]) -> None:
    # rows are not zero, as `check` has made sure: otherwise nothing would follow
    if not shares or min(shares.values()) <= 0 or not set(shares) <= set(decided):
        raise Invalid("a dependency has no positive numbers, or numbers of samples that are not decided")
    for j in range(len(rows[0])):
        if sum((share * decided[i] * rows[i][j] for i, share in shares.items()), Fraction(0)):
            raise Invalid("a dependency of signed samples does not add up to zero")


def _require_cone(
    coefficients: dict[int, Fraction],
    decided: dict[int, int],
    rows: list[Row],
    norms: Row,
    excess: Row,
    height: Fraction,
) -> None:
    direction, slack = [Fraction(0)] * len(rows[0]), Fraction(0)
    for i, e in enumerate(excess):
        sign = decided.get(i, 0)
        t = coefficients.get(i, e if sign == 1 else Fraction(0))
        if not ((sign == 1 and t >= e) or (sign == -1 and t <= 0)):
            slack += norms[i] * max(e - t, t, Fraction(0))
        if t:
            direction = [total + t * entry for total, entry in zip(direction, rows[i], strict=True)]
    if slack > height or _squared(direction) > (height - slack) ** 2:
        raise Invalid("on a cone of neurons the dual constraint is not proved")
