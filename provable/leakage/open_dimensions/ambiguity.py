"""Bounds of N*, the number of dimensions of the input that all gradients together leave open."""

from __future__ import annotations

from provable.architectures import Architecture
from provable.leakage.chain import Chain
from provable.leakage.open_dimensions.jacobian_rank import JacobianRefusal, jacobian_rank
from provable.leakage.open_dimensions.nested_rank import nested_rank_bound
from provable.leakage.result import Ambiguity, LayerAudit


def bound_ambiguity(
    architecture: Architecture,
    read: Chain,
    layers: tuple[LayerAudit, ...],
    dead: int,
    *,
    batch_size: int,
    seed: int,
) -> Ambiguity:
    """Bound N* from both sides by the cheapest arguments that decide it.

    Parameters
    ----------
    architecture : Architecture
        The network.
    read : Chain
        The same, as the recursion reads it.
    layers : tuple of LayerAudit
        Its layer systems.
    dead : int
        Number of input values that are never looked at.
    batch_size : int
        Number of samples behind the gradient.
    seed : int
        Seed of the witness.

    Returns
    -------
    Ambiguity
        Both bounds and the arguments.
    """
    lower, how, is_global = _from_below(architecture, read, layers, dead, batch_size)
    upper, reason, assumed = _from_above(architecture, read, layers, lower, batch_size, seed)
    return Ambiguity(lower, upper, is_global, f"{how}; {reason}", assumed)


def _from_below(
    architecture: Architecture, read: Chain, layers: tuple[LayerAudit, ...], dead: int, batch_size: int
) -> tuple[int, str, bool]:
    first = layers[0]
    found = [(0, "no dimension is proved to stay open", False)]
    if read.sees_sample and "." not in first.path and (read.links[0].is_convolution or batch_size > 1):
        text = f"moving the input in the null space of {first.name} changes no gradient"
        found.append((first.deficit_lower, text, True))
    found.append((batch_size * dead, f"{dead} input values reach no output through the stack of convolutions", True))
    nested = nested_rank_bound(architecture, {layer.path: layer.rank_upper for layer in layers}, batch_size=batch_size)
    text = f"all gradients together have rank at most {nested.value} ({nested.how})"
    found.append((nested.nullity, text, False))
    return max(found, key=lambda entry: entry[0])


def _from_above(
    architecture: Architecture,
    read: Chain,
    layers: tuple[LayerAudit, ...],
    lower: int,
    batch_size: int,
    seed: int,
) -> tuple[int | None, str, tuple[str, ...]]:
    first = layers[0]
    if batch_size > 1:
        return None, "for several samples no upper bound is known here", ()
    obstacle = next((layer for layer in layers[1:] if not layer.is_solvable), None)
    if read.start.position is None:
        reason = "there is no layer from which a recursion could start"
    elif obstacle is not None:
        reason = f"{obstacle.name} is not proved to be solvable for its input"
    elif not read.sees_sample:
        reason = f"{first.name} does not see the sample itself"
    elif first.hidden or first.deficit_upper is None:
        reason = f"{first.name} is not proved to be solvable for its input"
    elif first.deficit_upper == 0:
        return 0, "every layer is solvable for its input", ()
    else:
        return first.deficit_upper, "every layer behind the first is solvable", ()
    found = jacobian_rank(architecture, seed=seed, target=architecture.input_size - lower)
    if isinstance(found, JacobianRefusal):
        return None, f"{reason}, and the rank of all gradients together was not computed ({found.reason})", ()
    return found.nullity, f"all gradients together have rank at least {found.value} ({found.how})", found.assumptions
