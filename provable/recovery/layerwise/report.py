"""What the recursion says about each layer beside the recovery."""

from __future__ import annotations

import dataclasses
import json
import math

from provable.recovery.layerwise.descent import Step
from provable.recovery.result import Recovery


@dataclasses.dataclass(frozen=True, eq=False)
class LayerwiseReport:
    """A layer-wise recovery with its steps.

    Parameters
    ----------
    recovery : Recovery
        What was found.
    anchor : str
        Where the recursion that is reported started; empty if it did not.
    candidates : int
        How many starts there were.
    steps : tuple of Step
        From the last layer to the first; each one's `error` is the disagreement with a forward evaluation of the sample
        that was found, so it measures how errors grow on the way if that sample is right.
    """

    recovery: Recovery
    anchor: str
    candidates: int
    steps: tuple[Step, ...]

    def to_json(self) -> str:
        """Give everything but arrays.

        Returns
        -------
        str
            JSON with the keys of `Recovery.to_json` under ``recovery``, ``anchor``, ``candidates`` and ``layers``; what is
            infinite or unknown is null.
        """
        layers = [
            {
                "index": step.index,
                "type": step.type,
                "unknowns": step.unknowns,
                "equations": step.equations,
                "rank": step.rank,
                "nullity": step.nullity,
                "condition": _finite(step.condition),
                "gap": _finite(step.gap),
                "misfit": _finite(step.misfit),
                "assumed": step.assumed,
                "joint": step.joint,
                "error": None if step.error is None else _finite(step.error),
            }
            for step in self.steps
        ]
        document = {
            "recovery": json.loads(self.recovery.to_json()),
            "anchor": self.anchor,
            "candidates": self.candidates,
            "layers": layers,
        }
        return json.dumps(document, indent=2, allow_nan=False)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
