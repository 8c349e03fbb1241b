"""Readers of foreign formats: one recogniser of layers, and a front end for each format."""

from provable.architectures.readers.onnx_reader import from_onnx, parameters_from_onnx
from provable.architectures.readers.torch_reader import from_torch, parameters_from_torch

__all__ = ["from_onnx", "from_torch", "parameters_from_onnx", "parameters_from_torch"]
