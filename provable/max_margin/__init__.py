"""The two-layer ReLU network of largest margin: exact, with a proof that there is no better one."""

from provable.max_margin.certificate import certify_optimality
from provable.max_margin.maximisation import maximise_margin
from provable.max_margin.result import MaxMarginNetwork

__all__ = ["MaxMarginNetwork", "certify_optimality", "maximise_margin"]
