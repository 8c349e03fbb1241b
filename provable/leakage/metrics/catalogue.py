"""All metrics with their descriptions, those of the audit included, for tables."""

from __future__ import annotations

from provable.leakage.metrics.batch_cramer_rao import METRIC as BATCH_CRAMER_RAO
from provable.leakage.metrics.counts import DATA_RATIO_METRIC, WIDTH_METRIC
from provable.leakage.metrics.cramer_rao import METRIC as CRAMER_RAO
from provable.leakage.metrics.fisher_information import DIAGONAL_METRIC
from provable.leakage.metrics.fisher_information import METRIC as FISHER_INFORMATION
from provable.leakage.metrics.inversion_influence import METRIC as INVERSION_INFLUENCE
from provable.leakage.metrics.layer_conditioning import METRIC as LAYER_CONDITIONING
from provable.leakage.metrics.metric import Metric
from provable.leakage.metrics.reconstruction_robustness import METRIC as RECONSTRUCTION_ROBUSTNESS
from provable.leakage.metrics.renyi_error import METRIC as RENYI_ERROR
from provable.leakage.metrics.rgap_index import METRIC as RGAP_INDEX

AMBIGUITY = Metric(
    name="open dimensions (N*)",
    question="How many dimensions of the sample do all gradients together leave open?",
    definition="nullity of the derivative of x ↦ all gradients",
    unit="dimensions of the input",
    needs="architecture",
    source="`provable audit`; as a count of the nested ranks, derived here",
    cannot_see=(
        "conditioning: what is determined may be hopeless to compute",
        "other samples with the same gradient, far away (unless it is a null space of the first layer)",
        "prior knowledge that fills what is open",
        "noise",
    ),
)

C_METRIC = Metric(
    name="c(M)",
    question="Does an attack layer by layer get stuck, and how near to the input?",
    definition="Σ_i round((d - i + 1)/d · (rank U_i - n_i)) over the convolutions i = 1 … d",
    unit="weighted missing equations, negative",
    needs="architecture",
    source="Chen and Campbell, BMVC 2022, arXiv:2111.10178; formula as in the released code",
    cannot_see=(
        "what all gradients determine together (N*)",
        "the size of the layers' inputs: it is not normalised",
        "linear layers, and equations from other layers",
        "noise",
    ),
)

METRICS: tuple[Metric, ...] = (
    AMBIGUITY,
    C_METRIC,
    RGAP_INDEX,
    LAYER_CONDITIONING,
    WIDTH_METRIC,
    DATA_RATIO_METRIC,
    CRAMER_RAO,
    BATCH_CRAMER_RAO,
    FISHER_INFORMATION,
    DIAGONAL_METRIC,
    INVERSION_INFLUENCE,
    RENYI_ERROR,
    RECONSTRUCTION_ROBUSTNESS,
)
"""From what the architecture alone says to what a privacy budget alone says."""
