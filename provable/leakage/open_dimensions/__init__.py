"""How many dimensions of the input all gradients together leave open: proofs from below and from above."""

from provable.leakage.open_dimensions.ambiguity import bound_ambiguity
from provable.leakage.open_dimensions.jacobian_rank import JacobianRank, JacobianRefusal, jacobian_rank
from provable.leakage.open_dimensions.nested_rank import NestedRank, nested_rank_bound

__all__ = ["JacobianRank", "JacobianRefusal", "NestedRank", "bound_ambiguity", "jacobian_rank", "nested_rank_bound"]
