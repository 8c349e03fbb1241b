"""Counterexamples as data: written with everything needed to evaluate them again, and evaluated again from that data."""

from __future__ import annotations

import dataclasses
from typing import Any

from provable.arithmetic import Arithmetic
from provable.errors import InputError, ProvableError
from provable.theorems import registry
from provable.theorems.evaluation import confirm_violation, meets
from provable.theorems.instances import decode, describe, encode
from provable.theorems.search import Counterexample
from provable.theorems.theorem import ANY_ARITHMETIC


def record(entry: registry.Entry, found: Counterexample, *, twin: str | None = None) -> dict[str, Any]:
    """Write a counterexample as JSON values.

    Parameters
    ----------
    entry : Entry
        The theorem.
    found : Counterexample
        Instance and confirmation.
    twin : str, optional
        The false twin that it refutes; default: the theorem's own claim.

    Returns
    -------
    dict
        ``theorem``, ``twin``, ``instance``, ``text`` (for people) and the confirmation's fields.
    """
    return {
        "theorem": entry.id,
        "file": entry.origin,
        "twin": twin,
        "instance": encode(found.instance),
        "text": describe(found.instance),
        **dataclasses.asdict(found.confirmation),
    }


def recheck(data: dict[str, Any]) -> tuple[bool, str]:
    """Evaluate a recorded counterexample again, from its data alone.

    The claim is the definition of what is refuted, so it is taken from the theorem's file; nothing of the search is used.

    Parameters
    ----------
    data : dict
        What `record` returned.

    Returns
    -------
    bool
        Whether the instance meets the hypotheses and violates the claim, confirmed in the arithmetic named in `data`.
    str
        One sentence.
    """
    try:
        entry = registry.find(str(data["theorem"]), str(data.get("file", "")))
        instance = decode(data["instance"], entry.namespace)
        twin = data.get("twin")
        return _recheck(entry, instance, twin, str(data["arithmetic"]))
    except KeyError as error:
        return False, f"the counterexample lacks the field {error}"
    except ProvableError as error:
        return False, str(error)


def _recheck(entry: registry.Entry, instance: Any, twin_name: str | None, arithmetic: str) -> tuple[bool, str]:
    theorem = entry.theorem
    claim, dropped, arithmetics = theorem.claim_function, set[str](), theorem.arithmetics
    if twin_name is not None:
        twin = next((twin for twin in theorem.twins if twin.name == twin_name), None)
        if twin is None:
            raise InputError(f"{entry.id} has no false twin '{twin_name}'")
        claim, dropped, arithmetics = twin.claim, set(twin.without), twin.arithmetics or arithmetics
    if claim is None:
        raise InputError(f"{entry.id} has no claim")
    demanded = [hypothesis for name, hypothesis in theorem.hypotheses.items() if name not in dropped]
    for hypothesis in demanded:
        if not meets(hypothesis, instance):
            return False, f"the instance does not meet the hypothesis '{hypothesis.name}'"
    tried: tuple[Arithmetic, ...] = ANY_ARITHMETIC if arithmetics is None else arithmetics
    judged = confirm_violation(claim, instance, tried, declared=arithmetics is not None, hypotheses=demanded)
    if judged.confirmation is None:
        return False, "the instance does not violate the claim"
    if judged.confirmation.arithmetic != arithmetic:
        return False, f"the violation shows in {judged.confirmation.arithmetic} arithmetic, but {arithmetic} was stated"
    return True, f"the instance violates the claim '{judged.confirmation.check}' in {arithmetic} arithmetic"
