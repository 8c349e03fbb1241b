"""Judging one theorem: run all its evidence, then say what follows, and no more."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import Any

import numpy as np

from provable.errors import TheoremError
from provable.theorems import counterexamples, rates
from provable.theorems.derivation import Step
from provable.theorems.evaluation import confirm_violation, meets
from provable.theorems.evidence import MEANING, TwinResult, Verification
from provable.theorems.instances import describe
from provable.theorems.registry import Entry, locate
from provable.theorems.search import Counterexample, Effort, Sample, sample
from provable.theorems.theorem import (
    ANY_ARITHMETIC,
    CERTIFIED,
    EVERY_INSTANCE,
    INCONCLUSIVE,
    PROVED,
    REFUTED,
    SUPPORTED,
    VACUOUS,
)

TAIL_TRIALS_PER_REPETITION = 100


@dataclasses.dataclass
class _Findings:
    """What has been found so far; the verdict is read off it at the end."""

    evidence: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    twins: list[TwinResult] = dataclasses.field(default_factory=list)
    hypotheses: list[dict[str, str]] = dataclasses.field(default_factory=list)
    faults: list[str] = dataclasses.field(default_factory=list)
    counterexample: dict[str, Any] | None = None
    vacuous: str = ""
    proved: bool = False
    certified: bool = False


def verify_entry(entry: Entry, effort: Effort, seed: int) -> Verification:
    """Run all evidence of one theorem.

    Parameters
    ----------
    entry : Entry
        The theorem.
    effort : Effort
        How much work to do.
    seed : int
        Seed of everything random; each piece of evidence gets its own stream.

    Returns
    -------
    Verification
        The verdict with its evidence. Whatever a theorem's functions raise becomes the verdict `inconclusive` with a reason.
    """
    start = time.perf_counter()
    findings = _Findings()
    for run in (_derivations, _claim, _sharpness, _rates, _tails, _false_twins):
        try:
            run(entry, effort, seed, findings)
        except Exception as error:
            findings.faults.append(f"{run.__name__[1:].replace('_', ' ')}: {_where(entry, error)}")
    try:
        verdict, reason = _judge(entry, findings)
    except Exception as error:
        verdict, reason = INCONCLUSIVE, f"re-checking the counterexample: {_where(entry, error)}"
    return Verification(
        id=entry.id,
        title=entry.theorem.title,
        source=str(entry.theorem.source),
        statement=entry.theorem.statement,
        expected=entry.theorem.expected,
        verdict=verdict,
        reason=reason,
        evidence=tuple(findings.evidence),
        false_twins=tuple(findings.twins),
        hypotheses=tuple(findings.hypotheses),
        counterexample=findings.counterexample,
        does_not_say="; ".join(part for part in (MEANING[verdict], entry.theorem.does_not_say) if part),
        seconds=round(time.perf_counter() - start, 3),
    )


def _where(entry: Entry, error: BaseException) -> str:
    return locate(error, str(entry.namespace.get("__file__", "")))


def stream(seed: int, *names: str) -> int:
    """Derive the seed of one piece of evidence, independent of all others.

    Parameters
    ----------
    seed : int
        The user's seed.
    *names : str
        What it is for.

    Returns
    -------
    int
        64 bits of SHA-256 of the names and the seed.
    """
    return int.from_bytes(hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()[:8], "big")


def _derivations(entry: Entry, effort: Effort, seed: int, findings: _Findings) -> None:
    for derivation in entry.theorem.derivations:
        steps = list(derivation.steps())
        if not steps or not all(isinstance(step, Step) for step in steps):
            raise TheoremError("a derivation has to yield steps, at least one")
        failed = next((step for step in steps if not step.ok), None)
        findings.evidence.append(
            {
                "kind": "symbolic",
                "steps": len(steps),
                "names": [step.name for step in steps],
                "covers": derivation.covers,
                "ok": failed is None,
            }
        )
        if failed is not None:
            findings.faults.append(f"derivation step '{failed.name}' failed: {failed.detail}")
        elif derivation.covers == EVERY_INSTANCE:
            findings.proved = True


def _claim(entry: Entry, effort: Effort, seed: int, findings: _Findings) -> None:
    theorem = entry.theorem
    if theorem.claim_function is None:
        if not (theorem.derivations or theorem.rates or theorem.tails):
            raise TheoremError("the theorem has neither claim, derivation, rate nor tail, so there is nothing to run")
        return
    if theorem.witness is not None:
        _explicit_counterexample(entry, findings)
        if findings.counterexample is not None and theorem.strategy is None:
            return
    if theorem.strategy is None:
        raise TheoremError("the theorem has a claim but no instances")
    drawn = sample(
        theorem.claim_function,
        theorem.strategy,
        hypotheses=theorem.hypotheses.values(),
        arithmetics=theorem.arithmetics,
        effort=effort,
        seed=stream(seed, entry.id, "claim"),
        is_degenerate=theorem.is_degenerate,
    )
    findings.evidence.extend(_sample_evidence(drawn))
    if drawn.counterexample is not None:
        findings.counterexample = counterexamples.record(entry, drawn.counterexample)
        return
    quota = theorem.quota if theorem.quota is not None else max(1, effort.draws // 4)
    if drawn.exhausted:
        quota = min(quota, max(1, drawn.tried))
    if drawn.open_instances and drawn.counted < quota:
        findings.faults.append(f"no arithmetic could decide {drawn.open_instances} of {drawn.tried} draws")
    elif drawn.counted < quota:
        findings.vacuous = (
            f"{drawn.counted} draws met the hypotheses and were not degenerate, {quota} were needed "
            f"({drawn.rejected} draws were rejected)"
        )
    if drawn.suspicion is not None:
        text = " ".join(describe(drawn.suspicion.instance).split())[:300]
        if drawn.suspicion.cleared:
            findings.faults.append(
                f"float64 differs by more than the stated error, where exact arithmetic agrees: {text}"
            )
        else:
            findings.faults.append(f"a draw violates the claim, but no exact arithmetic confirms it: {text}")
    findings.certified = any(proved == drawn.tried > 0 for _, proved in drawn.exact.values())


def _sample_evidence(drawn: Sample) -> list[dict[str, Any]]:
    fine = drawn.counterexample is None and drawn.suspicion is None
    items: list[dict[str, Any]] = [
        {
            "kind": "sampled",
            "instances": drawn.tried,
            "not_degenerate": drawn.counted,
            "rejected": drawn.rejected,
            "worst_ratio": round(drawn.worst_ratio, 3),
            "undecided": drawn.open_instances,
            "ok": fine,
        }
    ]
    for arithmetic, (evaluated, proved) in drawn.exact.items():
        items.append({"kind": "exact", "arithmetic": arithmetic, "instances": evaluated, "proved": proved, "ok": fine})
    return items


def _explicit_counterexample(entry: Entry, findings: _Findings) -> None:
    theorem = entry.theorem
    assert theorem.witness is not None and theorem.claim_function is not None
    instance = theorem.witness()
    unmet = [name for name, hypothesis in theorem.hypotheses.items() if not meets(hypothesis, instance)]
    if unmet:
        raise TheoremError(f"the explicit counterexample does not meet the hypothesis '{unmet[0]}'")
    confirmation = _confirm(entry, instance)
    if confirmation is None:
        raise TheoremError("the explicit counterexample does not violate the claim")
    findings.evidence.append({"kind": "counterexample", "arithmetic": confirmation.confirmation.arithmetic, "ok": True})
    findings.counterexample = counterexamples.record(entry, confirmation)


def _confirm(entry: Entry, instance: Any) -> Counterexample | None:
    theorem = entry.theorem
    assert theorem.claim_function is not None
    judged = confirm_violation(
        theorem.claim_function,
        instance,
        ANY_ARITHMETIC if theorem.arithmetics is None else theorem.arithmetics,
        declared=theorem.arithmetics is not None,
    )
    return None if judged.confirmation is None else Counterexample(instance, judged.confirmation)


def _sharpness(entry: Entry, effort: Effort, seed: int, findings: _Findings) -> None:
    theorem = entry.theorem
    for name, hypothesis in theorem.hypotheses.items():
        if name not in theorem.counterexamples:
            findings.hypotheses.append({"name": name, "sharpness": "unknown"})
            continue
        instance = theorem.counterexamples[name]()
        if meets(hypothesis, instance):
            raise TheoremError(f"the counterexample without '{name}' meets that hypothesis")
        for other, demanded in theorem.hypotheses.items():
            if other != name and not meets(demanded, instance):
                raise TheoremError(f"the counterexample without '{name}' does not meet '{other}' either")
        if _confirm(entry, instance) is None:
            raise TheoremError(f"the counterexample without '{name}' does not violate the claim")
        findings.hypotheses.append({"name": name, "sharpness": "counterexample"})
    if theorem.counterexamples:
        findings.evidence.append({"kind": "sharpness", "counterexamples": len(theorem.counterexamples), "ok": True})


def _rates(entry: Entry, effort: Effort, seed: int, findings: _Findings) -> None:
    for index, rate in enumerate(entry.theorem.rates):
        generator = np.random.default_rng(stream(seed, entry.id, "rate", str(index)))
        fitted = rates.fit_exponent(rate.measure, rate.sizes, effort.repetitions, generator)
        ok = fitted.contains(rate.exponent)
        findings.evidence.append({"kind": "rate", "stated": rate.exponent, **dataclasses.asdict(fitted), "ok": ok})
        if not ok:
            findings.faults.append(
                f"the stated exponent {rate.exponent:g} is outside the measured interval "
                f"[{fitted.lower:.3f}, {fitted.upper:.3f}]"
            )
        again = rates.fit_exponent(rate.measure, rate.sizes, effort.repetitions, generator)
        for name, exponent in rate.false_exponents:
            refuted = not fitted.contains(exponent) and not again.contains(exponent)
            measured = {"stated": exponent, "interval": [fitted.lower, fitted.upper]}
            measured["repeated"] = [again.lower, again.upper]
            findings.twins.append(TwinResult(name, refuted, measured if refuted else None))


def _tails(entry: Entry, effort: Effort, seed: int, findings: _Findings) -> None:
    for index, tail in enumerate(entry.theorem.tails):
        generator = np.random.default_rng(stream(seed, entry.id, "tail", str(index)))
        trials = TAIL_TRIALS_PER_REPETITION * effort.repetitions
        found = rates.tail_frequency(tail.event, trials, generator)
        ok = found.lower <= tail.bound
        findings.evidence.append({"kind": "rate", "bound": tail.bound, **dataclasses.asdict(found), "ok": ok})
        if not ok:
            findings.faults.append(
                f"the event is more frequent ({found.estimate:g}) than the bound {tail.bound:g} allows"
            )
        again = rates.tail_frequency(tail.event, trials, generator)
        for name, bound in tail.false_bounds:
            refuted = min(found.lower, again.lower) > bound
            measured = {"bound": bound, "at_least": [found.lower, again.lower]}
            findings.twins.append(TwinResult(name, refuted, measured if refuted else None))


def _false_twins(entry: Entry, effort: Effort, seed: int, findings: _Findings) -> None:
    theorem = entry.theorem
    for twin in theorem.twins:
        strategy = theorem.strategy if twin.instances is None else twin.instances
        if strategy is None:
            raise TheoremError(f"the false twin '{twin.name}' has no instances")
        found = sample(
            twin.claim,
            strategy,
            hypotheses=[h for name, h in theorem.hypotheses.items() if name not in twin.without],
            arithmetics=twin.arithmetics or theorem.arithmetics,
            effort=effort,
            seed=stream(seed, entry.id, "twin", twin.name),
            hunt=True,
        )
        recorded = None
        if found.counterexample is not None:
            recorded = counterexamples.record(entry, found.counterexample, twin=twin.name)
            rechecked, why = counterexamples.recheck(recorded)
            if not rechecked:
                raise TheoremError(
                    f"the counterexample to '{twin.name}' does not survive being written and read: {why}"
                )
        findings.twins.append(TwinResult(twin.name, recorded is not None, recorded))


def _judge(entry: Entry, findings: _Findings) -> tuple[str, str]:
    if findings.counterexample is not None:
        rechecked, why = counterexamples.recheck(findings.counterexample)
        if rechecked:
            return REFUTED, "; ".join([why, *findings.faults])
        return INCONCLUSIVE, f"the counterexample does not survive being written and read: {why}"
    if findings.vacuous:
        return VACUOUS, findings.vacuous
    survivors = [twin.id for twin in findings.twins if not twin.refuted]
    if survivors:
        findings.faults.append(f"the false twin '{survivors[0]}' survived, so the evidence has no power against it")
    if findings.faults:
        return INCONCLUSIVE, "; ".join(findings.faults)
    if findings.proved:
        return PROVED, ""
    statistical = any(item["kind"] == "rate" for item in findings.evidence)
    if findings.certified and not statistical:
        return CERTIFIED, ""
    return SUPPORTED, ""
