"""Training by gradient descent, in the kernel regime and at finite width, and the observations that it leaves."""

from __future__ import annotations

from provable.training.gradient_descent import Training, train
from provable.training.linearised import LinearisedTraining
from provable.training.linearised_networks import TrainedLinearisation, train_linearised
from provable.training.optimisers import Adam, GradientDescent
from provable.training.span import SpanDecomposition, decompose
from provable.training.weight_decay import InitialShare, initial_share, without_initial_share

__all__ = [
    "Adam",
    "GradientDescent",
    "InitialShare",
    "LinearisedTraining",
    "SpanDecomposition",
    "TrainedLinearisation",
    "Training",
    "decompose",
    "initial_share",
    "train",
    "train_linearised",
    "without_initial_share",
]
