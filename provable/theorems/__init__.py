"""Theorems as things one can run: what an author of a theorem file needs.

A theorem file assigns a `Theorem` to the name ``theorem`` and registers functions with it: how instances are drawn, which
hypotheses they meet, what is claimed of them, which symbolic steps prove it, which counterexample shows each hypothesis to
be needed, and which false twins the engine has to refute.
"""

from provable.arithmetic import BALL, FLOAT64, MODULAR, RATIONAL
from provable.theorems.checks import Check, at_most, different, equal, holds, less
from provable.theorems.derivation import Step, fact, identity
from provable.theorems.theorem import EVERY_INSTANCE, Source, Theorem

__all__ = [
    "BALL",
    "EVERY_INSTANCE",
    "FLOAT64",
    "MODULAR",
    "RATIONAL",
    "Check",
    "Source",
    "Step",
    "Theorem",
    "at_most",
    "different",
    "equal",
    "fact",
    "holds",
    "identity",
    "less",
]
