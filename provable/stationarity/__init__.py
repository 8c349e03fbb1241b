"""Stationary points of trained networks: what they satisfy, how to verify one, and which other data have it too."""

from provable.stationarity.alternatives import Alternative, Alternatives, alternative_data
from provable.stationarity.homogeneity import degree_of_homogeneity, layer_degrees
from provable.stationarity.report import StationarityReport
from provable.stationarity.verification import verify_stationarity, verify_weight_decay

__all__ = [
    "Alternative",
    "Alternatives",
    "StationarityReport",
    "alternative_data",
    "degree_of_homogeneity",
    "layer_degrees",
    "verify_stationarity",
    "verify_weight_decay",
]
