"""Certificates ``max-margin-optimality``: no two-layer ReLU network has the margins with a smaller norm, but for a gap."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from provable.max_margin.dual_tree import Empty
from provable.max_margin.optimality import ExactTree, Split
from provable.max_margin.result import MaxMarginNetwork
from provable.rigor.certificates import Certificate, Refusal, data_sha256, library_versions
from provable.rigor.rational_texts import encode_rational

_GAP_BITS = 20
"""Binary digits of the gap, which is rounded up."""


def certify_optimality(network: MaxMarginNetwork) -> Certificate | Refusal:
    """Write what proves that a network has the largest margin.

    Parameters
    ----------
    network : MaxMarginNetwork
        From `maximise_margin`.

    Returns
    -------
    Certificate or Refusal
        Of claim ``max-margin-optimality``, about the exactly feasible network in ``network.bracket``, which is the one in
        ``network.parameters`` times a number very close to 1. The gap is `network.gap`, rounded up to about six digits.
        Refused if there is no feasible network or no lower bound, which means that the solution failed.
    """
    enclosure, gap = network.bracket, network.gap
    if gap is None or not enclosure.height:
        return Refusal("the network found has a margin that is not positive, or multipliers that are all zero")
    data: dict[str, Any] = {
        "points": [_texts(Fraction(entry) for entry in point) for point in network.points.tolist()],
        "labels": [int(label) for label in network.labels],
        "bias": "0/bias" in network.parameters,
        "hidden": [_texts(row) for row in enclosure.hidden],
        "outer": _texts(enclosure.outer),
        "multipliers": _texts(enclosure.multipliers),
        "height": encode_rational(enclosure.height),
        "gap": encode_rational(_rounded_up(gap)),
        "trees": {name: _node(tree) for name, tree in zip(("positive", "negative"), enclosure.trees, strict=True)},
    }
    return Certificate("max-margin-optimality", data, data_sha256(data), library_versions())


def _texts(numbers: Iterable[Fraction]) -> list[str]:
    return [encode_rational(number) for number in numbers]


def _node(tree: ExactTree) -> dict[str, Any]:
    if isinstance(tree, Split):
        return {"sample": tree.sample, "active": _node(tree.active), "inactive": _node(tree.inactive)}
    if isinstance(tree, Empty):
        return {"dependency": {str(i): encode_rational(share) for i, share in tree.shares.items()}}
    return {"coefficients": {str(i): encode_rational(number) for i, number in tree.coefficients.items()}}


def _rounded_up(gap: Fraction) -> Fraction:
    """At least the gap, with few digits."""
    if gap <= 0:
        return Fraction(0)
    digits = _GAP_BITS + gap.denominator.bit_length() - gap.numerator.bit_length()
    scale = Fraction(2) ** digits
    return math.ceil(gap * scale) / scale
