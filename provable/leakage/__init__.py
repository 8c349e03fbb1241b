"""What a gradient gives away: layer systems, proved ranks, and the audit of an architecture."""

from provable.leakage.audit import audit
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.rank import RankBounds, rank_bounds
from provable.leakage.result import Ambiguity, Audit, LayerAudit

__all__ = ["Ambiguity", "Audit", "LayerAudit", "LayerSystem", "RankBounds", "audit", "rank_bounds"]
