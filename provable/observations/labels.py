"""Labels as the losses have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Architecture
from provable.errors import InputError


def check_labels(architecture: Architecture, labels: NDArray[Any], batch_size: int | None) -> NDArray[Any]:
    """Check labels against the architecture's loss.

    Parameters
    ----------
    architecture : Architecture
        Gives the loss and the number of outputs C.
    labels : array
        Labels as in an observation.
    batch_size : int or None
        The number of samples, if it is known.

    Returns
    -------
    ndarray
        Read-only: int64 of shape (n,) for ``cross_entropy``, float64 of shape (n,) for ``logistic`` and (n, C) for
        ``squared``.

    Raises
    ------
    InputError
        If their type, shape, number or a value is not one that the loss has.
    """
    values = np.asarray(labels)
    outputs = architecture.output_size
    if values.dtype.kind not in "iuf" or (values.dtype.kind == "f" and values.dtype != np.float64):
        raise InputError(f"labels: are of type {values.dtype}; integers and float64 are accepted")
    if architecture.loss == "squared" and outputs == 1 and values.ndim == 1:
        values = values[:, None]
    wanted = f"(n, {outputs})" if architecture.loss == "squared" else "(n,)"
    if values.ndim != (2 if architecture.loss == "squared" else 1) or values.shape[1:] not in ((), (outputs,)):
        raise InputError(f"labels: have shape {values.shape}; {wanted} is accepted for the loss {architecture.loss}")
    if not len(values) or (batch_size is not None and len(values) != batch_size):
        raise InputError(f"labels: are {len(values)}; {batch_size or 'at least one'} would fit the batch")
    if not np.all(np.isfinite(values)):
        raise InputError("labels: hold a number that is not finite")
    if architecture.loss == "cross_entropy":
        if values.dtype.kind == "f" or np.any(values < 0) or np.any(values >= outputs):
            raise InputError(f"labels: are not all integers from 0 to {outputs - 1}, the classes of the architecture")
        result: NDArray[Any] = values.astype(np.int64)
    else:
        result = values.astype(np.float64)
        if architecture.loss == "logistic" and not np.all(np.abs(result) == 1):
            raise InputError("labels: are not all -1 or 1, the labels of the loss logistic")
    result.flags.writeable = False
    return result
