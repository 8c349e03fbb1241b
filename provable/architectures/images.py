"""Frozen descriptions of the layers on images, of shape (channels, height, width): convolution, pooling, normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provable.architectures import fields
from provable.architectures.activations import Layer
from provable.architectures.fields import Pair, Shape
from provable.errors import InputError


def _image(layer: Layer, input_shape: Shape) -> tuple[int, int, int]:
    if len(input_shape) != 3:
        raise InputError(f"found an input of shape {input_shape}; {layer.type} accepts (channels, height, width) only")
    return input_shape[0], input_shape[1], input_shape[2]


def _windows(extents: Pair, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    padded = (extents[0] + 2 * padding[0], extents[1] + 2 * padding[1])
    if kernel[0] > padded[0] or kernel[1] > padded[1]:
        raise InputError(
            f"kernel_size: found {kernel} on a padded input of {padded[0]} by {padded[1]}; "
            "a kernel that fits into it is accepted"
        )
    if stride[0] > padded[0] or stride[1] > padded[1]:
        raise InputError(
            f"stride: found {stride} on a padded input of {padded[0]} by {padded[1]}; a stride of at most that is accepted"
        )
    return (padded[0] - kernel[0]) // stride[0] + 1, (padded[1] - kernel[1]) // stride[1] + 1


@dataclass(frozen=True, init=False)
class Conv2d(Layer):
    """Two-dimensional cross-correlation with zero padding, as PyTorch's convolution.

    Parameters
    ----------
    out_channels : int
        The number of filters.
    kernel_size : int or tuple of two int
        Height and width of a filter.
    stride, padding : int or tuple of two int
        Vertical and horizontal step, and zeros added on each side.
    bias : bool
        Whether a constant is added to every output channel.
    """

    type: ClassVar[str] = "conv2d"
    out_channels: int
    kernel_size: Pair
    stride: Pair
    padding: Pair
    bias: bool

    def __init__(
        self,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
    ) -> None:
        name = self.type
        channels = fields.integer(out_channels, f"{name}.out_channels", minimum=1)
        object.__setattr__(self, "out_channels", channels)
        object.__setattr__(self, "kernel_size", fields.pair(kernel_size, f"{name}.kernel_size", minimum=1))
        object.__setattr__(self, "stride", fields.pair(stride, f"{name}.stride", minimum=1))
        object.__setattr__(self, "padding", fields.pair(padding, f"{name}.padding", minimum=0))
        object.__setattr__(self, "bias", fields.boolean(bias, f"{name}.bias"))

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample.

        Parameters
        ----------
        input_shape : tuple of int
            (channels, height, width).

        Returns
        -------
        tuple of int
            (out_channels, height', width') with height' = ⌊(height + 2 padding - kernel) / stride⌋ + 1.

        Raises
        ------
        InputError
            If the input is no image or smaller than the kernel or the stride.
        """
        channels, height, width = _image(self, input_shape)
        padded = (channels, height + 2 * self.padding[0], width + 2 * self.padding[1])
        windows = _windows((height, width), self.kernel_size, self.stride, self.padding)
        fields.bounded(padded, "a padded input")
        return self.out_channels, *windows

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shapes of the parameters.

        Parameters
        ----------
        input_shape : tuple of int
            (channels, height, width).

        Returns
        -------
        dict of str to tuple of int
            ``weight`` (out_channels, channels, kernel height, kernel width) and, if wanted, ``bias`` (out_channels,).
        """
        channels, _, _ = _image(self, input_shape)
        weight = fields.bounded((self.out_channels, channels, *self.kernel_size), "a weight")
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})


@dataclass(frozen=True, init=False)
class _Pool2d(Layer):
    kernel_size: Pair
    stride: Pair
    padding: Pair

    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0) -> None:
        name = self.type
        kernel = fields.pair(kernel_size, f"{name}.kernel_size", minimum=1)
        object.__setattr__(self, "kernel_size", kernel)
        step = kernel if stride is None else fields.pair(stride, f"{name}.stride", minimum=1)
        object.__setattr__(self, "stride", step)
        margin = fields.pair(padding, f"{name}.padding", minimum=0)
        if margin[0] > kernel[0] // 2 or margin[1] > kernel[1] // 2:
            raise InputError(f"{name}.padding: found {fields.shown(padding)}; at most half the kernel is accepted")
        object.__setattr__(self, "padding", margin)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample.

        Parameters
        ----------
        input_shape : tuple of int
            (channels, height, width).

        Returns
        -------
        tuple of int
            (channels, height', width') with height' = ⌊(height + 2 padding - kernel) / stride⌋ + 1.

        Raises
        ------
        InputError
            If the input is no image or smaller than the kernel or the stride.
        """
        channels, height, width = _image(self, input_shape)
        padded = (channels, height + 2 * self.padding[0], width + 2 * self.padding[1])
        windows = _windows((height, width), self.kernel_size, self.stride, self.padding)
        fields.bounded(padded, "a padded input")
        return channels, *windows


@dataclass(frozen=True, init=False)
class AvgPool2d(_Pool2d):
    """Mean over windows; padded zeros are counted (PyTorch's ``count_include_pad=True``).

    Parameters
    ----------
    kernel_size : int or tuple of two int
        Height and width of a window.
    stride : int or tuple of two int, optional
        Steps; default the kernel size.
    padding : int or tuple of two int
        Zeros added on each side, at most half the kernel.
    """

    type: ClassVar[str] = "avg_pool2d"


@dataclass(frozen=True, init=False)
class MaxPool2d(_Pool2d):
    """Maximum over windows; padding never wins, and of equal entries the first in row-major order does.

    Parameters
    ----------
    kernel_size : int or tuple of two int
        Height and width of a window.
    stride : int or tuple of two int, optional
        Steps; default the kernel size.
    padding : int or tuple of two int
        Entries of -∞ added on each side, at most half the kernel.
    """

    type: ClassVar[str] = "max_pool2d"


@dataclass(frozen=True)
class BatchNorm2d(Layer):
    """Normalisation of every channel in evaluation mode: weight · (x - mean) / √(variance + eps) + bias.

    Parameters
    ----------
    eps : float
        A positive number added to the running variance.
    """

    type: ClassVar[str] = "batch_norm2d"
    eps: float = 1e-5

    def __post_init__(self) -> None:
        eps = fields.finite(self.eps, f"{self.type}.eps")
        if eps <= 0:
            raise InputError(f"{self.type}.eps: found {eps}; a positive number is accepted")
        object.__setattr__(self, "eps", eps)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample.

        Parameters
        ----------
        input_shape : tuple of int
            (channels, height, width).

        Returns
        -------
        tuple of int
            The same.

        Raises
        ------
        InputError
            If the input is no image.
        """
        return _image(self, input_shape)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shapes of the parameters.

        Parameters
        ----------
        input_shape : tuple of int
            (channels, height, width).

        Returns
        -------
        dict of str to tuple of int
            ``weight`` and ``bias``, both (channels,).
        """
        channels, _, _ = _image(self, input_shape)
        return {"weight": (channels,), "bias": (channels,)}
