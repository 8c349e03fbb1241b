"""Kernels of infinitely wide networks: tangent kernel and Gaussian-process kernel of dense networks, with derivatives."""

from provable.kernels.dense import DenseKernel, nngp, ntk
from provable.kernels.gram_blocks import gram, gram_memory
from provable.kernels.input_derivatives import Partials

__all__ = ["DenseKernel", "Partials", "gram", "gram_memory", "nngp", "ntk"]
