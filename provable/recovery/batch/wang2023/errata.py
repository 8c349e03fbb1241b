"""Errata of Wang, Lee and Lei (AISTATS 2023) that change what its algorithms return, each of them a switch."""

from __future__ import annotations

import dataclasses
import enum

from provable.errors import InputError


class Erratum(enum.Enum):
    """A place where the algorithms cannot be run as printed, or fail if they are; the value says what is wrong."""

    AVERAGE = "Algorithm 1, step 3: the third moment is a sum over the neurons; it has to be their average"
    CONTRACTION = (
        "Remarks 3 and 4: the contraction with any unit vector a has the weights Eσ⁽ᵏ⁾ rᵢ (a·xᵢ), of order 1/√d at a random "
        "a; a has to be in the span of the samples (the first moment is), and inside the span all contractions are at hand"
    )
    CONTRACTED_WEIGHT = (
        "Remarks 3 and 4: the weight of a contracted moment is said to be Eσ⁽ᵏ⁾ rᵢ; the factor a·xᵢ is missing"
    )
    LABEL = "Algorithm 1, last step: ŷ = λ̂ - Eσ; since r = f(x) - y, it has to be ŷ = f(x̂) - r̂ with r̂ = λ̂ / Eσ⁽³⁾"
    SIGN = (
        "Theorem 5.1: sign(ŷ) = y for odd activations too; (xᵢ, rᵢ) and (-xᵢ, -rᵢ) have the same gradient there, so that the "
        "sign is open"
    )
    DEEP_LABEL = "Algorithm 2, last step: ŷ = λ̂/λ, which is the residual r̂ and not the label; ŷ = f(x̂) - r̂"
    LEAKY_FACTOR = (
        "Algorithm 2: 1.01 for leaky ReLUs is the factor of one layer; behind k of them it is 1 + 0.01ᵏ, in general "
        "1 plus the product of the slopes"
    )


OBSERVED = ("output weights", "first layer")
"""Which gradient the moments are made of: ∂L/∂a as in the body of the paper, or ∂L/∂W as in its appendix B."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How Algorithms 1 and 2 are run.

    Parameters
    ----------
    as_printed : bool or collection of Erratum, optional
        The errata that are *not* applied: False for none, True for all.
    observed : {"output weights", "first layer"}, optional
        Which gradient the moments are made of.
    contractions : int, optional
        L, the number of random contractions of the tensor that are diagonalised jointly.
    positive_residuals : bool, optional
        Whether all rᵢ are known to be positive, as they are behind an output bias above every label (Remark 1).

    Raises
    ------
    InputError
        For another gradient, fewer than two contractions or something that is no erratum.
    """

    as_printed: bool | frozenset[Erratum] = frozenset()
    observed: str = "output weights"
    contractions: int = 100
    positive_residuals: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.as_printed, bool):
            object.__setattr__(self, "as_printed", frozenset(Erratum) if self.as_printed else frozenset())
        else:
            object.__setattr__(self, "as_printed", frozenset(self.as_printed))
            for erratum in self.as_printed:
                if not isinstance(erratum, Erratum):
                    raise InputError(f"as_printed: found {erratum!r:.60}; members of Erratum are accepted")
        if self.observed not in OBSERVED:
            raise InputError(f"observed: found {self.observed!r:.60}; {' and '.join(OBSERVED)} are accepted")
        count = self.contractions
        if isinstance(count, bool) or not isinstance(count, int) or count < 2:
            raise InputError(f"contractions: found {count!r:.60}; an integer of at least 2 is accepted")

    def printed(self, erratum: Erratum) -> bool:
        """Tell whether a step is run as printed.

        Parameters
        ----------
        erratum : Erratum
            What is wrong with it.

        Returns
        -------
        bool
            False if the erratum is applied.
        """
        assert not isinstance(self.as_printed, bool)
        return erratum in self.as_printed
