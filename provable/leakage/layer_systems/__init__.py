"""The linear equations that one layer's outputs and gradient give for its input, and proofs of their rank."""

from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.rank import RankBounds, rank_bounds

__all__ = ["LayerSystem", "RankBounds", "rank_bounds"]
