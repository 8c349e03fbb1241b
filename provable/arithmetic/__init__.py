"""One formula, several arithmetics: float64, rationals, integers modulo a prime and balls."""

from provable.arithmetic.elementary import arccos, erf, exp, log, positive, sqrt, tanh, to_float
from provable.arithmetic.linear_algebra import determinant, rank, solve
from provable.arithmetic.number_systems import (
    BALL,
    DEFAULT_PRIME,
    EPSILON,
    FLOAT64,
    MODULAR,
    RATIONAL,
    Arithmetic,
    Array,
    Float,
    constant,
    full,
    kind,
)

__all__ = [
    "BALL",
    "DEFAULT_PRIME",
    "EPSILON",
    "FLOAT64",
    "MODULAR",
    "RATIONAL",
    "Arithmetic",
    "Array",
    "Float",
    "arccos",
    "constant",
    "determinant",
    "erf",
    "exp",
    "full",
    "kind",
    "log",
    "positive",
    "rank",
    "solve",
    "sqrt",
    "tanh",
    "to_float",
]
