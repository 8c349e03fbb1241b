"""The verdict of the checker, and the error that its parts raise when a certificate does not hold."""

from __future__ import annotations

import dataclasses
import json


@dataclasses.dataclass(frozen=True)
class CheckResult:
    """What the checker found.

    Parameters
    ----------
    valid : bool
        Whether the claim was proved again, from the data of the certificate alone.
    claim : str
        The claim type; empty if not even that could be read.
    reason : str
        One sentence.
    """

    valid: bool
    claim: str
    reason: str

    def to_json(self) -> str:
        """Write the verdict.

        Returns
        -------
        str
            A JSON object with the keys ``valid``, ``claim`` and ``reason``.
        """
        return json.dumps(dataclasses.asdict(self))


class Invalid(Exception):
    """The certificate or its subject is malformed, or its claim is not proved by it; the message says why."""


class Undecided(Exception):
    """The working precision does not decide a comparison; it is repeated with more bits."""
