"""What an observer holds: an architecture, its parameters and the image of the data under the tangent embedding."""

from __future__ import annotations

from provable.observations.archive import LIMIT_BYTES
from provable.observations.observation import FORMAT, KINDS, REDUCTIONS, Observation

__all__ = ["FORMAT", "KINDS", "LIMIT_BYTES", "REDUCTIONS", "Observation"]
