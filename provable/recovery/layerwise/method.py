r"""R-GAP: one sample from the gradient of a convolutional chain, in closed form layer by layer.

The recursion starts at a linear layer whose input is known (`anchors`), inverts activations and solves one linear system
for each layer (`descent`), and ends at the sample, which is then tested against all observed pieces (`judgement`). If every
system has full rank, the sample is the only one that the gradients and the label allow (up to the candidates of the start);
if only the first one lacks rank, its null space is what stays open.

References
----------
J. Zhu and M. Blaschko, R-GAP: Recursive gradient attack on privacy, ICLR 2021.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.architectures import ReLU
from provable.errors import InputError, UnsupportedError
from provable.networks import trace
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found
from provable.recovery.layerwise.anchors import Anchor, anchors
from provable.recovery.layerwise.descent import Descent, Step, descend
from provable.recovery.layerwise.judgement import Judgement, judge
from provable.recovery.layerwise.report import LayerwiseReport
from provable.recovery.layerwise.support import obstacle_before, supports
from provable.recovery.method import Method
from provable.recovery.openness import open_directions
from provable.recovery.result import Recovery

Float = NDArray[np.float64]

NAME = "layer-wise"

CLEAR_GAP = 1000.0
"""Where the singular values that count are less than this above the others, the rank is called doubtful."""


def layerwise_report(observation: Observation, *, rng: Any = None) -> LayerwiseReport:
    """Recover the sample layer by layer, and report every layer.

    Parameters
    ----------
    observation : Observation
        One that `provable.recovery.layerwise.support.supports` accepts.
    rng : int, numpy.random.Generator or None, optional
        Draws the perturbations with which the condition of the network is measured.

    Returns
    -------
    LayerwiseReport
        The recovery and its steps. The recovery is ``consistent`` if every piece of the gradient is explained at rounding
        level; then its fibre names the null space of the first layer's system (of the derivative of all gradients, if an
        inner layer was deficient and not closed by the one in front), and ``"twin"`` or ``"joint-sign"`` if a
        second start explains the gradient as well. Otherwise it is ``failed``, with the best candidate.

    Raises
    ------
    UnsupportedError
        If the recursion does not apply.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    with np.errstate(all="ignore"):
        return _examined(observation, np.random.default_rng(rng))


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """Recover the sample layer by layer.

    Parameters
    ----------
    observation : Observation
        One that `provable.recovery.layerwise.support.supports` accepts.
    rng : numpy.random.Generator
        Draws the perturbations with which the condition of the network is measured.

    Returns
    -------
    Recovery
        As in `layerwise_report`.

    Raises
    ------
    UnsupportedError
        If the recursion does not apply.
    """
    return layerwise_report(observation, rng=rng).recovery


def _examined(observation: Observation, rng: np.random.Generator) -> LayerwiseReport:
    starts = anchors(observation)
    if isinstance(starts, str):
        return LayerwiseReport(nothing_found(observation, NAME, starts), "", 0, ())
    accepted: list[tuple[Descent, Judgement]] = []
    others: list[tuple[str, float | None]] = []
    rejected: list[tuple[Descent, Judgement | None]] = []
    # Layers without a gradient were passed over, and what lies between them and the input was not looked at before.
    if (reason := obstacle_before(observation, max(start.index for start in starts))) is not None:
        return LayerwiseReport(nothing_found(observation, NAME, reason), "", 0, ())
    for start in starts:
        if accepted and (other := _multiple(observation, accepted[0], start, rng)) is not None:
            others.append(other)
            continue
        descent = descend(observation, start)
        verdict = None if descent.inputs is None else judge(observation, descent.inputs[None], start.label, NAME, rng)
        if verdict is None or not verdict.accepted:
            rejected.append((descent, verdict))
        else:
            others += [("twin", None)] if accepted else []
            accepted.append((descent, verdict))
    if accepted:
        return _report(observation, *accepted[0], others, len(starts))
    return _failure(observation, rejected, len(starts), rng)


def _multiple(
    observation: Observation, first: tuple[Descent, Judgement], start: Anchor, rng: np.random.Generator
) -> tuple[str, float] | None:
    """Test whether a multiple of a sample found belongs to another start, as in homogeneous or odd networks."""
    known = first[0].anchor.inputs
    factor = float(known @ start.inputs) / float(known @ known)
    if not judge(observation, factor * first[1].inputs, start.label, NAME, rng).accepted:
        return None
    # Odd networks: the factor is -1 up to rounding of the two starts.
    return "joint-sign" if abs(factor + 1) < 1e-9 else "twin", factor


def _report(
    observation: Observation,
    descent: Descent,
    verdict: Judgement,
    others: list[tuple[str, float | None]],
    candidates: int,
) -> LayerwiseReport:
    steps = _with_errors(observation, descent, verdict.inputs)
    nullity = steps[-1].nullity if steps else 0
    assumed = [step for step in steps if step.assumed]
    # Deficient layers that the ones in front do not close: only the derivative of all gradients tells what is open.
    count = (
        open_directions(observation, verdict.inputs, verdict.labels) if assumed and verdict.labels is not None else None
    )
    total = (nullity if count is None else count) + verdict.open_directions
    if assumed and count is None:
        # Of all inputs of an assumed layer one was picked, so some direction is open even where none was counted.
        total = max(total, 1)
    fibre: tuple[str, ...] = (f"null-space:{total}",) if total else ()
    fibre += tuple(dict.fromkeys(word for word, _ in others))
    reasons = [verdict.reason] if verdict.reason else []
    reasons += [f"{_short_of(step)}, and of its solutions that of least norm was followed" for step in assumed]
    if assumed and count is None:
        reasons.append("the directions that are open were not counted")
    if nullity:
        cut = observation.architecture.layers[steps[-1].index + 1 : steps[-1].index + 2]
        bound = " for which inactive units stay inactive" if any(isinstance(layer, ReLU) for layer in cut) else ""
        reasons.append(f"{_short_of(steps[-1])}: of all solutions{bound} that of least norm is given")
    for word, factor in others:
        which = "" if factor is None else f", {factor:.4g} times this one,"
        if word == "twin":
            reasons.append(f"a second input{which} explains the gradient as well")
    for behind, front in itertools.pairwise(steps):
        if front.joint:
            reasons.append(f"{_short_of(behind)}, and was solved together with layer {front.index} ({front.type})")
    reasons += [_doubt(step) for step in steps if step.gap < CLEAR_GAP]
    recovery = Recovery(
        points=verdict.inputs,
        coefficients=verdict.coefficients,
        labels=verdict.labels,
        residual=verdict.residual,
        method=NAME,
        fibre=fibre,
        status="consistent",
        reason="; ".join(reasons),
    )
    return LayerwiseReport(recovery, descent.anchor.how, candidates, steps)


def _failure(
    observation: Observation,
    rejected: list[tuple[Descent, Judgement | None]],
    candidates: int,
    rng: np.random.Generator,
) -> LayerwiseReport:
    descent, verdict = min(rejected, key=_badness)
    stopped = descent.steps[-1] if descent.inputs is None else None
    if stopped is not None:
        descent = descend(observation, descent.anchor, patience=math.inf)
        if descent.inputs is not None:
            verdict = judge(observation, descent.inputs[None], descent.anchor.label, NAME, rng)
    assumed = [step for step in descent.steps if step.assumed]
    if assumed:
        reason = f"{_short_of(assumed[0])}, and what follows from the solution of least norm fails"
    elif stopped is not None:
        reason = (
            f"the equations of layer {stopped.index} ({stopped.type}) contradict each other by {stopped.misfit:.2g}, so more "
            "than one sample or an error above rounding is in the gradient"
        )
    else:
        reason = "the sample found does not explain the gradient"
    if verdict is None or not math.isfinite(verdict.residual):
        return LayerwiseReport(nothing_found(observation, NAME, reason), descent.anchor.how, candidates, descent.steps)
    if verdict.reason:
        reason = f"{reason}: {verdict.reason}"
    recovery = Recovery(
        verdict.inputs, verdict.coefficients, verdict.labels, verdict.residual, NAME, (), "failed", reason=reason
    )
    return LayerwiseReport(recovery, descent.anchor.how, candidates, descent.steps)


def _badness(candidate: tuple[Descent, Judgement | None]) -> tuple[float, float]:
    """The further down and the smaller the misfit in powers of ten, the better; of equals the first is taken."""
    descent, verdict = candidate
    misfit = descent.worst_misfit if verdict is None else verdict.residual
    size = float(np.round(np.log10(misfit))) if misfit > 0 else -math.inf
    return (-1.0 if verdict is not None else float(descent.steps[-1].index)), size


def _with_errors(observation: Observation, descent: Descent, inputs: Float) -> tuple[Step, ...]:
    try:
        traced = trace(observation.architecture, observation.parameters, inputs).inputs
    except InputError:
        return descent.steps
    result = []
    for step in descent.steps:
        wanted, found = traced[str(step.index)][0], descent.states[step.index]
        shown = np.isfinite(found)
        size = float(np.linalg.norm(wanted[shown]))
        error = float(np.linalg.norm((found - wanted)[shown])) / size if size else 0.0
        result.append(dataclasses.replace(step, error=error))
    return tuple(result)


def _short_of(step: Step) -> str:
    return (
        f"the system of layer {step.index} ({step.type}) is {step.nullity} equations short ({step.unknowns} unknowns, rank "
        f"{step.rank})"
    )


def _doubt(step: Step) -> str:
    return (
        f"the rank {step.rank} of layer {step.index} ({step.type}) is doubtful: singular values {step.smallest:.1e} and "
        f"{step.dropped:.1e} of the largest lie on both sides of it"
    )


METHOD = Method(NAME, supports, recover)
