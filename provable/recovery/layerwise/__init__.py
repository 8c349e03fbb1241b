"""One sample from one gradient of a convolutional chain, layer by layer from the last to the first."""

from __future__ import annotations

from provable.recovery.layerwise.descent import Step
from provable.recovery.layerwise.method import METHOD, layerwise_report
from provable.recovery.layerwise.report import LayerwiseReport

__all__ = ["METHOD", "LayerwiseReport", "Step", "layerwise_report"]
