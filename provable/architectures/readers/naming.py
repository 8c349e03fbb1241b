"""From recognised layers to a description: the name and the loss, which foreign formats do not have."""

from __future__ import annotations

from provable.architectures.architecture import Architecture
from provable.architectures.fields import Shape
from provable.architectures.layers import Layer, chain_shapes


def described(name: str, input_shape: Shape, layers: tuple[Layer, ...], loss: str | None) -> Architecture:
    """Describe a network.

    Parameters
    ----------
    name : str
        What it is called; characters that cannot be printed are replaced.
    input_shape : tuple of int
        Shape of one sample.
    layers : tuple of Layer
        Its layers.
    loss : str or None
        The loss; None for logistic with one output and cross_entropy with more.

    Returns
    -------
    Architecture
        The description.
    """
    printable = "".join(letter if letter.isprintable() else "?" for letter in name)[:200] or "model"
    if loss is None:
        loss = "logistic" if layers and chain_shapes(layers, input_shape)[-1] == (1,) else "cross_entropy"
    return Architecture(printable, input_shape, layers, loss)
