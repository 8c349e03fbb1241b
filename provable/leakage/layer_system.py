"""The linear system that one layer's gradient sets up for that layer's input."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.architectures.layers import Conv2d, Linear
from provable.errors import InputError

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class PixelClass:
    """The pixels of one residue modulo the stride on one axis, numbered from 0.

    Parameters
    ----------
    pixels : int
        How many there are.
    covered : int
        How many of them some output position sees.
    shifts : tuple of int
        For every lag that sees the class: position minus number of the pixel. Equal classes are seen in the same way.
    seen : tuple of int
        For the same lags: how many pairs of position and pixel there are.
    """

    pixels: int
    covered: int
    shifts: tuple[int, ...]
    seen: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Axis:
    """How a kernel touches one image axis: which output position sees which pixel through which lag.

    Parameters
    ----------
    pixels : int
        Length of the image axis.
    lags : int
        Length of the kernel.
    stride : int
        Step between neighbouring output positions.
    padding : int
        Zeros before and after the image.
    """

    pixels: int
    lags: int
    stride: int
    padding: int

    @property
    def positions(self) -> int:
        """Number of output positions, ``floor((pixels + 2 padding - lags) / stride) + 1``."""
        return (self.pixels + 2 * self.padding - self.lags) // self.stride + 1

    def touched(self, lag: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """List what one kernel entry touches.

        Parameters
        ----------
        lag : int
            Index of the kernel entry.

        Returns
        -------
        positions, pixels : ndarray of int
            Equally long: output position ``positions[t]`` sees pixel ``pixels[t]``; what falls on padding is left out.
        """
        positions = np.arange(self.positions)
        pixels = self.stride * positions + lag - self.padding
        inside = (pixels >= 0) & (pixels < self.pixels)
        return positions[inside], pixels[inside]

    @functools.cached_property
    def visits(self) -> NDArray[np.intp]:
        """How many pairs of a position and a lag see each pixel, (pixels,)."""
        counts = np.zeros(self.pixels, dtype=np.intp)
        for lag in range(self.lags):
            counts[self.touched(lag)[1]] += 1
        return counts

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Which pixels are seen at all, (pixels,)."""
        result: NDArray[np.bool_] = self.visits > 0
        return result

    @functools.cached_property
    def inside(self) -> NDArray[np.intp]:
        """How many lags of each output position stay inside the image, (positions,)."""
        counts = np.zeros(self.positions, dtype=np.intp)
        for lag in range(self.lags):
            counts[self.touched(lag)[0]] += 1
        return counts

    @functools.cached_property
    def classes(self) -> tuple[PixelClass, ...]:
        """The classes of pixels with equal residues modulo the stride; a lag sees pixels of one class only."""
        result = []
        for residue in range(min(self.stride, self.pixels)):
            shifts, seen = [], []
            for lag in range(self.lags):
                positions, pixels = self.touched(lag)
                if len(positions) and int(pixels[0]) % self.stride == residue:
                    shifts.append(int(positions[0]) - int(pixels[0]) // self.stride)
                    seen.append(len(positions))
            members = self.covered[residue :: self.stride]
            result.append(PixelClass(len(members), int(np.count_nonzero(members)), tuple(shifts), tuple(seen)))
        return tuple(result)

    @property
    def disjoint(self) -> bool:
        """Whether no two output positions share a pixel and no position sees padding."""
        return bool((self.visits <= 1).all() and self.visits.sum() == self.lags * self.positions)


@dataclasses.dataclass(frozen=True)
class LayerSystem:
    r"""The system U x = b that weights and weight gradient of one layer set up for the layer's input x.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of input and output channels (features, for a linear layer).
    input_size : (int, int)
        Height and width of the input, (1, 1) for a linear layer.
    kernel_size, stride, padding : (int, int)
        As in PyTorch, vertical before horizontal.

    Notes
    -----
    With z = W x the pre-activation (bias subtracted) and D = ∂L/∂z the sensitivity, both known, and G = ∂L/∂weight,

    .. math:: U = \begin{pmatrix} W \\ K \end{pmatrix}, \qquad b = \begin{pmatrix} z \\ \mathrm{vec}\, G \end{pmatrix},

    ``W[(o,p,q),(c,i,j)] = weight[o,c,a,b]`` with i = s p + a - padding, j = s q + b - padding, and
    ``K[(o,c,a,b),(c',i,j)] = [c = c'] D[o,p,q]`` for the same pairs. So K is, after a permutation of its rows,
    I ⊗ K̃ with one block per input channel, where K̃ has the rows (o,a,b) and the columns (i,j).
    A linear layer is the case of a 1×1 kernel on a 1×1 image. An attacker who knows z and D solves U x = b; the
    solution is unique if and only if rank U equals the number of unknowns.

    References
    ----------
    Zhu and Blaschko, "R-GAP: Recursive Gradient Attack on Privacy", ICLR 2021.
    Chen and Campbell, "Understanding training-data leakage from gradients in neural networks", arXiv:2111.10178.
    """

    in_channels: int
    out_channels: int
    input_size: tuple[int, int] = (1, 1)
    kernel_size: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        numbers = (self.in_channels, self.out_channels, *self.input_size, *self.kernel_size, *self.stride)
        if min(numbers) < 1 or min(self.padding) < 0 or min(self.output_size) < 1:
            raise InputError(
                f"layer system: channels {self.in_channels} -> {self.out_channels}, input {self.input_size}, kernel "
                f"{self.kernel_size}, stride {self.stride}, padding {self.padding} give no output; positive sizes and a "
                "kernel inside the padded input are accepted"
            )

    @classmethod
    def of_layer(cls, layer: Linear | Conv2d, input_shape: Sequence[int]) -> LayerSystem:
        """Read the system's sizes off a layer.

        Parameters
        ----------
        layer : Linear or Conv2d
            The layer.
        input_shape : sequence of int
            Shape of its input without the batch axis.

        Returns
        -------
        LayerSystem
            The system for the layer's input.
        """
        if isinstance(layer, Linear):
            (features,) = input_shape
            return cls(features, layer.out_features)
        channels, height, width = input_shape
        return cls(
            channels,
            layer.out_channels,
            (height, width),
            layer.kernel_size,
            layer.stride,
            layer.padding,
        )

    @functools.cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """Vertical and horizontal axis."""
        vertical, horizontal = (
            Axis(*sizes) for sizes in zip(self.input_size, self.kernel_size, self.stride, self.padding, strict=True)
        )
        return vertical, horizontal

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the output."""
        return self.axes[0].positions, self.axes[1].positions

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """Shape of the weight, (out_channels, in_channels, kernel height, kernel width)."""
        return (self.out_channels, self.in_channels, *self.kernel_size)

    @property
    def sensitivity_shape(self) -> tuple[int, int, int]:
        """Shape of the sensitivity D, (out_channels, output height, output width)."""
        return (self.out_channels, *self.output_size)

    @property
    def pixels(self) -> int:
        """Number of pixels of one input channel."""
        return self.input_size[0] * self.input_size[1]

    @property
    def positions(self) -> int:
        """Number of output positions."""
        return self.output_size[0] * self.output_size[1]

    @property
    def patch(self) -> int:
        """Number of entries of one patch, in_channels × kernel height × kernel width."""
        return self.in_channels * self.kernel_size[0] * self.kernel_size[1]

    @property
    def unknowns(self) -> int:
        """Number of unknowns, the size of the layer's input."""
        return self.in_channels * self.pixels

    @property
    def forward_equations(self) -> int:
        """Number of rows of W: one per output."""
        return self.out_channels * self.positions

    @property
    def gradient_equations(self) -> int:
        """Number of rows of K: one per weight."""
        return self.out_channels * self.patch

    @functools.cached_property
    def covered(self) -> NDArray[np.bool_]:
        """Which pixels of a channel any output position sees, (height, width)."""
        return np.logical_and.outer(self.axes[0].covered, self.axes[1].covered)

    @property
    def uncovered_unknowns(self) -> int:
        """Number of inputs that no output sees: exact zero columns of U."""
        return self.in_channels * int(np.count_nonzero(~self.covered))

    def touched(self, row: int, column: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """List what the kernel entry (row, column) touches, padding left out.

        Parameters
        ----------
        row, column : int
            Indices into the kernel.

        Returns
        -------
        positions, pixels : ndarray of int
            Equally long flat indices of output positions and of the pixels that they see through this entry.
        """
        vertical, horizontal = (axis.touched(lag) for axis, lag in zip(self.axes, (row, column), strict=True))
        positions = np.add.outer(vertical[0] * self.output_size[1], horizontal[0]).ravel()
        pixels = np.add.outer(vertical[1] * self.input_size[1], horizontal[1]).ravel()
        return positions, pixels

    def lags(self) -> list[tuple[int, int]]:
        """List the kernel entries.

        Returns
        -------
        list of (int, int)
            Row and column indices, row-major.
        """
        return [(row, column) for row in range(self.kernel_size[0]) for column in range(self.kernel_size[1])]

    def forward_matrix(self, weight: Array) -> Array:
        """Write the forward map as a dense matrix.

        Parameters
        ----------
        weight : ndarray of shape (out_channels, in_channels, kernel height, kernel width)
            Numbers of any kind; (out, in) is accepted for a linear layer.

        Returns
        -------
        ndarray of shape (forward_equations, unknowns)
            W, with W x = z - bias.
        """
        weight = np.asarray(weight).reshape(self.weight_shape)
        matrix = np.zeros((self.out_channels, self.positions, self.in_channels, self.pixels), dtype=weight.dtype)
        for row, column in self.lags():
            positions, pixels = self.touched(row, column)
            matrix[:, positions, :, pixels] = weight[None, :, :, row, column]
        return matrix.reshape(self.forward_equations, self.unknowns)

    def gradient_block(self, sensitivity: Array) -> Array:
        """Write the gradient as a linear map of one input channel.

        Parameters
        ----------
        sensitivity : ndarray of shape (out_channels, output height, output width)
            D = ∂L/∂z, numbers of any kind.

        Returns
        -------
        ndarray of shape (out_channels * kernel height * kernel width, pixels)
            K̃, rows ordered (o, a, b).
        """
        sensitivity = np.asarray(sensitivity).reshape(self.out_channels, self.positions)
        block = np.zeros((self.out_channels, len(self.lags()), self.pixels), dtype=sensitivity.dtype)
        for index, (row, column) in enumerate(self.lags()):
            positions, pixels = self.touched(row, column)
            block[:, index, pixels] = sensitivity[:, positions]
        return block.reshape(-1, self.pixels)

    def gradient_matrix(self, sensitivity: Array) -> Array:
        """Write the gradient as a dense matrix; meant for small layers, `gradient_block` holds the same numbers.

        Parameters
        ----------
        sensitivity : ndarray of shape (out_channels, output height, output width)
            D = ∂L/∂z, numbers of any kind.

        Returns
        -------
        ndarray of shape (gradient_equations, unknowns)
            K, with K x = vec(∂L/∂weight), rows ordered (o, c, a, b).
        """
        block = self.gradient_block(sensitivity).reshape(self.out_channels, -1, self.pixels)
        matrix = np.zeros((self.out_channels, self.in_channels, block.shape[1], self.unknowns), dtype=block.dtype)
        for channel in range(self.in_channels):
            matrix[:, channel, :, channel * self.pixels : (channel + 1) * self.pixels] = block
        return matrix.reshape(self.gradient_equations, self.unknowns)

    def matrix(self, weight: Array, sensitivity: Array) -> Array:
        """Stack forward and gradient equations; meant for small layers.

        Parameters
        ----------
        weight : ndarray of shape (out_channels, in_channels, kernel height, kernel width)
            Weights.
        sensitivity : ndarray of shape (out_channels, output height, output width)
            D = ∂L/∂z.

        Returns
        -------
        ndarray of shape (forward_equations + gradient_equations, unknowns)
            U = [W; K].
        """
        return np.vstack([self.forward_matrix(weight), self.gradient_matrix(sensitivity)])

    def patches(self, inputs: Array) -> Array:
        """Cut an input into its zero-padded patches (im2col).

        Parameters
        ----------
        inputs : ndarray of shape (in_channels, height, width)
            The layer's input, numbers of any kind.

        Returns
        -------
        ndarray of shape (patch, positions)
            P, rows ordered (c, a, b): z = weight P and ∂L/∂weight = D Pᵀ as matrices.
        """
        inputs = np.asarray(inputs).reshape(self.in_channels, self.pixels)
        patches = np.zeros((self.in_channels, len(self.lags()), self.positions), dtype=inputs.dtype)
        for index, (row, column) in enumerate(self.lags()):
            positions, pixels = self.touched(row, column)
            patches[:, index, positions] = inputs[:, pixels]
        return patches.reshape(self.patch, self.positions)
