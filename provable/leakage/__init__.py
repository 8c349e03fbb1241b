"""What a gradient gives away: layer systems and proved ranks."""

from provable.leakage.layer_system import LayerSystem
from provable.leakage.rank import RankBounds, rank_bounds

__all__ = ["LayerSystem", "RankBounds", "rank_bounds"]
