"""The entry point of the checker: any certificate in, a verdict out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from provable.checker import (
    counterexample,
    definiteness,
    documents,
    global_fibre,
    isolated_recovery,
    layer_ranks,
    layerwise_recovery,
    max_margin,
    null_space_fibre,
    uniqueness,
    univariate_support,
)
from provable.checker.verdict import CheckResult, Invalid

_CHECKS: dict[str, Callable[[dict[str, Any], str], str]] = {
    "generic-rank-lower-bound": layer_ranks.check_lower,
    "generic-rank-upper-bound": layer_ranks.check_upper,
    "global-fibre": global_fibre.check,
    "kernel-positive-definite": definiteness.check_kernel,
    "cp-uniqueness": uniqueness.check,
    "max-margin-optimality": max_margin.check,
    "counterexample": counterexample.check,
}

_OF_OBSERVATIONS = {
    "isolated-recovery": isolated_recovery.check,
    "layerwise-recovery": layerwise_recovery.check,
    "null-space-fibre": null_space_fibre.check,
    "univariate-support": univariate_support.check,
}

CLAIMS = (*_OF_OBSERVATIONS, *_CHECKS)
"""The claim types that are known."""

_OF_ARCHITECTURES = frozenset({"generic-rank-lower-bound", "generic-rank-upper-bound", "global-fibre"})


def check(
    certificate: str | bytes | dict[str, Any], *, observation: bytes | None = None, architecture: str | None = None
) -> CheckResult:
    """Prove the claim of a certificate again.

    Parameters
    ----------
    certificate : str, bytes or dict
        A document of `provable-certificate/1`, as text or parsed.
    observation : bytes, optional
        The bytes of the observation file; claims about what was recovered need them.
    architecture : str, optional
        Canonical JSON of an architecture; a claim about another one is then not accepted.

    Returns
    -------
    CheckResult
        Never an exception: whatever is wrong with the certificate is the reason of an invalid verdict.
    """
    claim = ""
    try:
        document = certificate if isinstance(certificate, dict) else documents.parse(certificate, "certificate")
        stated, data, subject = documents.outer(document)
        claim = stated if stated in CLAIMS else ""
        return CheckResult(True, claim, _prove(stated, data, subject, observation, architecture))
    except Invalid as error:
        return CheckResult(False, claim, str(error))
    except Exception as error:  # a certificate comes from anybody, and a checker that breaks down has not proved it
        return CheckResult(False, claim, f"the check broke down with {type(error).__name__}: {ascii(str(error))[:200]}")


def _prove(claim: str, data: dict[str, Any], subject: str, observation: bytes | None, architecture: str | None) -> str:
    if claim in _OF_OBSERVATIONS:
        return _OF_OBSERVATIONS[claim](data, subject, observation)
    if claim not in _CHECKS:
        raise Invalid("the claim is of no known type")
    expected = None if architecture is None else hashlib.sha256(architecture.encode()).hexdigest()
    if claim in _OF_ARCHITECTURES and expected not in (None, subject):
        raise Invalid("the certificate is about another architecture")
    return _CHECKS[claim](data, subject)
