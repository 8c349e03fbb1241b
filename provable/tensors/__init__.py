"""Canonical decompositions of third-order tensors: simultaneous diagonalisation and Kruskal's rank of a factor."""

from provable.tensors.jennrich import jennrich
from provable.tensors.kruskal import kruskal_rank

__all__ = ["jennrich", "kruskal_rank"]
