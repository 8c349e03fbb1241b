"""From a recovery that explains its observation to one that is proved to be isolated, or to be the only one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.networks import embed
from provable.observations import Observation
from provable.recovery.acceptance import relative_misfit, rounding_tolerance
from provable.recovery.batch.precision import UNITS, number_format
from provable.recovery.result import Recovery

LARGEST_CONDITION = 1e4
"""κ beyond which a residual of 30 k ε κ is not taken for rounding when a certificate is asked for."""


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
        Only a ``consistent`` recovery is tried, and only if its points explain the observation as well as it says. Where
        ``isolated-recovery`` cannot be proved, of a convolutional chain for instance, ``layerwise-recovery`` is tried for a
        single sample, and where positive scaling is open, ``isolated-recovery`` modulo that. If neither can be proved and
        directions are open, the status stays, and the certificate is one of the space that is open, ``null-space-fibre``.
    """
    if recovery.status != "consistent":
        return recovery
    if (reason := _unexplained(observation, recovery)) is not None:
        return _without(recovery, f"no certificate: {reason}")
    # Ball arithmetic is loaded only when there is something to prove.
    from provable import checker
    from provable.rigor import isolated_recovery, layerwise_recovery, null_space_fibre
    from provable.rigor.certificates import Certificate, Refusal

    # an open scaling is a null vector of the Jacobian: isolation can only be shown modulo that
    scaling = isolated_recovery.open_scaling(observation)
    modulo = () if scaling is None else (scaling,)
    unit = UNITS[number_format(observation)]
    ways: list[tuple[str, Callable[[], Certificate | Refusal]]] = [
        ("", lambda: isolated_recovery.certify(observation, recovery.measure, modulo=modulo, unit=unit))
    ]
    if recovery.measure.size == 1:
        ways.append(("layer by layer: ", lambda: layerwise_recovery.certify(observation, recovery.measure, unit=unit)))
    if modulo:
        ways.reverse()  # a claim modulo nothing first
    reasons: list[str] = []
    outcome: Certificate | None = None
    while ways and outcome is None:
        name, certify = ways.pop(0)
        made = certify()
        if isinstance(made, Refusal):
            reasons.append(name + made.reason)
        else:
            outcome = made
    evidence = observation.to_bytes()
    if outcome is None:
        reason = "; ".join(reasons)
    else:
        text = outcome.to_json()
        verdict = checker.check(text, observation=evidence)
        if verdict.valid:
            fibre = recovery.fibre
            left = set(outcome.data.get("modulo", ())) - set(fibre)
            if left and not observation.unit_norm:
                fibre = (*fibre, *left)  # what the claim leaves open is said, whichever method found it
            return dataclasses.replace(recovery, status="certified", certificate=text, fibre=fibre)
        reason = f"the independent checker rejects it ({verdict.reason})"
    space = null_space_fibre.certify(observation, recovery.measure, _open_dimensions(recovery))
    if isinstance(space, Refusal) or not checker.check(space.to_json(), observation=evidence).valid:
        return _without(recovery, f"no certificate: {reason}")
    reason = f"the certificate is one of the space that is open, none that nothing else is: {reason}"
    return dataclasses.replace(_without(recovery, reason), certificate=space.to_json())


def _unexplained(observation: Observation, recovery: Recovery) -> str | None:
    """Why the points are not those of a recovery up to rounding; None if they are."""
    try:
        with np.errstate(all="ignore"):  # an overflow shows as an image that is not finite
            image = embed(observation.architecture, observation.parameters, recovery.measure)
            misfit = relative_misfit(image, observation.vector)
    except InputError as error:  # a value inside is not finite
        return f"the network cannot be evaluated at the points ({error})"
    unit = UNITS[number_format(observation)]
    rounding = rounding_tolerance(observation, LARGEST_CONDITION, atoms=recovery.measure.size, unit=unit)
    limit = min(4 * max(recovery.residual, 16 * EPSILON), rounding)
    if misfit <= limit:
        return None
    how = "by backpropagation " if observation.kind == "stationary-point" else ""  # its slopes at kinks are 0
    return f"{how}the points leave a residual of {misfit:.2g}, where at most {limit:.2g} is rounding"


def _open_dimensions(recovery: Recovery) -> int:
    sizes = [int(name.partition(":")[2]) for name in recovery.fibre if name.startswith("null-space:")]
    return max(sizes, default=0)


def _without(recovery: Recovery, reason: str) -> Recovery:
    return dataclasses.replace(recovery, reason="; ".join(part for part in (recovery.reason, reason) if part))
