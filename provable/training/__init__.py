"""Training by gradient descent, in the kernel regime, at finite width and to stationary points, and what it leaves."""

from __future__ import annotations

from provable.training.gradient_descent import Training, train
from provable.training.linearised import LinearisedTraining
from provable.training.linearised_networks import TrainedLinearisation, train_linearised
from provable.training.optimisers import Adam, GradientDescent
from provable.training.span import SpanDecomposition, decompose
from provable.training.stationary_training import StationaryTraining, small_first_layer, train_to_stationarity
from provable.training.weight_decay import InitialShare, initial_share, without_initial_share

__all__ = [
    "Adam",
    "GradientDescent",
    "InitialShare",
    "LinearisedTraining",
    "SpanDecomposition",
    "StationaryTraining",
    "TrainedLinearisation",
    "Training",
    "decompose",
    "initial_share",
    "small_first_layer",
    "train",
    "train_linearised",
    "train_to_stationarity",
    "without_initial_share",
]
