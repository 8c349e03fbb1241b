"""Instances as JSON and back, bit for bit, so that a counterexample can be stored, read by people and re-checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from provable.architectures import Architecture
from provable.errors import InputError
from provable.measures import Measure
from provable.networks.parameters import Parameters


def encode(value: Any) -> Any:
    """Turn an instance into JSON values.

    Parameters
    ----------
    value : object
        Numbers, strings, arrays, tuples, lists, mappings, sets, architectures, parameters, and dataclasses of
        such.

    Returns
    -------
    object
        JSON values; floats keep every bit, since their decimal form is the shortest that reads back equal.

    Raises
    ------
    InputError
        For a type that has no encoding.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Fraction):
        return {"fraction": f"{value.numerator}/{value.denominator}"}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return {"array": value.tolist(), "dtype": str(value.dtype), "shape": list(value.shape)}
    if isinstance(value, Architecture):
        return {"architecture": value.to_dict()}
    if isinstance(value, Parameters):
        arrays = {key: encode(array) for key, array in value.items()}
        return {"parameters": arrays, "architecture": value.architecture.to_dict()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {"type": type(value).__name__, "fields": {name: encode(getattr(value, name)) for name in value._fields}}
    if isinstance(value, tuple):
        return {"tuple": [encode(part) for part in value]}
    if isinstance(value, list):
        return [encode(part) for part in value]
    if isinstance(value, Mapping):
        return {"mapping": [[encode(key), encode(part)] for key, part in value.items()]}
    if isinstance(value, set | frozenset):
        return {type(value).__name__: sorted((encode(part) for part in value), key=repr)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return {"type": type(value).__name__, "fields": fields}
    raise InputError(
        f"an instance holds a {type(value).__name__}; numbers, arrays and dataclasses of them are accepted"
    )


def decode(value: Any, namespace: Mapping[str, Any]) -> Any:
    """Turn JSON values back into the instance that `encode` was given.

    Parameters
    ----------
    value : object
        JSON values.
    namespace : mapping
        Where the names of dataclasses are looked up: the theorem file's globals.

    Returns
    -------
    object
        The instance.

    Raises
    ------
    InputError
        If the encoding is damaged or names an unknown type.
    """
    if isinstance(value, list):
        return [decode(part, namespace) for part in value]
    if not isinstance(value, dict):
        return value
    try:
        return _decode_tagged(value, namespace)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the encoded instance is damaged: {type(error).__name__}: {error}") from error


def _decode_tagged(value: dict[str, Any], namespace: Mapping[str, Any]) -> Any:
    if "fraction" in value:
        return Fraction(value["fraction"])
    if "array" in value:
        return np.array(value["array"], dtype=value["dtype"]).reshape(value["shape"])
    if "parameters" in value:
        architecture = Architecture.from_dict(value["architecture"])
        return Parameters(architecture, {key: decode(part, namespace) for key, part in value["parameters"].items()})
    if "architecture" in value:
        return Architecture.from_dict(value["architecture"])
    if "tuple" in value:
        return tuple(decode(part, namespace) for part in value["tuple"])
    if "mapping" in value:
        return {decode(key, namespace): decode(part, namespace) for key, part in value["mapping"]}
    for collection in (set, frozenset):
        if collection.__name__ in value:
            return collection(decode(part, namespace) for part in value[collection.__name__])
    if "complex" in value:
        return complex(*value["complex"])
    if "type" in value:
        found = Measure if value["type"] == "Measure" else namespace.get(value["type"])
        if not (isinstance(found, type) and (dataclasses.is_dataclass(found) or hasattr(found, "_fields"))):
            raise InputError(
                f"the encoded instance names the type '{value['type']}', which the theorem file does not define"
            )
        return found(**{key: decode(part, namespace) for key, part in value["fields"].items()})
    raise InputError(f"the encoded instance has an unknown tag: {', '.join(map(str, value))[:80]}")


def describe(value: Any, *, indent: str = "") -> str:
    """Write an instance for people.

    Parameters
    ----------
    value : object
        An instance.
    indent : str, optional
        What every line begins with.

    Returns
    -------
    str
        A few lines; long arrays are abridged.
    """
    if isinstance(value, Architecture | type):
        return indent + _inline(value)
    if isinstance(value, Mapping):
        return "\n".join(_entry(str(key), part, indent) for key, part in value.items())
    if dataclasses.is_dataclass(value):
        fields = [_entry(field.name, getattr(value, field.name), indent + "  ") for field in dataclasses.fields(value)]
        return "\n".join([f"{indent}{type(value).__name__}", *fields])
    if isinstance(value, tuple | list) and any(_is_nested(part) or isinstance(part, np.ndarray) for part in value):
        return "\n".join(_entry(f"[{index}]", part, indent) for index, part in enumerate(value))
    return indent + _inline(value)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        dataclasses.is_dataclass(value) and not isinstance(value, Architecture | type)
    )


def _entry(name: str, value: Any, indent: str) -> str:
    if _is_nested(value):
        return f"{indent}{name} =\n{describe(value, indent=indent + '  ')}"
    return f"{indent}{name} = {_inline(value)}"


def _inline(value: Any) -> str:
    if isinstance(value, Architecture):
        return f"{value.name}: input {value.input_shape}, layers {', '.join(layer.type for layer in value.layers)}"
    if isinstance(value, np.ndarray):
        return np.array2string(value, separator=", ", threshold=40, max_line_width=100).replace("\n", " ")
    return repr(value)
