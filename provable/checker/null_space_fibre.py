r"""The claim ``null-space-fibre``: a point explains the observation, and so does an affine space through it.

Let the network be a chain whose first layer with parameters is affine, z = W x + b, with nothing but flatten before it, and
let D̂ be the sensitivity of z at the stated (x̂, ĉ). For n in the null space of U = [W; K(D̂)], x̂ + n has the same z, so
the same outputs, the same D̂ and the same gradients of all later layers and of the bias; and its own weight gradient
K(D̂)(x̂ + n) is the same. So every point of x̂ + null U explains the observation as x̂ does. At no point is the rank of U more
than the generic one, so null U has at least as many dimensions as the input has entries, minus any upper bound of the generic
rank: the number of inputs that windows cover, and rank W + rank K - dim(R(W) ∩ R(K)) by the counts and the witness of
`layer_ranks`.
"""

from __future__ import annotations

import hashlib
from typing import Any

from flint import ctx

from provable.checker import documents
from provable.checker.archive import Archive
from provable.checker.description import layers_of
from provable.checker.explaining_point import ExplainingPoint
from provable.checker.layer_ranks import rank_bound, system_of
from provable.checker.verdict import Invalid, Undecided

_PRECISIONS = (128, 256, 512)


def check(data: dict[str, Any], subject: str, observation: bytes | None) -> str:
    """Check a ``null-space-fibre`` claim.

    Parameters
    ----------
    data : dict
        ``points`` (1, d), ``coefficients`` (1, C), ``pieces``, ``residual``, ``dimension``, ``prime`` and ``seed``.
    subject : str
        SHA-256 of the observation file.
    observation : bytes or None
        The file's bytes.

    Returns
    -------
    str
        What was proved.

    Raises
    ------
    Invalid
        If the claim is not proved.
    """
    documents.keys(data, {"points", "coefficients", "pieces", "residual", "dimension", "prime", "seed"})
    residual = documents.rational(data["residual"], "residual")
    dimension = documents.natural(data["dimension"], "dimension", 1)
    if residual < 0:
        raise Invalid("the residual is negative")
    if observation is None:
        raise Invalid("the observation file is needed, and none was given")
    if hashlib.sha256(observation).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the observation file")
    archive = Archive(observation)
    point = ExplainingPoint(archive, data, residual)
    first = point.affine[0]
    system = system_of(layers_of(archive.text("architecture")), str(first.index))
    bound = rank_bound(system, data)
    if len(point.point) - bound < dimension:
        raise Invalid(
            f"dimension is {dimension}, and {bound} bounds the rank of the equations for {len(point.point)} inputs"
        )
    for bits in _PRECISIONS:
        with ctx.workprec(bits):
            try:
                _check_residual(point)
            except Undecided:
                continue
            return f"an affine space of dimension {dimension} through the point explains the observation within the residual"
    raise Invalid("the claim could not be decided with balls of 512 bits")


def _check_residual(point: ExplainingPoint) -> None:
    stages, inputs = point.forward()
    sensitivities = point.sensitivities(point.backward(stages))
    patches = [affine.patches(x) for affine, x in zip(point.affine, inputs, strict=True)]
    point.check_residual(sensitivities, patches)
