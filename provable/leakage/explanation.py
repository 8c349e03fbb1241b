"""What an audit rests on and what follows from it, in sentences."""

from __future__ import annotations

from provable.architectures import Architecture
from provable.leakage.chain import Chain
from provable.leakage.result import Ambiguity, LayerAudit


def assumptions(read: Chain, batch_size: int) -> tuple[str, ...]:
    """List what the statements of an audit rest on.

    Parameters
    ----------
    read : Chain
        The network as the recursion reads it.
    batch_size : int
        Number of samples behind the gradient.

    Returns
    -------
    tuple of str
        Sentences.
    """
    number = "one sample, whose label is known" if batch_size == 1 else f"{batch_size} samples, whose labels are known"
    found = [
        f"{number}; architecture and parameters are known; the gradient of every parameter is seen exactly and is not zero",
        read.start.how,
    ]
    convolutions = [link for link in read.links if link.is_convolution]
    if convolutions or batch_size > 1:
        found.append(
            "generic parameters: solvability is proved per layer for all weights and output sensitivities outside a set of "
            "measure zero, and the sensitivities that the network makes are taken to lie outside of it; dimensions said to "
            "be open are open for all parameters and samples"
        )
    for link in convolutions:
        if link.repeats_values:
            names = " and ".join(activation.type for activation in link.activations)
            found.append(
                f"{link.name} is followed by {names}: not injective, so the layers below are determined locally, up to "
                "finitely many"
            )
    reasons: dict[str, list[str]] = {}
    for link in convolutions:
        for reason in link.hidden:
            reasons.setdefault(reason, []).append(link.path)
    if reasons:
        found.append(
            "ranks and c(M) take every output and its sensitivity as known, which the following hide from the recursion"
        )
    for reason, paths in reasons.items():
        plural = "s" if len(paths) > 1 else ""
        found.append(f"layer{plural} {_listed(paths)}: {reason}")
    return tuple(found)


def _listed(paths: list[str], most: int = 6) -> str:
    if len(paths) > most:
        return ", ".join(paths[:most]) + f" and {len(paths) - most} more"
    return ", ".join(paths)


def explain(
    architecture: Architecture,
    read: Chain,
    layers: tuple[LayerAudit, ...],
    ambiguity: Ambiguity,
    verdict: str,
    dead: int,
    batch_size: int,
) -> str:
    """Say what an audit means for the owner of the data.

    Parameters
    ----------
    architecture : Architecture
        The network.
    read : Chain
        The same, as the recursion reads it.
    layers : tuple of LayerAudit
        Its layer systems.
    ambiguity : Ambiguity
        What all gradients together leave open.
    verdict : str
        The verdict.
    dead : int
        Number of input values that are never looked at.
    batch_size : int
        Number of samples behind the gradient.

    Returns
    -------
    str
        One sentence of consequence and what qualifies it.
    """
    inputs = batch_size * architecture.input_size
    if verdict == "undetermined":
        return _undetermined(layers, batch_size) + " Treat the data as exposed."
    answer = (
        _identifiable(read, layers) if verdict == "identifiable" else _ambiguous(ambiguity, inputs, dead, batch_size)
    )
    if ambiguity.assumptions:
        answer += (
            " What is determined is so on an open set of parameters and samples; outside of it more may stay open."
        )
    return answer


def _identifiable(read: Chain, layers: tuple[LayerAudit, ...]) -> str:
    if not read.sees_sample or not all(layer.is_solvable for layer in layers):
        return (
            "The gradient determines the sample up to isolated candidates: no direction leaves all gradients unchanged, even "
            "if not every layer can be solved on its own. The equations do not stop an attack on all layers at once."
        )
    answer = "Whoever sees the gradient can compute the sample exactly: " + (
        "the first layer's gradient contains it."
        if layers[0].type == "linear"
        else "layer by layer, every input is the only solution of linear equations that are known."
    )
    start = read.start
    if any(link.repeats_values for link in read.links[: start.position]):
        return answer + (
            " There may be several such samples, but only isolated ones, because an activation takes values twice."
        )
    return answer if start.unique else answer + " There are at most two such samples (twins)."


def _ambiguous(ambiguity: Ambiguity, inputs: int, dead: int, batch_size: int) -> str:
    what = "sample" if batch_size == 1 else "samples"
    answer = (
        f"At least {ambiguity.lower} of {inputs} dimensions of the {what} cannot be recovered from the gradient by any "
    )
    answer += "method: " + (
        f"moving the {what} along them changes no gradient."
        if ambiguity.is_global
        else f"near almost every {what} there are as many directions of curves on which no gradient changes."
    )
    if dead:
        answer += f" {batch_size * dead} input values are never looked at."
    if ambiguity.upper == ambiguity.lower:
        rest = inputs - ambiguity.lower
        answer += f" The other {rest} {'is' if rest == 1 else 'are'} determined." if rest else " None is determined."
    elif ambiguity.upper is not None:
        answer += f" At most {ambiguity.upper} stay open."
    else:
        answer += " How many more stay open is not decided here."
    return answer + " Guesses about typical images can still fill in what is open."


def _undetermined(layers: tuple[LayerAudit, ...], batch_size: int) -> str:
    if batch_size > 1:
        return (
            "Not decided: no dimension is proved to stay open for several samples at once, and this audit has no proof that "
            "they are determined."
        )
    obstacle = next((layer for layer in reversed(layers) if layer.reached and not layer.is_solvable), None)
    if obstacle is None:
        return "Not decided: no dimension is proved to stay open, and no recursion from layer to layer can be started."
    if obstacle.hidden:
        return (
            f"Not decided: an attack layer by layer gets stuck at {obstacle.name}: {obstacle.hidden[0]}; an attack on all "
            "layers at once may not."
        )
    if obstacle.deficit_lower > 0:
        return (
            f"Not decided: an attack layer by layer gets stuck at {obstacle.name}, which is short of "
            f"{obstacle.deficit_lower} equations, but an attack on all layers at once may not."
        )
    return f"Not decided: no dimension is proved to stay open, and {obstacle.name} is not proved to be solvable."
