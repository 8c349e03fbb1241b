"""What a verification reports: frozen values in the format `provable-verification/1`."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from provable.theorems.theorem import CERTIFIED, PROVED, REFUTED, SUPPORTED

FORMAT = "provable-verification/1"

MEANING = {
    "proved": (
        "every named step of the derivation was decided exactly; that the steps together give the statement is argued in "
        "the theorem's file and was not checked by a machine"
    ),
    "certified": (
        "exact or outward-rounded arithmetic confirmed every instance tried; nothing follows for instances not tried"
    ),
    "supported": "float64 agrees within the stated error on every instance tried; that is evidence and no proof",
    "refuted": "the counterexample violates the statement and was evaluated a second time, in the arithmetic named beside it",
    "vacuous": "too few draws met the hypotheses, so agreement would mean nothing",
    "inconclusive": "no verdict was reached; the reason stands beside it",
}


@dataclasses.dataclass(frozen=True)
class TwinResult:
    """What became of a false twin.

    Parameters
    ----------
    id : str
        Its name.
    refuted : bool
        Whether the budget sufficed.
    counterexample : dict or None
        The encoded instance with its confirmation.
    """

    id: str
    refuted: bool
    counterexample: dict[str, Any] | None


@dataclasses.dataclass(frozen=True)
class Verification:
    """The verdict on one theorem with everything that led to it.

    Parameters
    ----------
    id, title, source, statement : str
        Which theorem.
    expected : str or None
        The verdict expected by its author; None for a conjecture.
    verdict : str
        One of `provable.theorems.theorem.VERDICTS`.
    reason : str
        Why, in one sentence, where the verdict needs one.
    evidence : tuple of dict
        One entry per kind of evidence, each with ``kind`` and ``ok``.
    false_twins : tuple of TwinResult
        The wrong variants.
    hypotheses : tuple of dict
        Name and sharpness of each.
    counterexample : dict or None
        For a refuted statement.
    does_not_say : str
        What the verdict does not mean.
    seconds : float
        Wall-clock time.
    """

    id: str
    title: str
    source: str
    statement: str
    expected: str | None
    verdict: str
    reason: str = ""
    evidence: tuple[dict[str, Any], ...] = ()
    false_twins: tuple[TwinResult, ...] = ()
    hypotheses: tuple[dict[str, str], ...] = ()
    counterexample: dict[str, Any] | None = None
    does_not_say: str = ""
    seconds: float = 0.0

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the expected one (for a conjecture: any of the good ones)."""
        good = (self.expected,) if self.expected is not None else (PROVED, CERTIFIED, SUPPORTED)
        return self.verdict in good and all(twin.refuted for twin in self.false_twins)

    def to_dict(self) -> dict[str, Any]:
        """Return the theorem's entry of `provable-verification/1`.

        Returns
        -------
        dict
            JSON values.
        """
        entry = dataclasses.asdict(self)
        entry["evidence"] = [_finite(item) for item in self.evidence]
        entry["hypotheses"] = list(self.hypotheses)
        entry["false_twins"] = [dataclasses.asdict(twin) for twin in self.false_twins]
        return entry

    def to_json(self) -> str:
        """Return `to_dict` as JSON text.

        Returns
        -------
        str
            One JSON object.
        """
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, entry: dict[str, Any]) -> Verification:
        """Read an entry back.

        Parameters
        ----------
        entry : dict
            What `to_dict` returned.

        Returns
        -------
        Verification
            An equal value.
        """
        values = dict(entry)
        values["evidence"] = tuple(values["evidence"])
        values["hypotheses"] = tuple(values["hypotheses"])
        values["false_twins"] = tuple(TwinResult(**twin) for twin in values["false_twins"])
        return cls(**values)


def _finite(item: dict[str, Any]) -> dict[str, Any]:
    return {k: (None if isinstance(v, float) and not math.isfinite(v) else v) for k, v in item.items()}


def summary(verifications: Sequence[Verification]) -> dict[str, int]:
    """Count verdicts.

    Parameters
    ----------
    verifications : sequence of Verification
        The results.

    Returns
    -------
    dict
        The ``summary`` object of `provable-verification/1`.
    """
    good = [v for v in verifications if v.as_expected]
    return {
        "proved": sum(v.verdict == PROVED for v in good),
        "certified": sum(v.verdict == CERTIFIED for v in good),
        "supported": sum(v.verdict == SUPPORTED for v in good),
        "refuted_as_expected": sum(v.verdict == REFUTED for v in good),
        "unexpected": len(verifications) - len(good),
        "false_twins": sum(len(v.false_twins) for v in verifications),
        "false_twins_refuted": sum(twin.refuted for v in verifications for twin in v.false_twins),
    }


def document(verifications: Sequence[Verification], *, effort: str, seed: int) -> str:
    """Write the whole document.

    Parameters
    ----------
    verifications : sequence of Verification
        The results.
    effort : str
        The effort they were made at.
    seed : int
        The seed.

    Returns
    -------
    str
        JSON text in the format `provable-verification/1`.
    """
    return json.dumps(
        {
            "format": FORMAT,
            "theorems": [verification.to_dict() for verification in verifications],
            "summary": summary(verifications),
            "environment": {**environment(), "effort": effort, "seed": seed},
        },
        ensure_ascii=False,
        allow_nan=False,
        indent=2,
    )


def environment() -> dict[str, str]:
    """Name the versions that a result depends on.

    Returns
    -------
    dict
        Python and the libraries used.
    """
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for package in ("provable", "numpy", "scipy", "sympy", "python-flint", "hypothesis"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions
