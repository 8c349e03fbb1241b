"""Dataset distillation by kernels, and its identity with reconstruction: the same loss with fewer atoms than samples."""

from provable.distillation.distiller import Distilled, describe, distil
from provable.distillation.identities import (
    DistanceParts,
    conditional_variances,
    deletion_costs,
    distance_parts,
    leave_one_out_residuals,
)
from provable.distillation.interpolation import Interpolant, accuracy, interpolant, merge_coincident
from provable.distillation.kernel_gradients import DifferentiableKernel, Kernel
from provable.distillation.losses import Loss, kip, projection_loss, rkip, squared_distance
from provable.distillation.single_atom import SingleAtom, best_single_atom, single_atom_scores

__all__ = [
    "DifferentiableKernel",
    "DistanceParts",
    "Distilled",
    "Interpolant",
    "Kernel",
    "Loss",
    "SingleAtom",
    "accuracy",
    "best_single_atom",
    "conditional_variances",
    "deletion_costs",
    "describe",
    "distance_parts",
    "distil",
    "interpolant",
    "kip",
    "leave_one_out_residuals",
    "merge_coincident",
    "projection_loss",
    "rkip",
    "single_atom_scores",
    "squared_distance",
]
