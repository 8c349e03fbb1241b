"""From a recovery that explains its observation to one that is proved to be isolated, or to be the only one."""

from __future__ import annotations

import dataclasses

from provable.observations import Observation
from provable.recovery.result import Recovery


def certified(observation: Observation, recovery: Recovery) -> Recovery:
    """Try to certify a recovery, and have the independent checker judge the certificate.

    Parameters
    ----------
    observation : Observation
        What was observed.
    recovery : Recovery
        What a method found.

    Returns
    -------
    Recovery
        With status ``certified`` if the checker accepts the certificate; otherwise as before, and with the reason.
        Only a ``consistent`` recovery is tried. Where ``isolated-recovery`` cannot be proved, of a convolutional chain
        for instance, ``layerwise-recovery`` is tried for a single sample, and where positive scaling is open,
        ``isolated-recovery`` modulo that. If neither can be proved and directions are open, the status stays, and the
        certificate is one of the space that is open, ``null-space-fibre``.
    """
    if recovery.status != "consistent":
        return recovery
    # Ball arithmetic is loaded only when there is something to prove.
    from provable import checker
    from provable.rigor import isolated_recovery, layerwise_recovery, null_space_fibre
    from provable.rigor.certificates import Refusal

    outcome = isolated_recovery.certify(observation, recovery.measure)
    if isinstance(outcome, Refusal) and recovery.measure.size == 1:
        isolated, outcome = outcome, layerwise_recovery.certify(observation, recovery.measure)
        if isinstance(outcome, Refusal):
            outcome = Refusal(f"{isolated.reason}; layer by layer: {outcome.reason}")
    if isinstance(outcome, Refusal) and isolated_recovery.scales(observation):
        scaled = isolated_recovery.certify(observation, recovery.measure, modulo=("positive-scaling",))
        outcome = scaled if not isinstance(scaled, Refusal) else outcome
    evidence = observation.to_bytes()
    if isinstance(outcome, Refusal):
        reason = outcome.reason
    else:
        text = outcome.to_json()
        verdict = checker.check(text, observation=evidence)
        if verdict.valid:
            return dataclasses.replace(recovery, status="certified", certificate=text)
        reason = f"the independent checker rejects it ({verdict.reason})"
    space = null_space_fibre.certify(observation, recovery.measure, _open_dimensions(recovery))
    if isinstance(space, Refusal) or not checker.check(space.to_json(), observation=evidence).valid:
        return _without(recovery, f"no certificate: {reason}")
    reason = f"the certificate is one of the space that is open, none that nothing else is: {reason}"
    return dataclasses.replace(_without(recovery, reason), certificate=space.to_json())


def _open_dimensions(recovery: Recovery) -> int:
    sizes = [int(name.partition(":")[2]) for name in recovery.fibre if name.startswith("null-space:")]
    return max(sizes, default=0)


def _without(recovery: Recovery, reason: str) -> Recovery:
    return dataclasses.replace(recovery, reason="; ".join(part for part in (recovery.reason, reason) if part))
