r"""Convolutions and linear layers in balls, both as sums over windows: values, adjoint, weight gradient, bounds of norms.

A linear layer is a convolution of an image of one pixel by a kernel of one entry. With P(x) the matrix whose columns are
the windows of x (channels × kernel entries by positions), the layer is z = W P(x) + b; with D = ∂ℓ/∂z (channels of the
output by positions) its weight gradient is D P(x)ᵀ, and the same as a linear map of x is K(D), which acts on every
channel of x by one matrix K̃(D) (output channels × kernel entries by pixels).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from flint import arb, arb_mat

from provable.checker.archive import Archive, Numbers
from provable.checker.bounds import length, spectral
from provable.checker.description import ACTIVATIONS, Layer, Shape, layers_of, output_shape, pair
from provable.checker.verdict import Invalid

_LARGEST_LAYER = 2**24


@dataclasses.dataclass(frozen=True)
class Affine:
    """One layer with parameters.

    Parameters
    ----------
    index : int
        Its index in the architecture.
    weight : Numbers
        W, its entries in row-major order: output channels by channels and kernel entries.
    bias : Numbers or None
        b.
    channels : tuple of two int
        Channels of input and output.
    pixels : int
        Pixels of the input.
    windows : list of list of (int or None)
        For every kernel entry and position, the pixel that is seen; None in the padding.
    phases : list of list of int
        The kernel entries; two in different lists never see the same pixel.
    columns : int
        Width of the input.
    """

    index: int
    weight: Numbers
    bias: Numbers | None
    channels: tuple[int, int]
    pixels: int
    windows: list[list[int | None]]
    phases: list[list[int]]
    columns: int

    @property
    def positions(self) -> int:
        """Number of positions of the output."""
        return len(self.windows[0])

    def unseen(self, dead: list[int]) -> list[int]:
        """Find what the windows at all positions but some do not see.

        Parameters
        ----------
        dead : list of int
            Positions that do not count.

        Returns
        -------
        list of int
            Pixels, in order.
        """
        gone = set(dead)
        seen = {pixel for line in self.windows for place, pixel in enumerate(line) if place not in gone}
        return [pixel for pixel in range(self.pixels) if pixel not in seen]

    @property
    def inputs(self) -> int:
        """Number of entries of the input."""
        return self.channels[0] * self.pixels

    @property
    def outputs(self) -> int:
        """Number of entries of the output."""
        return self.channels[1] * self.positions

    def matrix(self) -> arb_mat:
        """Give W.

        Returns
        -------
        arb_mat
            Output channels by channels × kernel entries, exact.
        """
        entries = [arb(entry) for entry in self.weight.entries]
        return arb_mat(self.channels[1], self.channels[0] * len(self.windows), entries)

    def patches(self, values: list[arb]) -> arb_mat:
        """Give P(x).

        Parameters
        ----------
        values : list of arb
            x.

        Returns
        -------
        arb_mat
            Channels × kernel entries by positions.
        """
        zero = arb(0)
        entries: list[arb] = []
        for channel in range(self.channels[0]):
            image = values[channel * self.pixels : (channel + 1) * self.pixels]
            for seen in self.windows:
                entries.extend(zero if pixel is None else image[pixel] for pixel in seen)
        return arb_mat(self.channels[0] * len(self.windows), self.positions, entries)

    def forward(self, values: list[arb]) -> list[arb]:
        """Evaluate the layer.

        Parameters
        ----------
        values : list of arb
            x.

        Returns
        -------
        list of arb
            z.
        """
        result: list[arb] = (self.matrix() * self.patches(values)).entries()
        if self.bias is None:
            return result
        shifts = [arb(entry) for entry in self.bias.entries for _ in range(self.positions)]
        return [value + shift for value, shift in zip(result, shifts, strict=True)]

    def adjoint(self, sensitivity: list[arb]) -> list[arb]:
        """Bring ∂ℓ/∂z back to the input.

        Parameters
        ----------
        sensitivity : list of arb
            D.

        Returns
        -------
        list of arb
            Wᵀ D.
        """
        spread = self.matrix().transpose() * arb_mat(self.channels[1], self.positions, sensitivity)
        result = [arb(0)] * self.inputs
        for row, line in enumerate(spread.tolist()):
            channel, lag = divmod(row, len(self.windows))
            for pixel, entry in zip(self.windows[lag], line, strict=True):
                if pixel is not None:
                    result[channel * self.pixels + pixel] += entry
        return result

    def gradient(self, sensitivity: list[arb], patches: arb_mat) -> list[arb]:
        """Form the weight gradient.

        Parameters
        ----------
        sensitivity : list of arb
            D.
        patches : arb_mat
            P(x).

        Returns
        -------
        list of arb
            D P(x)ᵀ.
        """
        product = arb_mat(self.channels[1], self.positions, sensitivity) * patches.transpose()
        entries: list[arb] = product.entries()
        return entries

    def bias_gradient(self, sensitivity: list[arb]) -> list[arb]:
        """Form the bias gradient.

        Parameters
        ----------
        sensitivity : list of arb
            D.

        Returns
        -------
        list of arb
            Sums of D over the positions.
        """
        count = self.positions
        return [sum(sensitivity[start : start + count], arb(0)) for start in range(0, len(sensitivity), count)]

    def gradient_map(self, sensitivity: list[arb]) -> arb_mat:
        """Give K̃(D).

        Parameters
        ----------
        sensitivity : list of arb
            D.

        Returns
        -------
        arb_mat
            Output channels × kernel entries by pixels.
        """
        count = self.positions
        entries: list[arb] = []
        for channel in range(self.channels[1]):
            values = sensitivity[channel * count : (channel + 1) * count]
            for seen in self.windows:
                line = [arb(0)] * self.pixels
                for pixel, value in zip(seen, values, strict=True):
                    if pixel is not None:
                        line[pixel] = value
                entries.extend(line)
        return arb_mat(self.channels[1] * len(self.windows), self.pixels, entries)

    def overlap(self) -> int:
        """Count windows.

        Returns
        -------
        int
            The largest number of windows that see one pixel; so ‖P(x)‖_F² ≤ overlap·‖x‖².
        """
        counts = [0] * self.pixels
        for seen in self.windows:
            for pixel in seen:
                if pixel is not None:
                    counts[pixel] += 1
        return max(counts)

    def norm(self) -> arb:
        """Bound ‖W‖₂ as a linear map of x from above.

        Returns
        -------
        arb
            An exact upper bound.

        Notes
        -----
        A kernel entry moves pixels to positions, injectively where it is defined, and acts on channels by a matrix W_t; so
        ‖W x‖ ≤ Σ_t ‖W_t‖ ‖x restricted to what t sees‖. Entries of different phases see disjoint sets of pixels, thus
        ‖W x‖ ≤ Σ_phases (Σ_{t in phase} ‖W_t‖) ‖x_phase‖ ≤ (Σ_phases (Σ_t ‖W_t‖)²)^½ ‖x‖ by Cauchy and Schwarz.
        """
        rows, lags = self.matrix().tolist(), len(self.windows)
        total = arb(0)
        for phase in self.phases:
            reach = arb(0)
            for lag in phase:
                reach += spectral(arb_mat([row[lag::lags] for row in rows]))
            total += reach * reach
        return total.abs_upper().sqrt().abs_upper()


Step = Affine | Layer


def chain(archive: Archive) -> tuple[list[Step], Shape]:
    """Read a chain in which layers with parameters and activations take turns.

    Parameters
    ----------
    archive : Archive
        An observation.

    Returns
    -------
    steps : list of Affine or dict
        Affine layers and activations in turn, affine ones first and last.
    input_shape : tuple of int
        Shape of one sample.

    Raises
    ------
    Invalid
        If the network is another one, or its parameters do not fit.
    """
    layers, shape = layers_of(archive.text("architecture"))
    input_shape = shape
    steps: list[Step] = []
    for index, layer in enumerate(layers):
        following = output_shape(layer, shape)
        if layer["type"] in ("linear", "conv2d"):
            if steps and isinstance(steps[-1], Affine):
                steps.append({"type": "identity"})
            steps.append(_affine(archive, index, layer, shape, following))
        elif layer["type"] in ACTIVATIONS:
            if not steps or not isinstance(steps[-1], Affine):
                raise Invalid(f"the activation {index} does not follow a layer with parameters")
            steps.append(layer)
        elif layer["type"] != "flatten":
            raise Invalid(f"layer {index} is neither linear, nor a convolution, nor flatten, nor an activation")
        shape = following
    if not steps or not isinstance(steps[-1], Affine) or len(shape) != 1:
        raise Invalid("the last layer of the network is not linear")
    return steps, input_shape


def _affine(archive: Archive, index: int, layer: Layer, shape: Shape, following: Shape) -> Affine:
    weight = archive.numbers(f"parameters/{index}/weight")
    if type(layer.get("bias", True)) is not bool:
        raise Invalid(f"the bias of layer {index} is neither true nor false")
    bias = archive.numbers(f"parameters/{index}/bias") if layer.get("bias", True) else None
    kernel, stride, padding, extents = (1, 1), (1, 1), (0, 0), (1, 1)
    if layer["type"] == "conv2d":
        kernel, padding = pair(layer, "kernel_size"), pair(layer, "padding", 0, least=0)
        stride, extents = pair(layer, "stride", 1), (shape[1], shape[2])
    expected: tuple[int, ...] = (following[0], shape[0])
    expected += kernel if layer["type"] == "conv2d" else ()
    if weight.shape != expected or (bias is not None and bias.shape != following[:1]):
        raise Invalid(f"the parameters of layer {index} do not fit the architecture")
    reach = following[1:] if layer["type"] == "conv2d" else (1, 1)
    if math.prod(reach) * math.prod(kernel) * (shape[0] + following[0]) > _LARGEST_LAYER:
        raise Invalid(f"layer {index} has more than {_LARGEST_LAYER} entries of windows, the most that are checked")
    along = [
        [[s * position + lag - p for position in range(count)] for lag in range(k)]
        for k, s, p, count in zip(kernel, stride, padding, reach, strict=True)
    ]
    inside = [[[0 <= place < n for place in line] for line in lines] for lines, n in zip(along, extents, strict=True)]
    windows: list[list[int | None]] = [
        [
            extents[1] * row + column if row_in and column_in else None
            for row, row_in in zip(along[0][a], inside[0][a], strict=True)
            for column, column_in in zip(along[1][b], inside[1][b], strict=True)
        ]
        for a in range(kernel[0])
        for b in range(kernel[1])
    ]
    phases = [
        [a * kernel[1] + b for a in range(i, kernel[0], stride[0]) for b in range(j, kernel[1], stride[1])]
        for i in range(min(stride[0], kernel[0]))
        for j in range(min(stride[1], kernel[1]))
    ]
    return Affine(index, weight, bias, (shape[0], following[0]), math.prod(extents), windows, phases, extents[1])


def unseen_pixels(layers: list[Affine]) -> list[list[int]]:
    """Find the pixels on which nothing depends, layer by layer.

    Parameters
    ----------
    layers : list of Affine
        A chain.

    Returns
    -------
    list of list of int
        For every layer the pixels of its input that no window sees but those at positions that are unseen in their turn.
    """
    found: list[list[int]] = []
    dead: list[int] = []
    for layer, before in zip(reversed(layers), [*reversed(layers[:-1]), None], strict=True):
        found.append(layer.unseen(dead))
        # a linear layer sees every pixel of what was flattened
        dead = found[-1] if before is not None and before.channels[1] == layer.channels[0] else []
    return found[::-1]


def norm_of_columns(columns: list[list[arb]]) -> arb:
    """Bound the spectral norm of a tall matrix of few columns from above.

    Parameters
    ----------
    columns : list of list of arb
        The columns.

    Returns
    -------
    arb
        An exact upper bound.
    """
    if len(columns) == 1:
        return length(columns[0])
    return spectral(arb_mat(columns))


def combination(columns: list[list[arb]], coefficients: list[arb]) -> list[arb]:
    """Combine columns linearly.

    Parameters
    ----------
    columns : list of list of arb
        The columns.
    coefficients : list of arb
        One per column.

    Returns
    -------
    list of arb
        Σ_k c_k times column k.
    """
    product: Any = arb_mat([coefficients]) * arb_mat(columns)
    entries: list[arb] = product.entries()
    return entries
