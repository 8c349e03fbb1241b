"""Security metrics of architectures and of gradients: one file each, with what it measures and what it cannot see."""

from provable.leakage.metrics.metric import Metric
from provable.leakage.metrics.rgap_index import CountedLayer, RGapIndex, rgap_index

__all__ = ["CountedLayer", "Metric", "RGapIndex", "rgap_index"]
