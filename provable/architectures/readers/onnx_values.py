"""The values in an ONNX graph that do not depend on the numbers of the input: weights, constants and shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.architectures import fields
from provable.architectures.fields import Shape
from provable.errors import InputError, UnsupportedError

LARGEST_CONSTANT = 2**16
"""Entries of a constant that is computed with, at most; weights may have more."""


_COMPLEX = (14, 15)


class BatchSize:
    """The number of samples, which a graph may compute with but the description does not know."""

    def __repr__(self) -> str:
        return "batch"


BATCH = BatchSize()
"""Stands for the number of samples in arrays of extents."""


@dataclass(frozen=True)
class Constant:
    """An array that is known, or whose shape at least is.

    Parameters
    ----------
    name : str
        The name of the array in the file that the numbers come from.
    shape : tuple of int
        Its shape here, after transposition and without axes of extent one that do not count.
    array : ndarray, optional
        The numbers; entries of object arrays may be `BATCH`.
    tensor : onnx.TensorProto, optional
        Where the numbers are if they were not read.
    axes : tuple of int, optional
        How the tensor's axes are permuted.
    """

    name: str
    shape: Shape
    array: Any = None
    tensor: Any = None
    axes: tuple[int, ...] | None = None

    @property
    def vanishes(self) -> bool:
        """Whether the array was computed, is no array of the file, and is zero.

        Returns
        -------
        bool
            True for the bias that an exporter makes up for a layer without one.
        """
        return self.tensor is None and not np.any(self.array)

    def numbers(self, where: str) -> Any:
        """Read the numbers.

        Parameters
        ----------
        where : str
            Who wants them, for the message.

        Returns
        -------
        ndarray
            In the shape `shape`.

        Raises
        ------
        InputError
            If they lie in another file, or do not fit the shape that the file declares.
        """
        if self.array is not None:
            return self.array.reshape(self.shape)
        if self.tensor.data_location:
            raise InputError(
                f"{where}: found {fields.shown(self.name)} in another file (external data); "
                "numbers that lie in the model's own file are accepted"
            )
        from onnx import numpy_helper

        try:
            array = numpy_helper.to_array(self.tensor)
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError):
            raise InputError(
                f"{where}: found {fields.shown(self.name)} with data that do not fit its shape; whole arrays are accepted"
            ) from None
        return (array if self.axes is None else array.transpose(self.axes)).reshape(self.shape)

    def small(self, where: str) -> Any:
        """Read the numbers of an array that is computed with.

        Parameters
        ----------
        where : str
            Who wants them, for the message.

        Returns
        -------
        ndarray
            In the shape `shape`.

        Raises
        ------
        UnsupportedError
            If there are too many.
        """
        if math.prod(self.shape) > LARGEST_CONSTANT:
            raise UnsupportedError(
                f"{where}: found the constant {fields.shown(self.name)} of shape {self.shape}; "
                f"at most {LARGEST_CONSTANT} entries are computed with"
            )
        return self.numbers(where)


def from_tensor(tensor: Any, name: str) -> Constant:
    """Make a constant of a tensor, reading its shape only.

    Parameters
    ----------
    tensor : onnx.TensorProto
        The tensor.
    name : str
        Its name.

    Returns
    -------
    Constant
        The constant.

    Raises
    ------
    InputError
        If an extent is negative, the type is no type of numbers, or the data have another length than the shape says.
    """
    from onnx import helper

    shape = tuple(tensor.dims)
    shown = f"array {fields.shown(name)}"
    if any(extent < 0 for extent in shape) or len(shape) > 8:
        raise InputError(f"{shown}: found the shape {fields.shown(shape)}; at most 8 nonnegative extents are accepted")
    fields.bounded(shape, shown)
    try:
        if tensor.data_type in _COMPLEX:
            raise ValueError
        bits = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
    except (KeyError, ValueError, TypeError):
        raise InputError(f"{shown}: found the element type {tensor.data_type}; real numbers are accepted") from None
    if not tensor.data_location and tensor.HasField("raw_data"):
        size = len(tensor.raw_data)
        if size != bits * math.prod(shape) and tensor.data_type < 21:  # from 21 on, types of less than a byte
            raise InputError(
                f"{shown}: found {size} bytes for the shape {shape}; {bits * math.prod(shape)} are accepted"
            )
    elif not tensor.data_location and tensor.data_type < 21:
        lists = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
        count = max(map(len, lists))
        if count != math.prod(shape):
            raise InputError(f"{shown}: found {count} numbers for the shape {shape}; {math.prod(shape)} are accepted")
    return Constant(name, shape, tensor=tensor)


def fold(operator: str, attributes: dict[str, Any], given: list[Constant | None], name: str, where: str) -> Constant:
    """Compute a constant from constants.

    Parameters
    ----------
    operator : str
        The ONNX operator.
    attributes : dict
        Its attributes.
    given : list of Constant or None
        Its inputs; None for one left out.
    name : str
        The name of the result.
    where : str
        The node, for the messages.

    Returns
    -------
    Constant
        The result; for large arrays only identities and transpositions are carried out, without touching the numbers.

    Raises
    ------
    UnsupportedError
        If the operator is none that exporters write between constants.
    InputError
        If the inputs do not fit it.
    """
    first = given[0] if given else None
    if first is None:
        raise UnsupportedError(f"{where}: found an operator without inputs; only Constant is accepted so")
    if operator in ("Identity", "Dropout", "CastLike"):
        return first
    if operator == "Transpose" and first.array is None:
        return _transposed(first, attributes.get("perm"), where)
    if operator not in _FOLDED:
        raise UnsupportedError(f"{where}: found it between constants; {', '.join(_FOLDED)} are accepted there")
    arrays: list[Any] = [first]
    if operator != "Shape":  # which weights have, too, and their numbers are not needed
        arrays = [None if constant is None else constant.small(where) for constant in given]
    try:
        if operator in _BROADCAST and math.prod(np.broadcast_shapes(*(c.shape for c in given if c))) > LARGEST_CONSTANT:
            raise ValueError
        with np.errstate(all="ignore"):
            result = np.asarray(_FOLDED[operator](attributes, *arrays))
    except (TypeError, ValueError, IndexError, KeyError, OverflowError, AttributeError, ArithmeticError):
        raise InputError(f"{where}: found constants that do not fit this operator; ones that do are accepted") from None
    if result.size > LARGEST_CONSTANT:
        raise UnsupportedError(
            f"{where}: found a result of shape {result.shape}; {LARGEST_CONSTANT} entries are accepted"
        )
    return Constant(name, result.shape, array=result)


def _transposed(constant: Constant, order: Any, where: str) -> Constant:
    """Permute the axes of an array without reading it."""
    rank = len(constant.shape)
    axes = list(range(rank))[::-1] if order is None else order
    if not isinstance(axes, list) or set(axes) != set(range(rank)) or len(axes) != rank:
        raise InputError(f"{where}: perm: found {fields.shown(order)}; a permutation of the axes is accepted")
    known = tuple(axes) if constant.axes is None else tuple(constant.axes[axis] for axis in axes)
    return Constant(constant.name, tuple(constant.shape[axis] for axis in axes), tensor=constant.tensor, axes=known)


def _extents(attributes: dict[str, Any], constant: Constant) -> Any:
    return np.array(constant.shape, dtype=np.int64)[attributes.get("start", 0) : attributes.get("end")]


def _axes(attributes: dict[str, Any], given: Any) -> tuple[int, ...]:
    found = attributes.get("axes") if given is None else given
    return () if found is None else tuple(int(axis) for axis in np.atleast_1d(found))


def _unsqueeze(attributes: dict[str, Any], data: Any, axes: Any = None) -> Any:
    return np.expand_dims(data, _axes(attributes, axes))


def _squeeze(attributes: dict[str, Any], data: Any, axes: Any = None) -> Any:
    return np.squeeze(data, _axes(attributes, axes) or None)


def _gather(attributes: dict[str, Any], data: Any, indices: Any) -> Any:
    if indices.size > LARGEST_CONSTANT // max(1, data.size):
        raise ValueError
    return np.take(data, indices.astype(np.int64), axis=int(attributes.get("axis", 0)))


def _concatenate(attributes: dict[str, Any], *arrays: Any) -> Any:
    return np.concatenate(arrays, axis=int(attributes["axis"]))


def _slice(attributes: dict[str, Any], data: Any, *given: Any) -> Any:
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (
        _axes({"axes": attributes.get(name)}, given[index] if index < len(given) else None)
        for index, name in enumerate(names)
    )
    window = [slice(None)] * data.ndim
    for index, (start, end) in enumerate(zip(starts, ends, strict=True)):
        window[axes[index] if axes else index] = slice(start, end, steps[index] if steps else 1)
    return data[tuple(window)]


def _reshape(attributes: dict[str, Any], data: Any, shape: Any) -> Any:
    return data.reshape([int(extent) for extent in shape])


def _expanded(data: Any, shape: Any) -> Any:
    extents = np.broadcast_shapes(data.shape, tuple(int(extent) for extent in shape))
    if math.prod(extents) > LARGEST_CONSTANT:
        raise ValueError
    return np.broadcast_to(data, extents)


def _cast(attributes: dict[str, Any], data: Any) -> Any:
    from onnx import helper

    return data if data.dtype == object else data.astype(helper.tensor_dtype_to_np_dtype(int(attributes["to"])))


def _filled(attributes: dict[str, Any], shape: Any) -> Any:
    if math.prod(int(extent) for extent in shape) > LARGEST_CONSTANT:
        raise ValueError
    value = attributes.get("value")
    number = np.zeros(1, np.float32) if value is None else from_tensor(value, "value").small("ConstantOfShape")
    return np.full([int(extent) for extent in shape], number.reshape(-1)[0])


_BROADCAST = ("Add", "Sub", "Mul", "Div", "Pow")

_FOLDED: dict[str, Callable[..., Any]] = {
    "Shape": _extents,
    "Transpose": lambda attributes, data: np.transpose(data, attributes.get("perm")),
    "Cast": _cast,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Gather": _gather,
    "Concat": _concatenate,
    "Slice": _slice,
    "Reshape": _reshape,
    "ConstantOfShape": _filled,
    "Expand": lambda attributes, data, shape: _expanded(data, shape),
    "Add": lambda attributes, left, right: left + right,
    "Sub": lambda attributes, left, right: left - right,
    "Mul": lambda attributes, left, right: left * right,
    "Div": lambda attributes, left, right: left // right if left.dtype.kind in "iu" else left / right,
    "Neg": lambda attributes, data: -data,
    "Sqrt": lambda attributes, data: np.sqrt(data),
    "Pow": lambda attributes, base, exponent: np.float64(base) ** exponent,
}
