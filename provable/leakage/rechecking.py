"""Checking the certificates of an audit's file again, with the independent checker."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from provable import checker
from provable.errors import InputError
from provable.leakage.result import FORMAT

_SIDES = {"lower": ("generic-rank-lower-bound", "rank"), "upper": ("generic-rank-upper-bound", "bound")}
"""For each bound of a rank: the claim of its certificate, and the key of the number in it."""


@dataclasses.dataclass(frozen=True)
class RecheckedBound:
    """What the checker says of one bound of an audit.

    Parameters
    ----------
    path : str
        The layer.
    side : {"lower", "upper"}
        Which bound of its rank.
    value : int
        The bound.
    valid : bool
        Whether the certificate proves this bound for this layer of the audit's architecture.
    reason : str
        What was proved, or why it was not.
    """

    path: str
    side: str
    value: int
    valid: bool
    reason: str


def is_audit(document: Any) -> bool:
    """Tell whether a JSON document is an audit.

    Parameters
    ----------
    document : object
        Parsed JSON.

    Returns
    -------
    bool
        Whether it calls itself ``provable-audit/1``.
    """
    return isinstance(document, Mapping) and document.get("format") == FORMAT


def recheck(document: Mapping[str, Any]) -> tuple[RecheckedBound, ...]:
    """Check every certificate of an audit again.

    Parameters
    ----------
    document : mapping
        The parsed JSON of an audit.

    Returns
    -------
    tuple of RecheckedBound
        One for each certificate, in the order of the layers.

    Raises
    ------
    InputError
        If the document is no whole audit, or holds no certificate.
    """
    try:
        bounds = list(_certified_bounds(document))
        subject = json.dumps(document["architecture"], separators=(",", ":"), allow_nan=False)
    except (KeyError, TypeError, AttributeError, ValueError):
        raise InputError("layers: are not those of an audit; what `provable audit` wrote is accepted") from None
    if not bounds:
        raise InputError("layers: hold no certificate; an audit of convolutions has some")
    return tuple(_checked(path, side, value, certificate, subject) for path, side, value, certificate in bounds)


def _certified_bounds(document: Mapping[str, Any]) -> Iterator[tuple[str, str, int, Mapping[str, Any]]]:
    for layer in document["layers"]:
        for side in _SIDES:
            certificate = (layer["certificate"] or {}).get(side)
            if certificate is not None:
                yield str(layer["path"]), side, layer["rank"][side], certificate


def _checked(path: str, side: str, value: int, certificate: Mapping[str, Any], subject: str) -> RecheckedBound:
    result = checker.check(json.dumps(certificate), architecture=subject)
    if not result.valid:
        return RecheckedBound(path, side, value, False, result.reason)
    claim, key = _SIDES[side]
    data = certificate["data"]
    if (result.claim, data.get("layer"), data.get(key)) != (claim, path, value):
        reason = f"the certificate proves something else: {result.reason}"
        return RecheckedBound(path, side, value, False, reason)
    return RecheckedBound(path, side, value, True, result.reason)
