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
        for instance, ``layerwise-recovery`` is tried for a single sample.
    """
    if recovery.status != "consistent":
        return recovery
    # Ball arithmetic is loaded only when there is something to prove.
    from provable import checker
    from provable.rigor import isolated_recovery, layerwise_recovery
    from provable.rigor.certificates import Refusal

    outcome = isolated_recovery.certify(observation, recovery.measure)
    if isinstance(outcome, Refusal) and recovery.measure.size == 1:
        isolated, outcome = outcome, layerwise_recovery.certify(observation, recovery.measure)
        if isinstance(outcome, Refusal):
            outcome = Refusal(f"{isolated.reason}; layer by layer: {outcome.reason}")
    if isinstance(outcome, Refusal):
        return _without(recovery, f"no certificate: {outcome.reason}")
    text = outcome.to_json()
    verdict = checker.check(text, observation=observation.to_bytes())
    if not verdict.valid:
        return _without(recovery, f"no certificate: the independent checker rejects it ({verdict.reason})")
    return dataclasses.replace(recovery, status="certified", certificate=text)


def _without(recovery: Recovery, reason: str) -> Recovery:
    return dataclasses.replace(recovery, reason="; ".join(part for part in (recovery.reason, reason) if part))
