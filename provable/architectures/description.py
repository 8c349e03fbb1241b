"""Reader and writer of the JSON layer lists of ``provable-architecture/1``: everything unknown is refused by name."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from provable.architectures import fields
from provable.architectures.layers import DEEPEST_NESTING, LAYER_TYPES, MOST_LAYERS, Layer, Residual
from provable.errors import InputError

FORMAT = "provable-architecture/1"


def strict_json(text: str | bytes, *, where: str) -> Any:
    """Parse JSON, refusing what the standard library lets pass.

    Parameters
    ----------
    text : str or bytes
        The document, UTF-8 if bytes.
    where : str
        What is read, for the messages.

    Returns
    -------
    object
        Dictionaries, lists, strings, numbers, booleans and None.

    Raises
    ------
    InputError
        For malformed text, NaN or Infinity, a key that occurs twice in one object, and nesting too deep to parse.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice = next(name for name, count in counts.items() if count > 1)
            raise InputError(f"{where}: found the key {fields.shown(twice)} twice in one object; once is accepted")
        return result

    def refuse(literal: str) -> Any:
        raise InputError(f"{where}: found the number {literal}; finite numbers are accepted")

    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=unique, parse_constant=refuse)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{where}: found objects nested too deeply to parse; ordinary nesting is accepted") from None
    except ValueError as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{where}: found text that is not JSON ({reason}); a JSON document is accepted") from None


def members(value: Any, where: str, *, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """Check that a value is an object with exactly the keys it may have.

    Parameters
    ----------
    value : object
        What was parsed.
    where : str
        The field, for the message.
    required, optional : tuple of str
        Keys that must and keys that may be there.

    Returns
    -------
    mapping
        The same object.

    Raises
    ------
    InputError
        If it is no object, lacks a key or has an unknown one.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: found {fields.shown(value)}; an object is accepted")
    accepted = ", ".join(required + optional)
    for key in value:
        if key not in required + optional:
            raise InputError(f"{where}: found the unknown key {fields.shown(key)}; the keys accepted are {accepted}")
    for key in required:
        if key not in value:
            raise InputError(f"{where}.{key}: found nothing; this key is required")
    return value


def layer_to_dict(layer: Layer) -> dict[str, Any]:
    """Describe a layer in JSON's types, every field written out.

    Parameters
    ----------
    layer : Layer
        The layer.

    Returns
    -------
    dict
        The object of ``provable-architecture/1``; equal pairs become one integer, an empty shortcut is left out.
    """
    result: dict[str, Any] = {"type": layer.type}
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if isinstance(layer, Residual):
            if value:
                result[field.name] = [layer_to_dict(part) for part in value]
        elif field.name in ("kernel_size", "stride", "padding"):
            result[field.name] = value[0] if value[0] == value[1] else list(value)
        else:
            result[field.name] = list(value) if isinstance(value, tuple) else value
    return result


def layer_from_dict(value: Any, where: str, *, nesting: int = 0) -> Layer:
    """Read one layer.

    Parameters
    ----------
    value : object
        The parsed JSON object.
    where : str
        Its place, such as ``layers[2]``, for the messages.
    nesting : int
        How many residual blocks it lies in.

    Returns
    -------
    Layer
        The layer.

    Raises
    ------
    InputError
        For an unknown type or key, a missing key and a value of the wrong type or size, each named.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: found {fields.shown(value)}; an object with a type is accepted")
    if "type" not in value:
        raise InputError(f"{where}.type: found nothing; one of {', '.join(LAYER_TYPES)} is accepted")
    name = value["type"]
    if not isinstance(name, str) or name not in LAYER_TYPES:
        raise InputError(f"{where}.type: found {fields.shown(name)}; one of {', '.join(LAYER_TYPES)} is accepted")
    kind = LAYER_TYPES[name]
    arguments = inspect.signature(kind).parameters
    required = tuple(key for key, argument in arguments.items() if argument.default is argument.empty)
    optional = tuple(key for key in arguments if key not in required)
    members(value, where, required=("type", *required), optional=optional)
    given = {key: value[key] for key in arguments if key in value}
    if kind is Residual:
        if nesting >= DEEPEST_NESTING:
            raise InputError(f"{where}: found residual blocks nested deeper than {DEEPEST_NESTING}; fewer are accepted")
        for key in given:
            chain = given[key]
            if not (key == "shortcut" and isinstance(chain, list | tuple) and not chain):
                given[key] = layers_from_list(chain, f"{where}.{key}", nesting=nesting + 1)
    try:
        return kind(**given)
    except InputError as error:
        raise InputError(f"{where}.{str(error).removeprefix(f'{name}.')}") from None


def layers_from_list(value: Any, where: str, *, nesting: int = 0) -> tuple[Layer, ...]:
    """Read a list of layers.

    Parameters
    ----------
    value : object
        The parsed JSON list.
    where : str
        Its place, such as ``layers``, for the messages.
    nesting : int
        How many residual blocks it lies in.

    Returns
    -------
    tuple of Layer
        The layers.

    Raises
    ------
    InputError
        If it is no list, empty, too long, or an entry is wrong.
    """
    entries = fields.sequence(value, where, longest=MOST_LAYERS, of="layers")
    return tuple(layer_from_dict(entry, f"{where}[{index}]", nesting=nesting) for index, entry in enumerate(entries))
