r"""What is known of z and σ'(z) when σ(z) is known up to an error: lower bounds of slopes, upper bounds of their changes.

σ is strictly increasing and continuous on the whole line, and ẑ known. For every z with |σ(z) - σ(ẑ)| ≤ e:

smooth σ
    If σ' ≥ l on [ẑ - h, ẑ + h] and l h ≥ e, then |z - ẑ| ≤ h (otherwise σ, being increasing, would have changed by more than
    l h), hence |σ(z) - σ(ẑ)| ≥ l |z - ẑ|, and |σ'(z) - σ'(ẑ)| ≤ sup|σ''|·|z - ẑ| ≤ (sup|σ''|/l)·|σ(z) - σ(ẑ)|.
leaky ReLU
    If |σ(ẑ)| > e, then z has the sign of ẑ and σ' does not change. Otherwise |σ(z) - σ(ẑ)| ≥ min(1, slope)·|z - ẑ|, and σ'
    changes by at most |1 - slope|.
"""

from __future__ import annotations

import dataclasses

from flint import arb

from provable.checker.activations import jet
from provable.checker.description import Layer
from provable.checker.verdict import Invalid, Undecided

SMOOTH = frozenset({"identity", "tanh", "sigmoid", "softplus", "erf"})
"""Strictly increasing activations with two continuous derivatives."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of an activation: balls of σ(ẑ) and σ'(ẑ); exact bounds as in the module's description.

    Parameters
    ----------
    lowest : arb
        |σ(z) - σ(ẑ)| ≥ lowest·|z - ẑ|.
    bend, jump : arb
        |σ'(z) - σ'(ẑ)| ≤ bend·|σ(z) - σ(ẑ)| + jump.
    steepest : arb
        σ'(z) ≤ steepest.
    """

    lowest: arb
    bend: arb
    jump: arb
    steepest: arb


def value(layer: Layer, z: arb) -> tuple[arb, arb]:
    """Enclose σ(ẑ) and σ'(ẑ).

    Parameters
    ----------
    layer : dict
        The activation.
    z : arb
        ẑ.

    Returns
    -------
    tuple of arb
        The two numbers.

    Raises
    ------
    Invalid
        If the activation is of no kind that is inverted here.
    Undecided
        If the sign of an argument of leaky ReLU is not known.
    """
    if layer["type"] in SMOOTH:
        output, slope, _, _ = jet(layer, z)
        return output, slope
    if layer["type"] != "leaky_relu":
        raise Invalid(f"the activation {layer['type']} is not inverted by this claim")
    if not jet(layer, arb(-1))[1] > 0:  # whatever the sign of this argument is, others may have the other one
        raise Invalid("a leaky_relu has a slope that is not positive")
    if z.is_zero():
        raise Invalid("an argument of leaky_relu is exactly zero, where its slope is not known")
    if not (z > 0 or z < 0):
        raise Undecided
    output, slope, _, _ = jet(layer, z)
    return output, slope


def entry(layer: Layer, z: arb, output: arb, slope: arb, error: arb) -> Entry:
    """Bound slopes wherever σ(z) lies within an error of σ(ẑ).

    Parameters
    ----------
    layer : dict
        The activation.
    z, output, slope : arb
        ẑ, σ(ẑ) and σ'(ẑ).
    error : arb
        e, exact and nonnegative.

    Returns
    -------
    Entry
        The bounds.

    Raises
    ------
    Invalid
        If the error reaches the end of the range of σ, as far as can be proved.
    """
    zero = arb(0)
    if layer["type"] == "leaky_relu":
        if abs(output) > error:
            return Entry(slope.lower(), zero, zero, slope.abs_upper())
        below = jet(layer, arb(-1))[1]
        jump = (1 - below).abs_upper()
        return Entry((below if below < 1 else arb(1)).lower(), zero, jump, (below if below > 1 else arb(1)).abs_upper())
    reach = (2 * error / slope).abs_upper()
    _, first, second, _ = jet(layer, z + arb(0, reach))
    lowest = first.lower()
    if not (lowest > 0 and lowest * reach >= error):
        raise Invalid(f"the range of a {layer['type']} ends within the error of its output")
    return Entry(lowest, (second.abs_upper() / lowest).abs_upper(), zero, first.abs_upper())
