"""Security metrics of architectures and of gradients: one file each, with what it measures and what it cannot see."""

from provable.leakage.metrics.batch_cramer_rao import BatchCramerRao, batch_cramer_rao
from provable.leakage.metrics.counts import data_ratio, width_surplus
from provable.leakage.metrics.cramer_rao import CramerRao, cramer_rao
from provable.leakage.metrics.fisher_information import FisherInformation, composed_loss, fisher_information
from provable.leakage.metrics.instance import Instance, random_instance
from provable.leakage.metrics.inversion_influence import InversionInfluence, inversion_influence
from provable.leakage.metrics.layer_conditioning import LayerConditioning, layer_conditioning
from provable.leakage.metrics.metric import Metric
from provable.leakage.metrics.reconstruction_robustness import (
    robustness_from_gaussian,
    robustness_from_renyi,
    robustness_of_private_training,
)
from provable.leakage.metrics.renyi_error import renyi_mean_square_error
from provable.leakage.metrics.rgap_index import CountedLayer, RGapIndex, rgap_index
from provable.leakage.metrics.spectrum import Spectrum, spectrum

__all__ = [
    "BatchCramerRao",
    "CountedLayer",
    "CramerRao",
    "FisherInformation",
    "Instance",
    "InversionInfluence",
    "LayerConditioning",
    "Metric",
    "RGapIndex",
    "Spectrum",
    "batch_cramer_rao",
    "composed_loss",
    "cramer_rao",
    "data_ratio",
    "fisher_information",
    "inversion_influence",
    "layer_conditioning",
    "random_instance",
    "renyi_mean_square_error",
    "rgap_index",
    "robustness_from_gaussian",
    "robustness_from_renyi",
    "robustness_of_private_training",
    "spectrum",
    "width_surplus",
]
