r"""The linear system for a layer's input: what went forward through its windows, and what its weight gradient says.

With z = W x the layer's output (bias subtracted), D = ∂L/∂z and G = ∂L/∂weight, the input x obeys W x = z and K x = vec G,
where K = I ⊗ K̃ has one block for each input channel: K̃ has the rows (output channel, kernel row, kernel column), the
columns (pixel), and D at the position that sees the pixel through this kernel entry. K is never formed.

References
----------
J. Zhu and M. Blaschko, R-GAP: Recursive gradient attack on privacy, ICLR 2021, Section 3.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from provable.architectures import AvgPool2d, Conv2d
from provable.architectures.fields import Pair, Shape
from provable.networks.windows import patches

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class System:
    """W x = z on some rows and (I ⊗ K̃) x = g, in least squares.

    Parameters
    ----------
    forward : sparse array of shape (r, channels * pixels)
        The rows of W that are used, already weighted.
    outputs : array of shape (r,)
        z on these rows, weighted likewise.
    block : array of shape (m, pixels)
        K̃.
    gradients : array of shape (m, channels)
        G, a column for each input channel.
    size : float
        Norm of the weighted outputs before the bias was subtracted, whose rounding errors z has.
    """

    forward: Any
    outputs: Float
    block: Float
    gradients: Float
    size: float = 0.0

    @property
    def channels(self) -> int:
        """Number of input channels."""
        return int(self.gradients.shape[1])

    @property
    def pixels(self) -> int:
        """Number of pixels of a channel."""
        return int(self.block.shape[1])

    @property
    def unknowns(self) -> int:
        """Number of entries of x."""
        return self.channels * self.pixels

    @property
    def equations(self) -> int:
        """Number of rows of W and K together."""
        return len(self.outputs) + len(self.block) * self.channels


def forward_matrix(layer: Conv2d | AvgPool2d, weight: Float | None, input_shape: Shape) -> Any:
    """Write a convolution or an average pooling as a sparse matrix.

    Parameters
    ----------
    layer : Conv2d or AvgPool2d
        The layer.
    weight : array of shape (out, channels, kernel height, kernel width) or None
        The filters; None for pooling.
    input_shape : tuple of int
        (channels, height, width).

    Returns
    -------
    sparse array of shape (out * positions, channels * height * width)
        W.
    """
    channels, height, width = input_shape
    places = _places(layer.kernel_size, layer.stride, layer.padding, (height, width))
    lag, position = np.nonzero(places >= 0)
    pixel = places[lag, position]
    positions, pixels = places.shape[1], height * width
    if weight is None:
        pairs = np.array([(channel, channel) for channel in range(channels)])
        entries = np.full((channels, len(lag)), 1.0 / math.prod(layer.kernel_size))
        outputs = channels
    else:
        outputs = len(weight)
        pairs = np.array([(out, channel) for out in range(outputs) for channel in range(channels)])
        entries = weight.reshape(len(pairs), -1)[:, lag]
    rows = (pairs[:, :1] * positions + position).ravel()
    columns = (pairs[:, 1:] * pixels + pixel).ravel()
    shape = (outputs * positions, channels * pixels)
    return scipy.sparse.csr_array((entries.ravel(), (rows, columns)), shape=shape)


def gradient_block(layer: Conv2d, sensitivity: Float, input_shape: Shape) -> Float:
    """Write the weight gradient as a linear map of one input channel.

    Parameters
    ----------
    layer : Conv2d
        The layer.
    sensitivity : array of shape (out, rows, columns)
        D = ∂L/∂z.
    input_shape : tuple of int
        (channels, height, width).

    Returns
    -------
    array of shape (out * kernel height * kernel width, height * width)
        K̃.
    """
    _, height, width = input_shape
    places = _places(layer.kernel_size, layer.stride, layer.padding, (height, width))
    flat = sensitivity.reshape(len(sensitivity), -1)
    block = np.zeros((len(flat), len(places), height * width))
    for lag, pixels in enumerate(places):
        inside = pixels >= 0
        block[:, lag, pixels[inside]] = flat[:, inside]
    return block.reshape(-1, height * width)


def gradient_columns(gradient: Float) -> Float:
    """Sort a weight gradient as the rows of K̃ are.

    Parameters
    ----------
    gradient : array of shape (out, channels, kernel height, kernel width)
        ∂L/∂weight.

    Returns
    -------
    array of shape (out * kernel height * kernel width, channels)
        A column for each input channel.
    """
    channels = gradient.shape[1]
    return np.ascontiguousarray(gradient.transpose(0, 2, 3, 1).reshape(-1, channels))


def _places(kernel: Pair, stride: Pair, padding: Pair, extents: Pair) -> NDArray[np.intp]:
    """Pixel seen through every kernel entry (rows) from every position (columns); -1 on padding."""
    numbered = np.arange(1.0, math.prod(extents) + 1).reshape(1, 1, *extents)
    windows = patches(numbered, kernel, stride, padding)
    return windows.reshape(math.prod(kernel), -1).astype(np.intp) - 1
