"""Observations and their files, `provable-observation/1`."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from provable.architectures import Architecture
from provable.errors import InputError
from provable.files import read_limited, write_atomically
from provable.networks import Parameters, loss_gradient
from provable.observations.archive import LIMIT_BYTES, Member, read_archive, shown, write_archive
from provable.observations.labels import check_labels

FORMAT = "provable-observation/1"
"""The value of the key ``format``."""

KINDS = ("gradient", "parameter-change", "stationary-point")
"""What can be observed; see `Observation`."""

REDUCTIONS = ("sum", "mean")
"""How a loss was reduced over its batch."""

_SINGLE = ("format", "kind", "architecture", "reduction", "batch_size", "labels", "unit_norm")
_GROUPS = ("parameters", "vector", "initial_parameters")

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Observation:
    r"""What somebody holds who wants the data: :math:`v = \Phi_\theta \mu = \sum_j c_j \nabla_\theta f(x_j; \theta)`.

    Parameters
    ----------
    kind : {"gradient", "parameter-change", "stationary-point"}
        Where `vector` comes from: the gradient of the loss over a batch, the change of the parameters by training, or the
        parameters themselves as a stationary point (of the max-margin problem at the scale where the smallest margin is
        one, to which that problem is normalised).
    architecture : Architecture
        The network and its loss.
    parameters : Parameters
        θ.
    vector : mapping of str to array, optional
        v, keyed like the parameters (``"0/weight"``); pieces that were not observed are absent. At a stationary point v is
        θ: it need not be given, and the file does not repeat it.
    reduction : {"sum", "mean"}, optional
        How the loss was reduced over the batch.
    batch_size : int, optional
        The number of samples, if it is known.
    labels : array of shape (n,) or (n, C), optional
        Known labels: integers from 0 to C - 1 for ``cross_entropy``, ±1 for ``logistic``, numbers for ``squared``.
    initial_parameters : Parameters, optional
        Parameters before training, for a stationary point only.
    unit_norm : bool, optional
        Whether the inputs are known to have Euclidean norm 1.

    Raises
    ------
    InputError
        If a part does not fit the architecture or the others; the message begins with its key in the file.
    """

    kind: str
    architecture: Architecture
    parameters: Parameters
    vector: Mapping[str, Float] = dataclasses.field(default_factory=dict)
    reduction: str = "sum"
    batch_size: int | None = None
    labels: NDArray[Any] | None = None
    initial_parameters: Parameters | None = None
    unit_norm: bool | None = None
    _source: bytes | None = dataclasses.field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind: found {_found(self.kind)}; {_one_of(KINDS)} is accepted")
        if self.reduction not in REDUCTIONS:
            raise InputError(f"reduction: found {_found(self.reduction)}; {_one_of(REDUCTIONS)} is accepted")
        if self.parameters.architecture != self.architecture:
            raise InputError("parameters: belong to another architecture than the observation")
        stationary = self.kind == "stationary-point"
        if stationary and not self.vector:
            object.__setattr__(self, "vector", dict(self.parameters))
        if not stationary and not self.vector:
            raise InputError(f"vector: is absent; the observation of a {self.kind} has at least one piece of it")
        if not stationary and self.initial_parameters is not None:
            raise InputError(f"initial_parameters: are present in a {self.kind}; a stationary-point alone has them")
        if self.initial_parameters is not None and self.initial_parameters.architecture != self.architecture:
            raise InputError("initial_parameters: belong to another architecture than the observation")
        if self.batch_size is not None:
            if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, int) or self.batch_size < 1:
                raise InputError(f"batch_size: found {_found(self.batch_size)}; a positive integer is accepted")
            if self.batch_size >= 2**63:
                raise InputError("batch_size: is not below 2**63; a number of samples that can exist is accepted")
        if self.unit_norm is not None and not isinstance(self.unit_norm, bool):
            raise InputError(f"unit_norm: found {_found(self.unit_norm)}; true and false are accepted")
        object.__setattr__(self, "vector", _vector(self.architecture, self.vector))
        if stationary and not all(
            key in self.vector and np.array_equal(self.vector[key], value) for key, value in self.parameters.items()
        ):
            raise InputError("vector: is not θ; a stationary-point is its own observation, and no other is accepted")
        if self.labels is not None:
            object.__setattr__(self, "labels", check_labels(self.architecture, self.labels, self.batch_size))

    @classmethod
    def from_data(
        cls,
        architecture: Architecture,
        parameters: Parameters,
        inputs: ArrayLike,
        labels: ArrayLike,
        *,
        reduction: str = "sum",
        batch_size_known: bool = True,
        labels_known: bool = False,
    ) -> Observation:
        r"""Compute the gradient that a batch leaves behind.

        Parameters
        ----------
        architecture : Architecture
            The network and its loss.
        parameters : Parameters
            θ.
        inputs : array of shape (n, *input_shape)
            The batch.
        labels : array of shape (n,) or (n, C)
            Its labels, as the loss wants them.
        reduction : {"sum", "mean"}, optional
            Whether the gradient is :math:`\sum_j \nabla_\theta \ell_j` or that divided by n.
        batch_size_known : bool, optional
            Whether the observation says n.
        labels_known : bool, optional
            Whether the observation says the labels.

        Returns
        -------
        Observation
            Of kind ``"gradient"``, with all pieces.

        Raises
        ------
        InputError
            If the inputs or labels do not fit the architecture.
        """
        points = np.asarray(inputs, dtype=np.float64)
        if points.ndim == 0 or points.shape[1:] != tuple(architecture.input_shape) or not len(points):
            wanted = ", ".join(["n", *map(str, architecture.input_shape)])
            raise InputError(f"inputs: have shape {points.shape}; ({wanted}) with n > 0 is accepted")
        checked = check_labels(architecture, np.asarray(labels), len(points))
        gradient = loss_gradient(architecture, parameters, points, checked, reduction=reduction)
        return cls(
            kind="gradient",
            architecture=architecture,
            parameters=parameters,
            vector=dict(gradient),
            reduction=reduction,
            batch_size=len(points) if batch_size_known else None,
            labels=checked if labels_known else None,
        )

    @property
    def sha256(self) -> str:
        """SHA-256 in hexadecimal of the file: the bytes it was read from, or those that `to_bytes` makes."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def to_bytes(self) -> bytes:
        """Give the observation as a file.

        Returns
        -------
        bytes
            The bytes that the observation was read from, or else a `provable-observation/1` archive that is the same
            for the same observation on every machine.
        """
        if self._source is not None:
            return self._source
        members: dict[str, Any] = {
            "format": FORMAT,
            "kind": self.kind,
            "architecture": self.architecture.to_json(),
            "reduction": self.reduction,
        }
        for key in ("batch_size", "unit_norm", "labels"):
            if getattr(self, key) is not None:
                members[key] = getattr(self, key)
        for group in _GROUPS:
            pieces = getattr(self, group)
            if pieces is not None and not (group == "vector" and self.kind == "stationary-point"):
                # In the architecture's order, so that the bytes do not depend on how the mapping was filled.
                members |= {
                    f"{group}/{key}": pieces[key] for key in self.architecture.parameter_shapes if key in pieces
                }
        return write_archive(members)

    def write(self, path: str | Path) -> None:
        """Write the observation's file atomically.

        Parameters
        ----------
        path : str or Path
            Where to.
        """
        write_atomically(path, self.to_bytes())

    @classmethod
    def read(cls, path: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> Observation:
        """Read an observation's file.

        Parameters
        ----------
        path : str or Path
            The file, or ``-`` for standard input.
        limit_bytes : int, optional
            Limit on its size and on what it declares to hold.

        Returns
        -------
        Observation
            The observation.
        """
        return cls.from_bytes(read_limited(path, limit_bytes=limit_bytes), str(path), limit_bytes=limit_bytes)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "observation", *, limit_bytes: int = LIMIT_BYTES) -> Observation:
        """Read an observation from the bytes of its file.

        Parameters
        ----------
        content : bytes
            A `provable-observation/1` archive.
        name : str, optional
            How error messages call the file.
        limit_bytes : int, optional
            Limit on what it declares to hold.

        Returns
        -------
        Observation
            The observation; its `sha256` is that of `content`.

        Raises
        ------
        InputError
            If anything in the file is not as the format has it; the message names the file and the key.
        """
        members = read_archive(content, name, limit_bytes=limit_bytes)
        try:
            observation = cls(**_fields(members))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        object.__setattr__(observation, "_source", content)
        return observation


def _found(value: object) -> str:
    return shown(value) if isinstance(value, str) else str(value)[:60]


def _one_of(words: tuple[str, ...]) -> str:
    return ", ".join(words[:-1]) + " or " + words[-1]


def _vector(architecture: Architecture, vector: Mapping[str, Float]) -> Mapping[str, Float]:
    shapes = architecture.parameter_shapes
    for key in vector:
        if key not in shapes:
            raise InputError(f"vector/{key}: the architecture has no such parameter; it has {_listed(shapes)}")
    pieces = {}
    for key, shape in shapes.items():
        if key in vector:
            piece = np.array(_float64(f"vector/{key}", vector[key]), order="C")
            if piece.shape != tuple(shape):
                raise InputError(f"vector/{key}: has shape {piece.shape}; {tuple(shape)} is accepted")
            piece.flags.writeable = False
            pieces[key] = piece
    return MappingProxyType(pieces)


def _listed(keys: Mapping[str, Any]) -> str:
    names = list(keys)
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _float64(key: str, value: Any) -> Float:
    """Numbers in float64; those of float32 are among them."""
    array = np.asarray(value)
    if array.dtype == np.float32:
        array = array.astype(np.float64)
    if array.dtype != np.float64:
        raise InputError(f"{key}: is of type {array.dtype}; float64 and float32 are accepted")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{key}: holds a number that is not finite")
    return array


def _fields(members: Mapping[str, Member]) -> dict[str, Any]:
    groups: dict[str, dict[str, Any]] = {group: {} for group in _GROUPS}
    for key, value in members.items():
        group, slash, rest = key.partition("/")
        if slash and group in groups:
            groups[group][rest] = value
        elif key not in _SINGLE:
            raise InputError(f"{key}: is an unknown key; {', '.join(_SINGLE)} and {', '.join(_GROUPS)}/… are accepted")
    for key in ("format", "kind", "architecture"):
        if key not in members:
            raise InputError(f"{key}: is missing")
    if members["format"] != FORMAT:
        _refuse_text("format", members["format"], FORMAT)
    texts = {key: _text_of(members, key) for key in ("kind", "architecture", "reduction") if key in members}
    architecture = _architecture(texts.pop("architecture"))
    fields: dict[str, Any] = {**texts, "architecture": architecture, "vector": groups["vector"]}
    fields["parameters"] = _parameters(architecture, groups["parameters"], "parameters")
    if groups["vector"] and texts["kind"] == "stationary-point":
        key = shown(next(iter(groups["vector"])))
        raise InputError(f"vector: {key} is present; a stationary-point is its own observation, so none is accepted")
    if groups["initial_parameters"]:
        fields["initial_parameters"] = _parameters(architecture, groups["initial_parameters"], "initial_parameters")
    if "batch_size" in members:
        fields["batch_size"] = _scalar(members, "batch_size", "iu", "one integer")
    if "unit_norm" in members:
        fields["unit_norm"] = _scalar(members, "unit_norm", "b", "one boolean")
    if "labels" in members:
        fields["labels"] = _array_of(members, "labels")
    for key, value in groups["vector"].items():
        if not isinstance(value, np.ndarray):
            raise InputError(f"vector/{key}: is text; an array of float64 or float32 is accepted")
    return fields


def _refuse_text(key: str, value: Member, accepted: str) -> NoReturn:
    found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else shown(str(value))
    raise InputError(f"{key}: found {found}; {accepted} is accepted")


def _text_of(members: Mapping[str, Member], key: str) -> str:
    value = members[key]
    if not isinstance(value, str):
        _refuse_text(key, value, "one text")
    return value


def _array_of(members: Mapping[str, Member], key: str) -> NDArray[Any]:
    value = members[key]
    if not isinstance(value, np.ndarray):
        raise InputError(f"{key}: is text; an array of numbers is accepted")
    return value


def _scalar(members: Mapping[str, Member], key: str, kinds: str, accepted: str) -> Any:
    value = _array_of(members, key)
    if value.shape != () or value.dtype.kind not in kinds:
        raise InputError(f"{key}: is an array of {value.dtype} and shape {value.shape}; {accepted} is accepted")
    return value.item()


def _architecture(text: str) -> Architecture:
    try:
        return Architecture.from_json(text)
    except InputError as error:
        raise InputError(f"architecture: {str(error).removeprefix('architecture: ')}") from error


def _parameters(architecture: Architecture, pieces: Mapping[str, Any], group: str) -> Parameters:
    shapes = architecture.parameter_shapes
    for key in pieces:
        if key not in shapes:
            raise InputError(f"{group}/{key}: the architecture has no such parameter; it has {_listed(shapes)}")
    for key, shape in shapes.items():
        if key not in pieces:
            raise InputError(f"{group}/{key}: is missing")
        value = pieces[key]
        if not isinstance(value, np.ndarray):
            raise InputError(f"{group}/{key}: is text; an array of float64 or float32 is accepted")
        if value.shape != tuple(shape):
            raise InputError(f"{group}/{key}: has shape {value.shape}; {tuple(shape)} is accepted")
    return Parameters(architecture, {key: _float64(f"{group}/{key}", value) for key, value in pieces.items()})
