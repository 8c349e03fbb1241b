"""Re-checking what is at hand in Python: certificates and recoveries as objects, observations as objects or files."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from provable import checker
from provable.checker import CheckResult
from provable.errors import InputError
from provable.files import read_limited
from provable.observations import LIMIT_BYTES, Observation
from provable.recovery.result import Recovery
from provable.rigor.certificates import Certificate

_ABOUT_POINTS = ("isolated-recovery", "layerwise-recovery", "null-space-fibre", "univariate-support")


def check(
    certificate: str | bytes | dict[str, Any] | Path | Certificate | Recovery,
    *,
    observation: Observation | bytes | str | Path | None = None,
) -> CheckResult:
    """Prove the claim of a certificate again, with the independent checker.

    Parameters
    ----------
    certificate : str, bytes, dict, Path, Certificate or Recovery
        The JSON text of a certificate, parsed or not, the path of its file, or an object that holds it. A recovery's
        certificate has to be about that recovery's own points and coefficients.
    observation : Observation, bytes, str or Path, optional
        What the certificate is about: the observation, the bytes of its file or its path.

    Returns
    -------
    CheckResult
        Whether the claim was proved, the claim, and one sentence.

    Raises
    ------
    InputError
        If a recovery holds no certificate or a file cannot be read.
    """
    evidence = _bytes_of(observation)
    if isinstance(certificate, Recovery):
        if certificate.certificate is None:
            raise InputError(f"the recovery holds no certificate; its status is {certificate.status}")
        result = checker.check(certificate.certificate, observation=evidence)
        return about_its_recovery(result, certificate, "the recovery")
    if isinstance(certificate, Certificate):
        return checker.check(certificate.to_json(), observation=evidence)
    if isinstance(certificate, Path):
        return checker.check(read_limited(certificate, limit_bytes=LIMIT_BYTES), observation=evidence)
    return checker.check(certificate, observation=evidence)


def about_its_recovery(result: CheckResult, recovery: Recovery, name: str) -> CheckResult:
    """Turn a verdict down if the certificate speaks of other numbers than the recovery that holds it.

    Parameters
    ----------
    result : CheckResult
        The checker's verdict on the recovery's certificate.
    recovery : Recovery
        The recovery; its numbers are compared as the rationals that they are.
    name : str
        What the reason calls the recovery.

    Returns
    -------
    CheckResult
        The same verdict, or an invalid one.
    """
    document = json.loads(recovery.certificate or "{}") if result.valid else {}
    same = result.claim in _ABOUT_POINTS and all(
        [[Fraction(entry) for entry in row] for row in document["data"][key]]
        == [[Fraction(entry) for entry in row] for row in array.reshape(len(array), -1).tolist()]
        for key, array in (("points", recovery.points), ("coefficients", recovery.coefficients))
        if document
    )
    if same or not result.valid:
        return result
    reason = f"the certificate is a proof, but about other points or coefficients than those of {name}"
    return dataclasses.replace(result, valid=False, reason=reason)


def _bytes_of(observation: Observation | bytes | str | Path | None) -> bytes | None:
    if isinstance(observation, Observation):
        return observation.to_bytes()
    if isinstance(observation, str | Path):
        return read_limited(observation, limit_bytes=LIMIT_BYTES)
    return observation
