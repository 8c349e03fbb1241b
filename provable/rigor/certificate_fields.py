"""The closed list of claims and the form of each claim's data; what the claims mean stands in `certificates`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from provable.errors import CertificateError
from provable.rigor.rational_texts import decode_ball, decode_rational
from provable.symmetries import scaling_degree

Field = Callable[[Any, str], object]
"""Checks a value, given its name; raises `CertificateError`."""


def _refuse(field: str, value: Any, accepted: str) -> CertificateError:
    text = " ".join(repr(value)[:200].split())
    return CertificateError(
        f"{field}: {text if len(text) <= 60 else text[:57] + '...'} was found; {accepted} is accepted"
    )


def _natural(value: Any, field: str) -> None:
    if type(value) is not int or value < 0:
        raise _refuse(field, value, "an integer from 0 on")


def _positive_integer(value: Any, field: str) -> None:
    if type(value) is not int or value < 1:
        raise _refuse(field, value, "a positive integer")


def _text(value: Any, field: str) -> None:
    if not isinstance(value, str) or not value:
        raise _refuse(field, value, "a text")


def _text_or_null(value: Any, field: str) -> None:
    if value is not None and not isinstance(value, str):
        raise _refuse(field, value, "a text or null")


def _one_of(*words: str) -> Field:
    def check(value: Any, field: str) -> None:
        if not isinstance(value, str) or value not in words:
            raise _refuse(field, value, " or ".join(words))

    return check


def _scaling(value: Any, field: str) -> None:
    if not isinstance(value, str) or scaling_degree(value) is None:
        raise _refuse(field, value, "positive-scaling or positive-scaling:p with an integer p of at least 2")


def _positive(value: Any, field: str) -> None:
    if decode_rational(value, field) <= 0:
        raise _refuse(field, value, "a positive rational number")


def _nonnegative(value: Any, field: str) -> None:
    if decode_rational(value, field) < 0:
        raise _refuse(field, value, "a rational number of at least 0")


def _list(item: Field) -> Field:
    def check(value: Any, field: str) -> None:
        if not isinstance(value, list) or not value:
            raise _refuse(field, value, "a list with at least one entry")
        for index, entry in enumerate(value):
            item(entry, f"{field}[{index}]")

    return check


def _matrix(item: Field) -> Field:
    rows = _list(_list(item))

    def check(value: Any, field: str) -> None:
        rows(value, field)
        if len({len(row) for row in value}) > 1:
            raise CertificateError(f"{field}: rows of different lengths were found; rows of one length are accepted")

    return check


def _pair(item: Field) -> Field:
    def check(value: Any, field: str) -> None:
        if not isinstance(value, list) or len(value) != 2:
            raise _refuse(field, value, "a list of two integers")
        for index, entry in enumerate(value):
            item(entry, f"{field}[{index}]")

    return check


def _rows(value: Any, field: str) -> None:
    """Rows of integers and rational numbers, possibly none."""
    if not isinstance(value, list) or not all(isinstance(row, list) and row for row in value):
        raise _refuse(field, value, "a list of rows")
    for index, row in enumerate(value):
        for place, entry in enumerate(row):
            if isinstance(entry, str):
                decode_rational(entry, f"{field}[{index}][{place}]")
            else:
                _natural(entry, f"{field}[{index}][{place}]")


def _three(item: Field) -> Field:
    def check(value: Any, field: str) -> None:
        if not isinstance(value, list) or len(value) != 3:
            raise _refuse(field, value, "a list of three matrices")
        for index, entry in enumerate(value):
            item(entry, f"{field}[{index}]")

    return check


def _label(value: Any, field: str) -> None:
    if type(value) is not int or value not in (1, -1):
        raise _refuse(field, value, "1 or -1")


def _truth(value: Any, field: str) -> None:
    if type(value) is not bool:
        raise _refuse(field, value, "true or false")


def _layer_proof(value: Any, field: str) -> None:
    if not isinstance(value, Mapping):
        raise _refuse(field, value, "an object")
    strategy = value.get("strategy")
    if not isinstance(strategy, str) or strategy not in _STRATEGIES:
        raise _refuse(f"{field}.strategy", strategy, " or ".join(_STRATEGIES))
    fields: dict[str, Field] = {"layer": _natural, "strategy": _text, "error": _nonnegative, **_STRATEGIES[strategy]}
    if set(value) != set(fields):
        raise _refuse(field, sorted(map(str, value)), ", ".join(fields))
    for key, check in fields.items():
        check(value[key], f"{field}.{key}")


def _anything(value: Any, field: str) -> None:
    return None


def _object(value: Any, field: str) -> None:
    if not isinstance(value, Mapping):
        raise _refuse(field, value, "an object")


_LAYER: dict[str, Field] = {
    "architecture": _text,
    "layer": _text,
    "in_channels": _positive_integer,
    "height": _positive_integer,
    "width": _positive_integer,
    "out_channels": _positive_integer,
    "kernel": _pair(_positive_integer),
    "stride": _pair(_positive_integer),
    "padding": _pair(_natural),
    "prime": _positive_integer,
    "seed": _natural,
}

_STRATEGIES: dict[str, dict[str, Field]] = {
    "gradient": {"kappa": _positive},
    "forward": {"omega": _positive},
    "joint": {"omega": _positive, "tau": _positive},
    "gradient-then-forward": {"kappa": _positive, "omega": _positive, "complement": _matrix(decode_rational)},
}

_REQUIRED: dict[str, dict[str, Field]] = {
    "isolated-recovery": {
        "points": _matrix(decode_rational),
        "coefficients": _matrix(decode_rational),
        "pieces": _list(_text),
        "radius": _positive,
        "eta": _nonnegative,
        "sigma": _positive,
        "residual": _nonnegative,
        "rho": _nonnegative,
    },
    "layerwise-recovery": {
        "points": _matrix(decode_rational),
        "coefficients": _matrix(decode_rational),
        "pieces": _list(_text),
        "eta": _nonnegative,
        "residual": _nonnegative,
        "rho": _nonnegative,
        "coefficient_rho": _nonnegative,
        "determined_by": _one_of("bias", "logistic"),
        "free_inputs": _natural,
        "layers": _list(_layer_proof),
    },
    "null-space-fibre": {
        "points": _matrix(decode_rational),
        "coefficients": _matrix(decode_rational),
        "pieces": _list(_text),
        "residual": _nonnegative,
        "dimension": _positive_integer,
        "prime": _positive_integer,
        "seed": _natural,
    },
    "univariate-support": {
        "points": _matrix(decode_rational),
        "coefficients": _matrix(decode_rational),
        "others": _rows,
        "slopes": _rows,
        "margin": _list(_positive),
        "kink": _nonnegative,
        "eta": _nonnegative,
        "residual": _nonnegative,
        "rho": _nonnegative,
        "lower": _list(_positive),
        "coefficient_rho": _nonnegative,
        "outside": decode_rational,
        "multipliers": _list(_rows),
    },
    "generic-rank-lower-bound": {**_LAYER, "rank": _natural},
    "generic-rank-upper-bound": {
        **_LAYER,
        "bound": _natural,
        "covered": _natural,
        "rank_weight_bound": _natural,
        "rank_gradient_bound": _natural,
        "dependencies": _natural,
    },
    "global-fibre": {"architecture": _text, "layer": _text, "vector": _list(decode_rational)},
    "kernel-positive-definite": {"matrix": _matrix(decode_ball), "lower_bound": decode_rational},
    "cp-uniqueness": {"factors": _three(_matrix(decode_rational)), "condition": _one_of("kruskal", "jennrich")},
    "max-margin-optimality": {
        "points": _matrix(decode_rational),
        "labels": _list(_label),
        "bias": _truth,
        "hidden": _matrix(decode_rational),
        "outer": _list(decode_rational),
        "multipliers": _list(_nonnegative),
        "height": _positive,
        "gap": decode_rational,
        "trees": _object,
    },
    "counterexample": {"theorem": _text, "instance": _anything, "arithmetic": _text},
}

_OPTIONAL: dict[str, dict[str, Field]] = {
    "isolated-recovery": {
        "split": _one_of("row-space", "layer-inputs"),
        "modulo": _list(_scaling),
    },
    "layerwise-recovery": {
        "label": _label,
        "branch": _one_of("any", "low", "high"),
        "margins": _list(decode_rational),
    },
    "generic-rank-lower-bound": {"batch_size": _positive_integer, "witness": _object},
    "generic-rank-upper-bound": {"batch_size": _positive_integer, "witness": _object, "images": _natural},
    "global-fibre": {"weight": _list(decode_rational), "sensitivity": _list(decode_rational)},
    "counterexample": dict.fromkeys(("file", "twin", "text", "check", "relation", "left", "right"), _text_or_null),
}

CLAIMS: tuple[str, ...] = tuple(_REQUIRED)
"""The claim types of `provable-certificate/1`."""


def check_data(claim: str, data: Any) -> None:
    """Check keys and forms of a claim's data.

    Parameters
    ----------
    claim : str
        One of `CLAIMS`.
    data : object
        The value of the key ``data``.

    Raises
    ------
    CertificateError
        If a key is unknown or missing, or a value has another form than the claim prescribes.
    """
    if not isinstance(data, Mapping):
        raise _refuse("data", data, "an object")
    required, optional = _REQUIRED[claim], _OPTIONAL.get(claim, {})
    for key in data:
        if key not in required and key not in optional:
            accepted = ", ".join([*required, *optional])
            raise CertificateError(f"data: the unknown key {str(key)[:40]!r} was found; {accepted} are accepted")
    for key, field in required.items():
        if key not in data:
            raise CertificateError(f"data: the key {key} is missing; a {claim} certificate has it")
        field(data[key], f"data.{key}")
    for key, field in optional.items():
        if key in data:
            field(data[key], f"data.{key}")
