"""Stationary points of trained networks: what they satisfy, how to verify one, and which other data have it too."""

from provable.stationarity.homogeneity import degree_of_homogeneity, layer_degrees
from provable.stationarity.report import StationarityReport
from provable.stationarity.verification import verify_stationarity, verify_weight_decay

__all__ = [
    "StationarityReport",
    "degree_of_homogeneity",
    "layer_degrees",
    "verify_stationarity",
    "verify_weight_decay",
]
