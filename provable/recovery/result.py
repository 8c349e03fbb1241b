"""What a recovery found and how far to trust it: `Recovery` and its files, `provable-recovery/1`."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from provable.errors import InputError
from provable.files import read_limited, write_atomically
from provable.measures import Measure
from provable.observations.archive import LIMIT_BYTES, Member, read_archive, shown, write_archive

FORMAT = "provable-recovery/1"
"""The value of the key ``format``."""

STATUSES = ("certified", "consistent", "partial", "failed")
"""From a proof to nothing acceptable; see `Recovery`."""

_TEXTS = ("format", "method", "status", "reason", "certificate")
_ARRAYS = ("points", "coefficients", "labels", "residual")
_KINDS = {**dict.fromkeys(_TEXTS, str), **dict.fromkeys(_ARRAYS, np.ndarray), "fibre": tuple}
_REQUIRED = ("format", "points", "coefficients", "residual", "method", "fibre", "status")


@dataclasses.dataclass(frozen=True, eq=False)
class Recovery:
    r"""A measure recovered from an observation, and what is known of its error.

    Parameters
    ----------
    points : array of shape (n, *input_shape)
        The atoms :math:`\hat x_j`.
    coefficients : array of shape (n,) or (n, C)
        Their coefficients :math:`\hat c_j`.
    labels : array of shape (n,) or (n, C) or None
        The labels, where the coefficients determine them.
    residual : float
        :math:`\|\Phi_\theta \hat\mu - v\| / \|v\|`; 0 if both vanish.
    method : str
        The name of the method, empty if none supports the observation.
    fibre : tuple of str
        What the observation leaves open: symmetries (`provable.symmetries`) such as ``"permutation"``, ``"joint-sign"``,
        ``"positive-scaling"``; ``"null-space:k"`` (a k-dimensional space of directions); at stationary points ``"splitting"``
        (samples may stand for several others, at any distance or in their activation cells) and ``"margin"`` (other margins
        are consistent, with other samples).
    status : {"certified", "consistent", "partial", "failed"}
        ``certified``: a certificate was made and the independent checker accepts it. ``consistent``: the residual is at
        rounding level. ``partial``: some atoms only, each with its own test. ``failed``: nothing acceptable; points that
        are given nevertheless are a candidate that its test rejected.
    certificate : str or None
        JSON text of a `provable-certificate/1`.
    reason : str
        Why the status is not better or a label is missing; empty if there is nothing to say.

    Raises
    ------
    InputError
        If the parts do not fit together; the message begins with the key in the file.
    """

    points: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    labels: NDArray[Any] | None
    residual: float
    method: str
    fibre: tuple[str, ...]
    status: str
    certificate: str | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        points, coefficients = _real("points", self.points), _real("coefficients", self.coefficients)
        if points.ndim < 2:
            raise InputError(f"points: have shape {points.shape}; (n, *input_shape) is accepted")
        if coefficients.ndim not in (1, 2) or len(coefficients) != len(points):
            raise InputError(
                f"coefficients: have shape {coefficients.shape}; ({len(points)},) and ({len(points)}, C) are accepted"
            )
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "coefficients", coefficients)
        if self.labels is not None:
            labels = np.array(self.labels)
            if labels.dtype.kind not in "iuf" or labels.ndim not in (1, 2) or len(labels) != len(points):
                raise InputError(
                    f"labels: are an array of {labels.dtype} and shape {labels.shape}; numbers of shape "
                    f"({len(points)},) or ({len(points)}, C) are accepted"
                )
            labels = labels.astype(np.float64 if labels.dtype.kind == "f" else np.int64)
            labels.flags.writeable = False
            object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "residual", float(self.residual))
        if not math.isfinite(self.residual) or self.residual < 0:
            raise InputError(f"residual: found {self.residual}; a finite number that is not negative is accepted")
        if self.status not in STATUSES:
            raise InputError(f"status: found {shown(self.status)}; {', '.join(STATUSES)} are accepted")
        if self.status == "certified" and self.certificate is None:
            raise InputError("certificate: is missing although the status is certified")
        if self.certificate is not None:
            _check_json(self.certificate)
        if self.status == "failed" and not self.reason:
            raise InputError("reason: is missing although the status is failed")

    @property
    def undetermined(self) -> bool:
        """Whether the samples explain the observation, and the reason says first that they need not be the data.

        Returns
        -------
        bool
            False where the status is ``failed``: there are no samples that explain it.
        """
        return self.status != "failed" and self.reason.startswith("undetermined")

    @property
    def measure(self) -> Measure:
        """The points with their coefficients."""
        return Measure(self.points, self.coefficients)

    def to_json(self) -> str:
        """Give everything but the arrays.

        Returns
        -------
        str
            JSON with the keys ``format``, ``method``, ``status``, ``reason`` (null if there is none), ``residual``,
            ``atoms`` (their number), ``fibre`` and ``certificate`` (an object or null).
        """
        document = {
            "format": FORMAT,
            "method": self.method,
            "status": self.status,
            "reason": self.reason or None,
            "residual": self.residual,
            "atoms": len(self.points),
            "fibre": list(self.fibre),
            "certificate": None if self.certificate is None else json.loads(self.certificate),
        }
        return json.dumps(document, indent=2, allow_nan=False)

    def to_bytes(self) -> bytes:
        """Give the recovery as a file.

        Returns
        -------
        bytes
            A `provable-recovery/1` archive, the same for the same recovery on every machine.
        """
        members: dict[str, Any] = {
            "format": FORMAT,
            "points": self.points,
            "coefficients": self.coefficients,
            "residual": self.residual,
            "method": self.method,
            "fibre": self.fibre,
            "status": self.status,
        }
        if self.labels is not None:
            members["labels"] = self.labels
        if self.reason:
            members["reason"] = self.reason
        if self.certificate is not None:
            members["certificate"] = self.certificate
        return write_archive(members)

    def write(self, path: str | Path) -> None:
        """Write the recovery's file atomically.

        Parameters
        ----------
        path : str or Path
            Where to.
        """
        write_atomically(path, self.to_bytes())

    @classmethod
    def read(cls, path: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> Recovery:
        """Read a recovery's file.

        Parameters
        ----------
        path : str or Path
            The file, or ``-`` for standard input.
        limit_bytes : int, optional
            Limit on its size and on what it declares to hold.

        Returns
        -------
        Recovery
            The recovery.
        """
        return cls.from_bytes(read_limited(path, limit_bytes=limit_bytes), str(path), limit_bytes=limit_bytes)

    @classmethod
    def from_bytes(cls, content: bytes, name: str = "recovery", *, limit_bytes: int = LIMIT_BYTES) -> Recovery:
        """Read a recovery from the bytes of its file.

        Parameters
        ----------
        content : bytes
            A `provable-recovery/1` archive.
        name : str, optional
            How error messages call the file.
        limit_bytes : int, optional
            Limit on what it declares to hold.

        Returns
        -------
        Recovery
            The recovery.

        Raises
        ------
        InputError
            If anything in the file is not as the format has it; the message names the file and the key.
        """
        members = read_archive(content, name, limit_bytes=limit_bytes)
        try:
            return cls(**_fields(members))
        except InputError as error:
            raise InputError(f"{name}: {error}") from error


def _real(key: str, value: Any) -> NDArray[np.float64]:
    array = np.array(value, order="C")
    if array.dtype != np.float64:
        raise InputError(f"{key}: are of type {array.dtype}; float64 is accepted")
    if not np.all(np.isfinite(array)):
        raise InputError(f"{key}: hold a number that is not finite")
    array.flags.writeable = False
    return array


def _fields(members: Mapping[str, Member]) -> dict[str, Any]:
    for key, value in members.items():
        if key not in _KINDS:
            raise InputError(f"{key}: is an unknown key; {', '.join(_KINDS)} are accepted")
        if not isinstance(value, _KINDS[key]):
            found = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else shown(str(value))
            accepted = {str: "one text", tuple: "a list of texts", np.ndarray: "an array of numbers"}[_KINDS[key]]
            raise InputError(f"{key}: found {found}; {accepted} is accepted")
    for key in _REQUIRED:
        if key not in members:
            raise InputError(f"{key}: is missing")
    fields: dict[str, Any] = {"labels": None} | dict(members)
    if (found := fields.pop("format")) != FORMAT:
        raise InputError(f"format: found {shown(found)}; {FORMAT} is accepted")
    if fields["residual"].shape != () or fields["residual"].dtype != np.float64:
        raise InputError("residual: is no single number of float64")
    fields["residual"] = float(fields["residual"])
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _check_json(text: str) -> None:
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InputError("certificate: is no JSON text") from error
    if not isinstance(document, dict):
        raise InputError(f"certificate: is a JSON {type(document).__name__}; an object is accepted")
