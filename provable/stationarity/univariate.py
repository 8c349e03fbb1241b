r"""Two-layer ReLU networks of one input, exactly: knots, pieces and level sets in rational numbers.

The network is :math:`f(x) = \sum_k v_k\,\mathrm{relu}(w_k x + b_k)`. A neuron with :math:`w_k > 0` faces right: it is active
to the right of its knot :math:`t_k = -b_k/w_k`; one with :math:`w_k < 0` faces left. Floats are the rational numbers that
they are, so nothing here is rounded.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

from provable.architectures import Architecture, Linear, ReLU
from provable.errors import InputError
from provable.networks import Parameters

Pair = tuple[Fraction, Fraction]


@dataclasses.dataclass(frozen=True)
class Neuron:
    """One neuron v relu(w x + b), not all of whose numbers are zero.

    Parameters
    ----------
    index : int
        Its place in the hidden layer.
    weight, bias, outer : Fraction
        w, b and v.
    """

    index: int
    weight: Fraction
    bias: Fraction
    outer: Fraction

    @property
    def side(self) -> int:
        """Where it faces: 1 to the right, -1 to the left, 0 if it is constant."""
        return (self.weight > 0) - (self.weight < 0)

    @property
    def knot(self) -> Fraction:
        """-b/w; only neurons that face somewhere have one."""
        return -self.bias / self.weight


@dataclasses.dataclass(frozen=True)
class Level:
    """A largest interval on which sign·f lies within given bounds.

    Parameters
    ----------
    sign : {1, -1}
        The sign.
    left, right : Fraction or None
        Its ends, which belong to it; None where it is unbounded.
    """

    sign: int
    left: Fraction | None
    right: Fraction | None

    @property
    def width(self) -> float:
        """Its length, infinite if it is unbounded."""
        return math.inf if self.left is None or self.right is None else float(self.right - self.left)


@dataclasses.dataclass(frozen=True)
class UnivariateNetwork:
    """The neurons of a network and the pieces on which it is affine.

    Parameters
    ----------
    neurons : tuple of Neuron
        Those that are not zero.
    knots : tuple of Fraction
        The distinct knots, ascending.
    pieces : tuple of (Fraction, Fraction)
        Slope and intercept of f to the left of the first knot, between neighbours, and to the right of the last.
    """

    neurons: tuple[Neuron, ...]
    knots: tuple[Fraction, ...]
    pieces: tuple[Pair, ...]

    def __call__(self, x: Fraction) -> Fraction:
        """Evaluate the network.

        Parameters
        ----------
        x : Fraction
            The input.

        Returns
        -------
        Fraction
            f(x).
        """
        return sum((n.outer * max(n.weight * x + n.bias, Fraction(0)) for n in self.neurons), Fraction(0))

    def levels(self, low: Fraction, high: Fraction) -> tuple[Level, ...]:
        """Find where the network's absolute value lies within bounds.

        Parameters
        ----------
        low, high : Fraction
            The bounds, 0 < low ≤ high.

        Returns
        -------
        tuple of Level
            All x with low ≤ |f(x)| ≤ high, as disjoint intervals, ascending.
        """
        found: list[Level] = []
        ends = (None, *self.knots, None)
        for (slope, intercept), start, stop in zip(self.pieces, ends, ends[1:], strict=False):
            parts = [_within(sign, sign * slope, sign * intercept, (low, high), (start, stop)) for sign in (1, -1)]
            ordered = sorted((part for part in parts if part is not None), key=_left_end)
            for part in ordered:
                last = found[-1] if found else None
                if last is not None and last.sign == part.sign and last.right is not None and last.right == part.left:
                    found[-1] = Level(part.sign, last.left, part.right)
                else:
                    found.append(part)
        return tuple(found)


def _left_end(level: Level) -> tuple[bool, Fraction]:
    return level.left is not None, level.left or Fraction(0)


def _within(
    sign: int,
    slope: Fraction,
    intercept: Fraction,
    bounds: Pair,
    piece: tuple[Fraction | None, Fraction | None],
) -> Level | None:
    """Where slope·x + intercept lies within bounds on one piece."""
    left, right = piece
    if slope == 0:
        return Level(sign, left, right) if bounds[0] <= intercept <= bounds[1] else None
    first, second = sorted((bound - intercept) / slope for bound in bounds)
    left = first if left is None else max(left, first)
    right = second if right is None else min(right, second)
    return Level(sign, left, right) if left <= right else None


def unsupported(architecture: Architecture) -> str | None:
    """Tell whether an architecture is a two-layer ReLU network of one input with a first-layer bias.

    Parameters
    ----------
    architecture : Architecture
        Any architecture.

    Returns
    -------
    str or None
        None if it is, otherwise what is different, in one sentence.
    """
    layers = architecture.layers
    if architecture.input_shape != (1,):
        return f"the inputs have shape {architecture.input_shape}; one number is accepted"
    kinds = [layer.type for layer in layers]
    if kinds != ["linear", "relu", "linear"]:
        return f"the layers are {', '.join(kinds)}; linear, relu, linear are accepted"
    first, activation, last = layers
    assert isinstance(first, Linear) and isinstance(activation, ReLU) and isinstance(last, Linear)
    if not first.bias or last.bias:
        return "a bias in the first layer and none in the last is accepted"
    if last.out_features != 1:
        return f"the network has {last.out_features} outputs; one is accepted"
    return None


def read_network(architecture: Architecture, parameters: Parameters) -> UnivariateNetwork:
    """Read a network's neurons, knots and pieces.

    Parameters
    ----------
    architecture : Architecture
        A two-layer ReLU network of one input with a first-layer bias.
    parameters : Parameters
        θ, in float64.

    Returns
    -------
    UnivariateNetwork
        The network in rational numbers.

    Raises
    ------
    InputError
        If the architecture is another one.
    """
    if (reason := unsupported(architecture)) is not None:
        raise InputError(f"architecture: {reason}")
    columns = (parameters["0/weight"][:, 0], parameters["0/bias"], parameters["2/weight"][0])
    rows = enumerate(zip(*(column.tolist() for column in columns), strict=True))
    return network_of(tuple(Neuron(k, *map(Fraction, row)) for k, row in rows if any(row)))


def network_of(neurons: tuple[Neuron, ...]) -> UnivariateNetwork:
    """Find the pieces of a network given by its neurons.

    Parameters
    ----------
    neurons : tuple of Neuron
        Any neurons.

    Returns
    -------
    UnivariateNetwork
        The network.
    """
    slope, intercept = Fraction(0), Fraction(0)
    changes: dict[Fraction, Pair] = {}
    for neuron in neurons:
        product = neuron.outer * neuron.weight, neuron.outer * neuron.bias
        if neuron.side < 0 or (neuron.side == 0 and neuron.bias > 0):  # active far to the left
            slope, intercept = slope + product[0], intercept + product[1]
        if neuron.side:
            before = changes.get(neuron.knot, (Fraction(0), Fraction(0)))
            changes[neuron.knot] = before[0] + neuron.side * product[0], before[1] + neuron.side * product[1]
    knots, pieces = tuple(sorted(changes)), [(slope, intercept)]
    for knot in knots:
        slope, intercept = slope + changes[knot][0], intercept + changes[knot][1]
        pieces.append((slope, intercept))
    return UnivariateNetwork(neurons, knots, tuple(pieces))
