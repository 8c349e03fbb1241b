"""What an audit found: frozen, and as JSON of the format ``provable-audit/1``."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from provable.architectures import Architecture
from provable.leakage.metrics.cramer_rao import CramerRao
from provable.rigor.certificates import Certificate

FORMAT = "provable-audit/1"
"""The value of the key ``format``."""


@dataclasses.dataclass(frozen=True)
class LayerAudit:
    """The layer system of one layer with parameters.

    Parameters
    ----------
    path : str
        Place of the layer in the architecture: ``"4"``, or ``"4.1"`` and ``"4.shortcut.0"`` inside a residual block.
    type : str
        ``"conv2d"`` or ``"linear"``.
    unknowns : int
        Size of the layer's input.
    forward_equations, gradient_equations : int
        Numbers of outputs and of weights, each of which gives one linear equation for the input.
    rank_lower : int or None
        With all outputs and sensitivities known, the rank of the equations is generically at least this; None if that is
        not proved.
    rank_upper : int
        The rank is never more than this.
    how_lower : str or None
        The argument behind `rank_lower`.
    how_upper : str
        The argument behind `rank_upper`.
    hidden : tuple of str
        Why outputs or sensitivities are not all known to an attacker who knows everything behind the layer, so that the
        actual equations are fewer; empty if they are known.
    reached : bool
        Whether the recursion comes to this layer, all layers on its way being solvable.
    certificates : mapping of str to Certificate
        At most one for ``"lower"`` and one for ``"upper"``.
    """

    path: str
    type: str
    unknowns: int
    forward_equations: int
    gradient_equations: int
    rank_lower: int | None
    rank_upper: int
    how_lower: str | None
    how_upper: str
    hidden: tuple[str, ...] = ()
    reached: bool = True
    certificates: Mapping[str, Certificate] = dataclasses.field(default_factory=dict)

    @property
    def index(self) -> int:
        """Position in the architecture, of the residual block if the layer is inside one."""
        return int(self.path.partition(".")[0])

    @property
    def name(self) -> str:
        """How messages call the layer."""
        return f"layer {self.path} ({self.type})"

    @property
    def is_on_main_path(self) -> bool:
        """Whether the layer is not on a shortcut."""
        return "shortcut" not in self.path

    @property
    def is_solvable(self) -> bool:
        """Whether the recursion finds the layer's input, once everything behind is known."""
        return self.reached and not self.hidden and self.deficit_upper == 0

    @property
    def deficit_lower(self) -> int:
        """Number of dimensions of the input that the layer's equations leave open, at least."""
        return self.unknowns - self.rank_upper

    @property
    def deficit_upper(self) -> int | None:
        """The same at most, generically and with all outputs and sensitivities known; None if that is not proved."""
        return None if self.rank_lower is None else self.unknowns - self.rank_lower

    def to_dict(self) -> dict[str, Any]:
        """Describe the layer in JSON's types.

        Returns
        -------
        dict
            An entry of ``layers``.
        """
        certificates = {name: json.loads(certificate.to_json()) for name, certificate in self.certificates.items()}
        return {
            "index": self.index,
            "path": self.path,
            "type": self.type,
            "unknowns": self.unknowns,
            "equations": {"forward": self.forward_equations, "gradient": self.gradient_equations},
            "rank": {"lower": self.rank_lower, "upper": self.rank_upper},
            "deficit": {"lower": self.deficit_lower, "upper": self.deficit_upper},
            "how": {"lower": self.how_lower, "upper": self.how_upper},
            "hidden": list(self.hidden),
            "reached": self.reached,
            "certificate": {"lower": None, "upper": None} | certificates if certificates else None,
        }


@dataclasses.dataclass(frozen=True)
class Ambiguity:
    """Bounds of N*, the nullity of the derivative of the map from the input to all gradients.

    Parameters
    ----------
    lower : int
        N* is at least this, for all parameters and inputs: through almost every input passes a manifold of at least that
        dimension on which no gradient changes.
    upper : int or None
        N* is at most this for generic parameters; None if this audit does not decide it.
    is_global : bool
        Whether the inputs with the same gradients contain an affine space of dimension `lower` > 0 through every input.
    how : str
        The arguments.
    assumptions : tuple of str
        What the upper bound rests on besides the audit's assumptions.
    """

    lower: int
    upper: int | None
    is_global: bool
    how: str
    assumptions: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Audit:
    """What is proved of the leakage of one sample through the gradient of a network.

    Parameters
    ----------
    architecture : Architecture
        The network.
    batch_size : int
        Number of samples behind the gradient.
    assumptions : tuple of str
        What the statements rest on.
    layers : tuple of LayerAudit
        The layers with parameters, from the input on.
    c_metric : int or None
        Chen and Campbell's c(M): Σ_i round((d - i + 1)/d · (rank U_i - n_i)) over the d convolutions that are not on a
        shortcut, i = 1 nearest the input, as if all outputs were known; 0 for solvable layers, the more negative the fewer
        equations. None without convolutions or while a rank is not known.
    rgap_index : int or None
        R-GAP's count of missing equations, negative for a surplus (`provable.leakage.metrics.rgap_index`); None without
        convolutions, for several samples and for layers that it has no rule for.
    ambiguity : Ambiguity
        How many dimensions of the input all gradients together leave open.
    dead_inputs : int
        Number of input values on which neither the output nor any gradient depends.
    cramer_rao : CramerRao or None
        Lower bounds of the error under the noise that was asked for.
    verdict : {"identifiable", "ambiguous", "undetermined"}
        Whether the sample is determined, is not, or this audit cannot tell.
    explanation : str
        The consequence, in words.
    """

    architecture: Architecture
    batch_size: int
    assumptions: tuple[str, ...]
    layers: tuple[LayerAudit, ...]
    c_metric: int | None
    rgap_index: int | None
    ambiguity: Ambiguity
    dead_inputs: int
    cramer_rao: CramerRao | None
    verdict: str
    explanation: str

    def to_dict(self) -> dict[str, Any]:
        """Describe the audit in JSON's types.

        Returns
        -------
        dict
            The object of ``provable-audit/1``; what was not computed is None.
        """
        return {
            "format": FORMAT,
            "architecture": self.architecture.to_dict(),
            "batch_size": self.batch_size,
            "assumptions": list(self.assumptions),
            "layers": [layer.to_dict() for layer in self.layers],
            "c_metric": self.c_metric,
            "rgap_index": self.rgap_index,
            "ambiguity": {
                "lower": self.ambiguity.lower,
                "upper": self.ambiguity.upper,
                "global": self.ambiguity.is_global,
                "how": self.ambiguity.how,
            },
            "dead_inputs": self.dead_inputs,
            "cramer_rao": None if self.cramer_rao is None else self.cramer_rao.to_dict(),
            "verdict": self.verdict,
            "explanation": self.explanation,
        }

    def to_json(self) -> str:
        """Write the audit.

        Returns
        -------
        str
            JSON of the format ``provable-audit/1``.
        """
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
