"""Security metrics of architectures and of gradients: one file each, with what it measures and what it cannot see."""

from provable.leakage.metrics.cramer_rao import CramerRao, cramer_rao
from provable.leakage.metrics.instance import Instance, random_instance
from provable.leakage.metrics.metric import Metric
from provable.leakage.metrics.rgap_index import CountedLayer, RGapIndex, rgap_index
from provable.leakage.metrics.spectrum import Spectrum, spectrum

__all__ = [
    "CountedLayer",
    "CramerRao",
    "Instance",
    "Metric",
    "RGapIndex",
    "Spectrum",
    "cramer_rao",
    "random_instance",
    "rgap_index",
    "spectrum",
]
