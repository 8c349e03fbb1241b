"""The claim ``counterexample``: an instance that violates a theorem's claim, evaluated again.

This is the one check that uses the rest of the package, because the statement that is refuted is defined there and
nowhere else: a theorem's hypotheses and claim are code in its own file. That module is imported when such a certificate is
checked, not before, and no other check depends on it.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

from provable.checker import documents
from provable.checker.verdict import Invalid

_REQUIRED = {"theorem", "instance", "arithmetic"}
_OPTIONAL = {"file", "twin", "text", "check", "relation", "left", "right"}


def check(data: dict[str, Any], subject: str) -> str:
    """Check a ``counterexample`` claim.

    Parameters
    ----------
    data : dict
        ``theorem``, ``instance``, ``arithmetic`` and what else the record of the counterexample holds.
    subject : str
        SHA-256 of the canonical JSON of the data.

    Returns
    -------
    str
        What was found.

    Raises
    ------
    Invalid
        If the instance does not violate the claim.
    """
    documents.keys(data, _REQUIRED, _OPTIONAL)
    if hashlib.sha256(documents.canonical(data)).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the data")
    recheck = importlib.import_module("provable.theorems.counterexamples").recheck
    violated, reason = recheck(data)
    if not violated:
        raise Invalid(str(reason))
    return str(reason)
