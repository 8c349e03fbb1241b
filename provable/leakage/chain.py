"""How an attacker's recursion runs through a network: its layers with parameters, what hides their outputs, its start."""

from __future__ import annotations

import dataclasses

from provable.architectures import (
    ELU,
    GELU,
    Activation,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    SiLU,
)
from provable.architectures.fields import Shape
from provable.errors import UnsupportedError
from provable.leakage.layer_systems.layer_system import LayerSystem

INJECTIVE = "injective"
LOCALLY_INJECTIVE = "locally injective"
FLAT_PIECE = "with a flat piece"


@dataclasses.dataclass(frozen=True)
class Link:
    """A layer with parameters and the activations behind it.

    Parameters
    ----------
    path : str
        Its place, ``"4"``, or ``"4.1"`` and ``"4.shortcut.0"`` inside a residual block.
    layer : Conv2d or Linear
        The layer.
    system : LayerSystem
        The system for its input.
    activations : tuple of Activation
        What follows it, up to the next layer of another kind.
    hidden : tuple of str
        Why its outputs or their sensitivities are not known to the recursion, even if all that is behind it is known.
    """

    path: str
    layer: Conv2d | Linear
    system: LayerSystem
    activations: tuple[Activation, ...]
    hidden: tuple[str, ...]

    @property
    def index(self) -> int:
        """Position in the architecture, of the residual block if the layer is inside one."""
        return int(self.path.partition(".")[0])

    @property
    def name(self) -> str:
        """How messages call the layer."""
        return f"layer {self.path} ({self.layer.type})"

    @property
    def is_convolution(self) -> bool:
        """Whether the layer is a convolution."""
        return isinstance(self.layer, Conv2d)

    @property
    def is_on_main_path(self) -> bool:
        """Whether the layer is not on a shortcut."""
        return "shortcut" not in self.path

    @property
    def passes(self) -> str:
        """What the activations let through: ``"injective"``, ``"locally injective"`` or ``"with a flat piece"``."""
        return _passing_all(self.activations)

    @property
    def repeats_values(self) -> bool:
        """Whether some activation takes a value twice where it is not flat, so that a sensitivity has several candidates."""
        return any(passing(activation) == LOCALLY_INJECTIVE for activation in self.activations)

    @property
    def is_affine(self) -> bool:
        """Whether nothing but affine functions follows, so that the derivative is the same everywhere."""
        return _is_affine(self.activations)


@dataclasses.dataclass(frozen=True)
class Start:
    """Where an attacker's recursion starts.

    Parameters
    ----------
    position : int or None
        Which link's input is known first; None if there is no such link.
    how : str
        Why it is known, or why there is none, in a sentence.
    unique : bool
        False if it is known up to two candidates only.
    """

    position: int | None
    how: str
    unique: bool


@dataclasses.dataclass(frozen=True)
class Chain:
    """A network as the recursion reads it.

    Parameters
    ----------
    links : tuple of Link
        Layers with parameters from the input on, a block's layers before those on its shortcut.
    sees_sample : bool
        Whether the first link's input is the sample itself, but for its shape and a bijective affine map per channel.
    start : Start
        Where the recursion starts.
    """

    links: tuple[Link, ...]
    sees_sample: bool
    start: Start


def _degree(activation: Polynomial) -> int:
    return max((power for power, value in enumerate(activation.coefficients) if value), default=0)


def _is_affine(activations: tuple[Activation, ...]) -> bool:
    return all(
        isinstance(activation, Identity) or (isinstance(activation, Polynomial) and _degree(activation) <= 1)
        for activation in activations
    )


def passing(activation: Activation) -> str:
    """Tell what an activation lets through.

    Parameters
    ----------
    activation : Activation
        The activation.

    Returns
    -------
    {"injective", "locally injective", "with a flat piece"}
        The second for functions whose derivative vanishes at isolated points only, but which take some values more than
        once; the third for functions that are constant on an interval.
    """
    if isinstance(activation, ReLU):
        return FLAT_PIECE
    if isinstance(activation, LeakyReLU | ELU):
        slope = activation.negative_slope if isinstance(activation, LeakyReLU) else activation.alpha
        return INJECTIVE if slope > 0 else LOCALLY_INJECTIVE if slope < 0 else FLAT_PIECE
    if isinstance(activation, Polynomial):
        return INJECTIVE if _degree(activation) == 1 else LOCALLY_INJECTIVE if _degree(activation) else FLAT_PIECE
    return LOCALLY_INJECTIVE if isinstance(activation, GELU | SiLU) else INJECTIVE


def _passing_all(activations: tuple[Activation, ...]) -> str:
    kinds = [passing(activation) for activation in activations]
    return next((kind for kind in (FLAT_PIECE, LOCALLY_INJECTIVE) if kind in kinds), INJECTIVE)


@dataclasses.dataclass
class _Entry:
    """A link while it is read."""

    path: str
    layer: Conv2d | Linear
    shape: Shape
    activations: list[Activation]
    hidden: list[str]


class _Reader:
    """Walks through the layers of a network; `current` is the link that the next activation belongs to."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self.entries: list[_Entry] = []
        self.current: _Entry | None = None
        self.sees_sample = True

    def walk(self, layers: tuple[Layer, ...], shape: Shape, prefix: str = "", inside: str = "") -> None:
        for index, layer in enumerate(layers):
            self._read(layer, shape, f"{prefix}{index}", inside)
            shape = layer.output_shape(shape)

    def _read(self, layer: Layer, shape: Shape, path: str, inside: str) -> None:
        name = f"layer {path} ({layer.type})"
        match layer:
            case Conv2d() | Linear():
                self._enter(path, layer, shape, inside)
            case Activation():
                if isinstance(layer, Polynomial) and _degree(layer) == 0:
                    raise UnsupportedError(
                        f"{name}: is constant, so no gradient passes; a degree of at least 1 is accepted"
                    )
                if self.current is not None:
                    self.current.activations.append(layer)
                elif not self.entries:
                    raise UnsupportedError(
                        f"{name}: comes before the first layer with parameters; none is accepted there"
                    )
            case AvgPool2d() | MaxPool2d():
                if layer.output_shape(shape) == shape and layer.kernel_size == (1, 1):
                    return
                what = "means of" if isinstance(layer, AvgPool2d) else "the greatest of"
                self._hide(f"{name} behind it shows {what} its outputs only")
            case Residual():
                self._hide(f"{name} behind it is not solved for its input")
                block = "the input of its residual block also passes around it, so a sum is known and not the output"
                self.walk(layer.layers, shape, f"{path}.", block)
                self.current = None
                self.walk(layer.shortcut, shape, f"{path}.shortcut.", block)
                self.current = None
            case Flatten() | BatchNorm2d():
                pass
            case _:
                raise UnsupportedError(f"{name}: has no layer system here")

    def _enter(self, path: str, layer: Conv2d | Linear, shape: Shape, inside: str) -> None:
        previous = self.current
        if (
            previous is not None
            and isinstance(previous.layer, Conv2d)
            and isinstance(layer, Conv2d)
            and _is_affine(tuple(previous.activations))
        ):
            previous.hidden.append("its sensitivities are a linear image of the next layer's and not free")
        self.current = _Entry(path, layer, shape, [], [inside] if inside else [])
        self.entries.append(self.current)

    def _hide(self, reason: str) -> None:
        if self.current is not None:
            self.current.hidden.append(reason)
            self.current = None
        elif not self.entries:
            self.sees_sample = False

    def links(self) -> tuple[Link, ...]:
        return tuple(self._link(entry) for entry in self.entries)

    def _link(self, entry: _Entry) -> Link:
        hidden = list(entry.hidden)
        # A linear layer needs no outputs, only sensitivities, and where a flat piece makes them 0 the next input tells.
        if isinstance(entry.layer, Conv2d) and _passing_all(tuple(entry.activations)) == FLAT_PIECE:
            names = " and ".join(activation.type for activation in entry.activations)
            hidden.append(f"{names} hides inactive outputs, how many depends on the sample")
        system = LayerSystem.of_layer(entry.layer, entry.shape, batch_size=self.batch_size)
        return Link(entry.path, entry.layer, system, tuple(entry.activations), tuple(hidden))


def chain(architecture: Architecture, *, batch_size: int = 1) -> Chain:
    """Read a network as the recursion does.

    Parameters
    ----------
    architecture : Architecture
        The network.
    batch_size : int, optional
        Number of samples behind the gradient.

    Returns
    -------
    Chain
        At least one link.

    Raises
    ------
    UnsupportedError
        If there is no layer with parameters, an activation before the first one, or a constant activation.
    """
    reader = _Reader(batch_size)
    reader.walk(architecture.layers, architecture.input_shape)
    links = reader.links()
    if not links:
        last = len(architecture.layers) - 1
        raise UnsupportedError(
            f"layer {last} ({architecture.layers[last].type}): ends a network without parameters; a layer with parameters is "
            "needed"
        )
    return Chain(links, reader.sees_sample, _start(architecture, links, batch_size))


def _start(architecture: Architecture, links: tuple[Link, ...], batch_size: int) -> Start:
    if batch_size > 1:
        how = (
            f"the gradient is a sum over {batch_size} samples, of whose inputs to a linear layer only mixtures are known, so "
            "nothing is known to start a recursion from; ranks take the outputs and sensitivities of every sample as known"
        )
        return Start(None, how, False)
    for position, link in enumerate(links):
        if not link.is_convolution and link.layer.bias and "." not in link.path:
            how = (
                f"{link.name} has a bias: its weight gradient divided by its bias gradient is its input, and the bias "
                "gradient is its sensitivity, whatever follows (some entry of the bias gradient is not 0)"
            )
            return Start(position, how, True)
    last = len(architecture.layers) - 1
    if links[-1].is_convolution or links[-1].path != str(last):
        how = (
            f"layer {last} ({architecture.layers[last].type}) ends the network and no linear layer outside of residual "
            "blocks has a bias, so nothing is known to start a recursion from"
        )
        return Start(None, how, False)
    outputs = architecture.output_size
    unique = outputs > 2 if architecture.loss == "cross_entropy" else outputs > 1
    number = "one scale" if unique else "at most two scales (twins)"
    if unique and architecture.loss == "squared":  # W x = c y: the scale t of x fulfils t W x - y = (W x - y) / t
        number += ", or two (twins) if the label is a multiple of the outputs, as a label of zeros is"
    how = (
        f"{links[-1].name} has no bias: its weight gradient gives its input up to scale, and the {architecture.loss} loss "
        f"with a known label leaves {number}"
    )
    return Start(len(links) - 1, how, unique)
