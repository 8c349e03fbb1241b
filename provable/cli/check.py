"""`provable check`: re-check a certificate with code that shares nothing with the solvers."""

from __future__ import annotations

import dataclasses
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from provable.cli.output import JsonOption, emit
from provable.errors import InputError

if TYPE_CHECKING:
    from provable.recovery import Recovery

OF_OBSERVATIONS = ("isolated-recovery", "layerwise-recovery", "null-space-fibre", "univariate-support")
"""Claims about what was recovered from an observation."""


def check(
    file: Annotated[
        str, typer.Argument(help="A certificate or audit (.json) or a recovery (.npz); - for standard input.")
    ],
    observation: Annotated[
        Path | None, typer.Option("--observation", help="The observation (.npz) that the certificate is about.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Re-check a certificate with the independent checker.

    Parameters
    ----------
    file : str
        The certificate, or a recovery or an audit that contains some.
    observation : Path, optional
        The observation's file, for claims about one.
    as_json : bool
        Print JSON instead of a line.

    Raises
    ------
    InputError
        If a file cannot be read or holds no certificate.
    Exit
        With status 1 if the certificate is not valid.
    """
    from provable import checker
    from provable.files import read_limited
    from provable.observations import LIMIT_BYTES
    from provable.recovery.rechecking import about_its_recovery

    if file == "-" and observation is not None and str(observation) == "-":
        raise InputError("-: is given twice; one file can come from standard input")
    content = read_limited(file, limit_bytes=LIMIT_BYTES)
    evidence = None if observation is None else read_limited(observation, limit_bytes=LIMIT_BYTES)
    recovery = _recovery(content, file)
    text = _text(content, recovery, file)
    if recovery is None and (audit := _audit(text)) is not None:
        _check_audit(audit, file, as_json)
        return
    result = checker.check(text, observation=evidence)
    if not result.valid and not result.claim:
        raise InputError(f"{file}: certificate: {result.reason}")
    if result.claim in OF_OBSERVATIONS and evidence is None:
        raise InputError(f"{file}: certificate: is about an observation; --observation OBSERVATION.npz is needed")
    if recovery is not None:
        result = about_its_recovery(result, recovery, file)

    def show(console: Console) -> None:
        verdict = "[bold green]valid[/]" if result.valid else "[bold red]not valid[/]"
        console.print(f"{verdict}  {result.claim}", highlight=False)
        proved = result.valid and result.claim in OF_OBSERVATIONS
        console.print(in_numbers(text) if proved else result.reason, highlight=False, markup=False)

    emit(result.to_json(), as_json=as_json, output=None, show=show)
    if not result.valid:
        raise typer.Exit(1)


def _audit(text: str) -> dict[str, Any] | None:
    from provable.leakage.rechecking import is_audit

    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if is_audit(document) else None


def _check_audit(document: dict[str, Any], name: str, as_json: bool) -> None:
    from provable.leakage.rechecking import recheck

    try:
        bounds = recheck(document)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    valid = all(bound.valid for bound in bounds)

    def show(console: Console) -> None:
        for bound in bounds:
            verdict = "[bold green]valid[/]    " if bound.valid else "[bold red]not valid[/]"
            sign = "≥" if bound.side == "lower" else "≤"
            console.print(f"{verdict}  layer {bound.path}: rank {sign} {bound.value}", highlight=False)
            if not bound.valid:
                console.print(f"           {bound.reason}", highlight=False, markup=False, soft_wrap=True)

    result = {"valid": valid, "bounds": [dataclasses.asdict(bound) for bound in bounds]}
    emit(json.dumps(result, indent=2), as_json=as_json, output=None, show=show)
    if not valid:
        raise typer.Exit(1)


def in_numbers(certificate: str) -> str:
    """Say in numbers what a valid certificate of a recovery proves.

    Parameters
    ----------
    certificate : str
        JSON text of a `provable-certificate/1` with one of the claims `OF_OBSERVATIONS`.

    Returns
    -------
    str
        One sentence; its numbers are rounded to the side on which it stays true.
    """
    document = json.loads(certificate)
    data = document["data"]
    if document["claim"] == "null-space-fibre":
        return (
            f"every point of a space of dimension {data['dimension']} through this one explains it up to "
            f"{_rounded(Fraction(data['residual']), up=True)}; that nothing else does is not proved"
        )
    if document["claim"] == "layerwise-recovery":
        branch = data.get("branch", "any")
        which = "" if branch == "any" else f" with margin {'below' if branch == 'low' else 'above'} 1.278"
        label = f" with label {data['label']}" if "label" in data else ""
        what = (
            f"every input{label}{which} that explains the observation up to {_rounded(Fraction(data['eta']), up=False)}"
        )
        free = data["free_inputs"]
        but = f", but for {free} inputs on which nothing depends" if free else ""
        return f"{what}, wherever it lies, is within {_rounded(Fraction(data['rho']), up=True)} of this one{but}"
    if document["claim"] == "univariate-support":
        low, high = (float(Fraction(bound)) for bound in data["margin"])
        eta, rho, outside = (Fraction(data[key]) for key in ("eta", "rho", "outside"))
        return (
            f"whatever samples with margin {(low + high) / 2:.9g} explain the network up to {_rounded(eta, up=False)}, some "
            f"lie within {_rounded(rho, up=True)} of each of the {len(data['points'])} points; all others weigh "
            f"{_rounded(outside, up=True)} together at most"
        )
    radius, eta, rho = (Fraction(data[key]) for key in ("radius", "eta", "rho"))
    # modulo positive scaling only points x with x·x̂ = ‖x̂‖² are spoken of
    scaled = " (each point scaled to the component that it has here)" if data.get("modulo") else ""
    return (
        f"whatever{scaled} lies within {_rounded(radius, up=False)} of these points and coefficients and explains the "
        f"observation up to {_rounded(eta, up=False)} lies within {_rounded(rho, up=True)} of them"
    )


def _rounded(number: Fraction, *, up: bool) -> str:
    """Give two digits of a rational number, rounded upwards or downwards."""
    if number <= 0:
        return "0"
    exponent = len(str(number.numerator)) - len(str(number.denominator))
    while Fraction(10) ** exponent > number:
        exponent -= 1
    while Fraction(10) ** (exponent + 1) <= number:
        exponent += 1
    scaled = number / Fraction(10) ** (exponent - 1)
    digits = math.ceil(scaled) if up else math.floor(scaled)
    if digits == 100:
        digits, exponent = 10, exponent + 1
    return f"{digits // 10}.{digits % 10}e{exponent:+03d}"


def _recovery(content: bytes, name: str) -> Recovery | None:
    if content[:2] != b"PK":
        return None
    from provable.recovery import Recovery

    return Recovery.from_bytes(content, name)


def _text(content: bytes, recovery: Recovery | None, name: str) -> str:
    if recovery is None:
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{name}: is neither JSON text in UTF-8 nor a recovery (.npz)") from error
    if recovery.certificate is None:
        raise InputError(f"{name}: certificate: is missing; the status of this recovery is {recovery.status}")
    return recovery.certificate
