"""Readers of foreign formats: one recogniser of layers, and a front end for each format."""

from provable.architectures.readers.onnx_reader import from_onnx, parameters_from_onnx

__all__ = ["from_onnx", "parameters_from_onnx"]
