"""The data behind a demonstration's observation: a plain `.npz` with ``points``, ``coefficients`` and ``labels``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.errors import InputError
from provable.files import read_limited
from provable.measures import Matching, Measure
from provable.observations.archive import LIMIT_BYTES, read_archive, write_archive

LARGEST_NUMBER = 1e150
"""Squares of larger numbers overflow, so no distances are given."""


@dataclasses.dataclass(frozen=True)
class Truth:
    """What an attacker does not have: the measure and its labels.

    Parameters
    ----------
    measure : Measure
        Points of shape (n, *input_shape) and their coefficients of shape (n, C).
    labels : array of shape (n,) or (n, C)
        Labels, as in an observation.
    """

    measure: Measure
    labels: NDArray[Any]

    def to_bytes(self) -> bytes:
        """Give the truth as a file.

        Returns
        -------
        bytes
            An `.npz` archive.
        """
        return write_archive(
            {"points": self.measure.points, "coefficients": self.measure.coefficients, "labels": self.labels}
        )

    def matching(self, measure: Measure, fibre: Iterable[str] = ("permutation",)) -> Matching | None:
        """Match the atoms of a recovered measure with the true ones.

        Parameters
        ----------
        measure : Measure
            What was recovered.
        fibre : iterable of str, optional
            Symmetries divided out, as in `Measure.matching`.

        Returns
        -------
        Matching or None
            None if a number is so large that distances overflow.
        """
        arrays = (self.measure.points, self.measure.coefficients, measure.points, measure.coefficients)
        if max(float(np.max(np.abs(array), initial=0.0)) for array in arrays) > LARGEST_NUMBER:
            return None
        return measure.matching(self.measure, fibre=fibre)

    @classmethod
    def read(cls, path: str | Path) -> Truth:
        """Read the file that `to_bytes` makes.

        Parameters
        ----------
        path : str or Path
            The file, or ``-`` for standard input.

        Returns
        -------
        Truth
            The measure and its labels.

        Raises
        ------
        InputError
            If a key is missing, unknown or of the wrong type or shape.
        """
        members = read_archive(read_limited(path, limit_bytes=LIMIT_BYTES), str(path))
        arrays: dict[str, NDArray[Any]] = {}
        for key in ("points", "coefficients", "labels"):
            if key not in members:
                raise InputError(f"{path}: {key}: is missing; points, coefficients and labels are needed")
            value = members.pop(key)
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu" or value.ndim == 0:
                raise InputError(f"{path}: {key}: is no array of numbers")
            arrays[key] = value
        if members:
            raise InputError(
                f"{path}: {next(iter(members))}: is an unknown key; points, coefficients and labels are accepted"
            )
        try:
            measure = Measure(arrays["points"], arrays["coefficients"])
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        if len(arrays["labels"]) != measure.size or not np.all(np.isfinite(arrays["labels"])):
            raise InputError(f"{path}: labels: are {len(arrays['labels'])}; {measure.size} finite ones are accepted")
        return cls(measure, arrays["labels"])
