r"""How reconstruction errors scale under defences: the table of bounds of Liu, Wang, Chen and Lei.

Notes
-----
The setting is a network :math:`f(x) = \frac1m \sum_j \sigma(w_j \cdot x)` with random w_j, a batch of B samples of norm 1,
and one gradient by the output weights. The error is the root mean square of |x̂_i - x_i| over the batch.

| defence | upper: a moment attack achieves | lower: every attack errs by |
|---|---|---|
| none | Õ(B √(d/m)) | Ω(σ √(d/m)) |
| K local steps | Õ(K B √(d/m)) | Ω(σ √(d/m)) |
| K clients, secure aggregation | Õ(K B √(d/m)) | Ω(σ √(d/m)) |
| Gaussian noise σ | Õ((B + σ) √(d/m)) | Ω(σ √(d/m)) |
| clipping to C, noise σ | Õ((B + s) √(d/m)), s = σ max(1, ‖G‖/C) | Ω(s √(d/m)) |
| dropout p | Õ(B √(d/((1-p) m))) | Ω(σ √(d/((1-p) m))) |
| pruning | unknown | Ω(σ √(d/((1-p̂) m))) |

**These are rates, not numbers.** Constants, logarithms and powers of B are not known, residuals and singular values of the
batch are taken to be of order one, and what the lower bounds hold for is Gaussian noise on what is sent and an unbiased
attack, or a prior. A quotient of two values of one entry says something; a value, or a comparison of a lower with an upper
one, does not. `provable.leakage.metrics.batch_cramer_rao` gives numbers.

Three things to know before using them:

- The upper bounds are those of the moment attack. An attack on the exact equations has error zero at σ = 0 and meets the
  lower bounds for small σ > 0, so the terms with B and not σ are a property of that attack and not of the problem.
- Without noise (σ = 0) the lower bounds are zero, for every defence in the table: none of the others protects by itself.
  The slides that the table was read from print dropout's lower bound without σ. That cannot hold: batches come back at
  rounding level from dropout gradients without noise. The factor is supplied here, as in a third party's reading note.
- Dropout is meant without the usual rescaling of what survives. Rescaled by 1/(1-p), the gradient of the surviving output
  weights grows by that factor and noise of the same σ matters less: σ √((1-p) d/m), below the undefended rate.

The share p̂ of pruning depends on the Jacobian in a way that the sources read do not state; the share of entries that is
removed is a stand-in.

References
----------
S. Liu, Z. Wang, Y. Chen, Q. Lei, "Data reconstruction attacks and defenses: a systematic evaluation", AISTATS 2025,
arXiv:2402.09478; read: the authors' slides and a reading note, not the paper. The entry for secure aggregation is that of K
times as many samples; the slides of an earlier talk have Õ(K √(d/m)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from provable.errors import InputError


@dataclass(frozen=True)
class Setting:
    """What the rates depend on.

    Parameters
    ----------
    dimension : int
        d, values of a sample.
    width : int
        m, hidden units.
    samples : int
        B, samples behind one client's gradient.
    noise : float
        σ >= 0, standard deviation of the noise on each number of the gradient by the output weights, where a = 1/m.

    Raises
    ------
    InputError
        If a number is out of range.
    """

    dimension: int
    width: int
    samples: int
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("dimension", "width", "samples"):
            _whole(name, getattr(self, name))
        _real("noise", self.noise, 0.0, math.inf)

    @property
    def root(self) -> float:
        """√(d/m)."""
        return math.sqrt(self.dimension / self.width)


@dataclass(frozen=True)
class Rates:
    """How two bounds scale, constants and logarithms aside.

    Parameters
    ----------
    defence : str
        Which row of the table.
    upper : float or None
        Rate of the error that a moment attack achieves; None where none is known.
    lower : float
        Rate of the error that no attack goes below.
    """

    defence: str
    upper: float | None
    lower: float


def undefended(setting: Setting) -> Rates:
    """Rates without a defence, σ being whatever noise there is.

    Parameters
    ----------
    setting : Setting
        The network, the batch and the noise.

    Returns
    -------
    Rates
        Õ(B √(d/m)) and Ω(σ √(d/m)).
    """
    return Rates("none", setting.samples * setting.root, setting.noise * setting.root)


def local_steps(setting: Setting, steps: int) -> Rates:
    """Rates for a client that sends the change of the parameters by K steps.

    Parameters
    ----------
    setting : Setting
        The network, the batch and the noise.
    steps : int
        K >= 1.

    Returns
    -------
    Rates
        Õ(K B √(d/m)) and Ω(σ √(d/m)).
    """
    return Rates("local steps", _whole("steps", steps) * setting.samples * setting.root, setting.noise * setting.root)


def aggregation(setting: Setting, clients: int) -> Rates:
    """Rates for the sum of K clients' gradients: those of a batch of K B.

    Parameters
    ----------
    setting : Setting
        The network, one client's batch and the noise on the sum.
    clients : int
        K >= 1.

    Returns
    -------
    Rates
        Õ(K B √(d/m)) and Ω(σ √(d/m)).
    """
    return Rates(
        "secure aggregation", _whole("clients", clients) * setting.samples * setting.root, setting.noise * setting.root
    )


def gaussian_noise(setting: Setting) -> Rates:
    """Rates for Gaussian noise as the defence.

    Parameters
    ----------
    setting : Setting
        The network, the batch and the noise.

    Returns
    -------
    Rates
        Õ((B + σ) √(d/m)) and Ω(σ √(d/m)).
    """
    return Rates("Gaussian noise", (setting.samples + setting.noise) * setting.root, setting.noise * setting.root)


def clipping_and_noise(setting: Setting, norm: float, bound: float) -> Rates:
    """Rates for a gradient that is clipped to C before noise is added.

    Parameters
    ----------
    setting : Setting
        The network, the batch and the noise.
    norm : float
        ‖G‖ > 0, the norm before clipping.
    bound : float
        C > 0.

    Returns
    -------
    Rates
        Õ((B + s) √(d/m)) and Ω(s √(d/m)) with s = σ max(1, ‖G‖/C): what was clipped is as good as what was not, and the
        noise is as much larger. Without noise the lower rate is zero.
    """
    factor = max(1.0, _positive("norm", norm) / _positive("bound", bound))
    effective = setting.noise * factor
    return Rates("clipping and noise", (setting.samples + effective) * setting.root, effective * setting.root)


def dropout(setting: Setting, probability: float) -> Rates:
    """Rates for dropout of hidden units, one mask for the batch, survivors not rescaled.

    Parameters
    ----------
    setting : Setting
        The network, the batch and the noise.
    probability : float
        p in [0, 1).

    Returns
    -------
    Rates
        Õ(B √(d/((1-p) m))) and Ω(σ √(d/((1-p) m))): those of the width that is left.
    """
    root = setting.root / math.sqrt(1 - _share("probability", probability))
    return Rates("dropout", setting.samples * root, setting.noise * root)


def pruning(setting: Setting, removed: float) -> Rates:
    """Rates for a gradient of which the small entries are set to zero.

    Parameters
    ----------
    setting : Setting
        The network, the batch and the noise.
    removed : float
        p̂ in [0, 1), of which the sources say only that it depends on the Jacobian.

    Returns
    -------
    Rates
        No upper rate, and Ω(σ √(d/((1-p̂) m))).
    """
    root = setting.root / math.sqrt(1 - _share("removed", removed))
    return Rates("pruning", None, setting.noise * root)


def _whole(name: str, value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name}: found {str(value)[:40]!r}; a positive integer is accepted")
    return value


def _real(name: str, value: float, lowest: float, below: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not lowest <= value < below:
        raise InputError(f"{name}: found {str(value)[:40]!r}; a number from {lowest:g} to below {below:g} is accepted")
    return float(value)


def _positive(name: str, value: float) -> float:
    if not _real(name, value, 0.0, math.inf):
        raise InputError(f"{name}: found {str(value)[:40]!r}; a positive number is accepted")
    return float(value)


def _share(name: str, value: float) -> float:
    return _real(name, value, 0.0, 1.0)
