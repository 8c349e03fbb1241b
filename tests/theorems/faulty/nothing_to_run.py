"""A statement without evidence."""

from provable.theorems import Source, Theorem

theorem = Theorem(statement="nothing", source=Source("faulty on purpose"))
