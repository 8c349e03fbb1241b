"""Certificates, `provable-certificate/1`: claims with the data from which anybody can prove them again.

A certificate is JSON with the keys ``format``, ``claim``, ``data``, ``subject``, ``library`` and ``seed``. Its claim is one
of the closed list below; what a claim asserts is fixed for ever, a new meaning gets a new name. Rationals are texts
``"p"`` or ``"p/q"`` in lowest terms, balls are pairs [midpoint, radius] of such texts.

isolated-recovery
    Subject: SHA-256 of the observation file's bytes. With F the map from z = (points, coefficients) to the pieces of
    Φ_θ μ named in ``pieces`` and v the same pieces of the observation: for all z within ``radius`` (Euclidean, all
    entries of points and coefficients together) of the stated ẑ, ‖F(z) - F(ẑ)‖ ≥ ``sigma``·‖z - ẑ‖; and
    ‖F(ẑ) - v‖ ≤ ``residual``. Hence every measure in that ball that explains v within ``eta`` lies within ``rho`` of ẑ.
    ``split`` says how a checker is to bound ``sigma``: by the Gram matrix of the whole Jacobian, if it is absent; by the span
    of the points (``"row-space"``) or of a layer's inputs (``"layer-inputs"``), for batches. It changes nothing in the claim.
    ``modulo`` ``["positive-scaling"]`` restricts the claim to measures whose points are normalised as x̂_iᵀx_i = ‖x̂_i‖², for
    networks in which (s x, c/s) explains as much as (x, c) for every s > 0, and ``["positive-scaling:p"]`` with p ≥ 2 for
    those in which (s x, c/sᵖ) does: so it is about every measure up to those factors that, so normalised, lies in the ball.
    (Where inputs are known to have norm 1, the normalisation is still that plane and not the sphere.)
layerwise-recovery
    Subject: SHA-256 of the observation file's bytes. Its network is a chain of convolutions and linear layers with
    strictly increasing activations in between. With F(x, c) the pieces of c·∇_θ f(x) named in ``pieces`` and v the
    same pieces of the observation, ‖F(x̂, ĉ) - v‖ ≤ ``residual`` for the one stated point x̂ and coefficient ĉ; and
    *every* input x, near or far, with ‖F(x, c) - v‖ ≤ ``eta`` has ‖x - x̂‖ ≤ ``rho`` and ‖c - ĉ‖ ≤
    ``coefficient_rho``: for every real c, if ``determined_by`` is ``"bias"``; and if it is ``"logistic"``, for c =
    -y/(1 + exp(y f(x))) with y = ``label`` and, if ``branch`` is ``"low"`` or ``"high"``, all x with y f(x) ≤ μ* or ≥
    μ*, the zero μ* = 1.278… of (μ - 1)e^μ = 1. (Where a leaky ReLU has no derivative, any number between its slopes
    may stand for it.) ``free_inputs`` is the number of inputs on which no output and no gradient depends, for no
    window sees them; ‖x - x̂‖ leaves them out. ``layers`` and ``margins`` carry the proof: an error bound for every
    layer's input, and how it follows.
null-space-fibre
    Subject: SHA-256 of the observation file's bytes. With F and v as before, ‖F(x̂, ĉ) - v‖ ≤ ``residual`` for the one stated
    point, and F(x̂ + n, ĉ) = F(x̂, ĉ) for all n in the null space of the first layer's system U = [W; K(D̂)], which has at
    least ``dimension`` dimensions. (That there are no others is not claimed.) ``prime`` and ``seed`` belong to the witness
    at which dependencies between the equations are counted.
univariate-support
    Subject: SHA-256 of the observation file's bytes, of a stationary point of f(x) = Σ_k v_k relu(w_k x + b_k) on one input.
    Take any measure Σ_i c_i δ_{x_i}, c_i ≠ 0, with sign(c_i) f(x_i) between the two numbers of ``margin`` for all i, and any
    slopes s_ik that are 1 or 0 as w_k x_i + b_k is positive or not, and anything from 0 to 1 if x_i is within ``kink`` of
    the knot -b_k/w_k. If ‖(Σ_i c_i s_ik v_k (x_i, 1) - (w_k, b_k))_k‖ ≤ ``eta``, then around every one of the stated points
    x̂_j there is an interval within [x̂_j - ``rho``, x̂_j + ``rho``], all of them disjoint, such that Σ|c_i| over the x_i in it
    is at least ``lower``_j > 0 and within ``coefficient_rho`` of |ĉ_j|, the c_i there having the sign of ĉ_j; and Σ|c_i| over
    all other x_i is at most ``outside``. The stated points and coefficients, together with ``others`` (point,
    coefficient), of which nothing else is claimed, and with ``slopes`` (neuron, point, number) at knots are such a measure,
    up to ``residual`` ≤ ``eta``. ``multipliers`` carry the proof: for every point the factors
    (neuron, of the weight's, of the bias's equation) of a combination of the equations that separates it from the rest.
    Nothing is claimed for other margins: the parameters alone do not tell the margin.
generic-rank-lower-bound
    Subject: SHA-256 of the architecture's canonical JSON. The layer system U(w, D) = [W(w); K(D)] of the layer, with
    weights w and output sensitivities D free, has rank at least ``rank`` for all real (w, D) outside the zero set of one
    nonzero polynomial.
generic-rank-upper-bound
    Subject: the same. U(w, D) has rank at most ``bound`` for all real (w, D) outside the zero set of one nonzero polynomial.
global-fibre
    Subject: the same. Adding any multiple of the nonzero ``vector`` to an input of the architecture, whose first layer
    with parameters is ``layer``, changes no output and no parameter gradient: for every parameter value, input and loss,
    if ``weight`` is absent; otherwise for every network with that weight in that layer, and every input and loss whose
    derivative by the layer's output is ``sensitivity``.
kernel-positive-definite
    Subject: SHA-256 of the canonical JSON of ``data``. λ_min > ``lower_bound`` for every symmetric matrix in the matrix of
    balls ``matrix``.
cp-uniqueness
    Subject: the same. The tensor Σ_r a_r ⊗ b_r ⊗ c_r of the columns of the three ``factors`` has rank R = number of columns,
    and no other decomposition into R rank-one terms but for their order: by Kruskal's condition k_A + k_B + k_C ≥ 2R + 2
    (``"kruskal"``), or because A and B have full column rank and no two columns of C are parallel (``"jennrich"``).
max-margin-optimality
    Subject: the same. With x̃ = (x, 1) if ``bias``, else x̃ = x, the network f(x) = Σ_k v_k relu(w_k·x̃) with the rows w_k of
    ``hidden`` and the numbers v_k of ``outer`` has y_i f(x_i) ≥ 1 on the ``points`` x_i with ``labels`` y_i; and every
    network of that form and any width with these margins has ½‖θ‖² ≥ ½‖θ̂‖² - ``gap``, θ̂ being the stated one.
    ``multipliers``, ``height`` and ``trees`` carry the proof: |Σ_i λ_i y_i relu(w·x̃_i)| ≤ height·‖w‖ on the cones of two
    trees that cover all neurons w (`provable.max_margin.dual_tree`), so that ½‖θ‖² ≥ Σ λ_i / height.
counterexample
    Subject: the same. The recorded instance meets the hypotheses of the theorem (or of its false twin) and violates the
    claim.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from provable.errors import CertificateError
from provable.rigor.certificate_fields import CLAIMS, check_data

FORMAT = "provable-certificate/1"
"""The value of the key ``format``."""

LIMIT_BYTES = 2**28
"""Largest certificate that is read, in bytes."""

_KEYS = ("format", "claim", "data", "subject", "library", "seed")

_LIBRARIES = ("provable", "numpy", "python-flint")


@dataclasses.dataclass(frozen=True)
class Refusal:
    """Why no certificate was made.

    Parameters
    ----------
    reason : str
        One sentence.
    """

    reason: str


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A claim and the data that prove it.

    Parameters
    ----------
    claim : str
        One of `CLAIMS`; see the module for the exact meaning of each.
    data : mapping
        JSON values; keys and types depend on the claim (`provable.rigor.certificate_fields`).
    subject : str
        SHA-256, 64 hexadecimal digits, of what the claim is about.
    library : mapping of str to str
        Versions of the packages that made the certificate.
    seed : int or None
        The seed behind random choices, if there were any.

    Raises
    ------
    CertificateError
        If a part is not as the format has it.
    """

    claim: str
    data: Mapping[str, Any]
    subject: str
    library: Mapping[str, str]
    seed: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.claim, str) or self.claim not in CLAIMS:
            raise CertificateError(f"claim: {str(self.claim)[:60]!r} was found; {', '.join(CLAIMS)} are accepted")
        if not isinstance(self.subject, str) or not re.fullmatch(r"[0-9a-f]{64}", self.subject):
            raise CertificateError(f"subject: {str(self.subject)[:70]!r} was found; 64 hexadecimal digits are accepted")
        if self.seed is not None and (type(self.seed) is not int or self.seed < 0):
            raise CertificateError(f"seed: {str(self.seed)[:40]!r} was found; null or an integer from 0 on is accepted")
        if not isinstance(self.library, Mapping) or not all(
            isinstance(part, str) for pair in self.library.items() for part in pair
        ):
            raise CertificateError("library: something else was found; an object of version texts is accepted")
        check_data(self.claim, self.data)

    def to_json(self) -> str:
        """Write the certificate.

        Returns
        -------
        str
            Canonical JSON: sorted keys, no spaces.
        """
        return canonical_json({"format": FORMAT} | {key: getattr(self, key) for key in _KEYS[1:]})

    @classmethod
    def from_json(cls, text: str | bytes) -> Certificate:
        """Read a certificate strictly; nothing is proved by reading.

        Parameters
        ----------
        text : str or bytes
            A document of `provable-certificate/1`.

        Returns
        -------
        Certificate
            The certificate.

        Raises
        ------
        CertificateError
            If the text is no JSON, a key is unknown, missing or double, or a value has a wrong type or form.
        """
        if len(text) > LIMIT_BYTES:
            raise CertificateError(f"certificate: {len(text)} bytes were found; at most {LIMIT_BYTES} are accepted")
        try:
            document = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        except CertificateError:
            raise
        except (ValueError, RecursionError) as error:
            raise CertificateError(f"certificate: is not JSON ({' '.join(str(error).split())[:80]})") from error
        if not isinstance(document, dict):
            raise CertificateError("certificate: something else was found; a JSON object is accepted")
        for key in document:
            if key not in _KEYS:
                raise CertificateError(
                    f"certificate: the unknown key {key[:40]!r} was found; {', '.join(_KEYS)} are accepted"
                )
        for key in _KEYS:
            if key not in document:
                raise CertificateError(f"certificate: the key {key} is missing")
        if document["format"] != FORMAT:
            raise CertificateError(f"format: {str(document['format'])[:60]!r} was found; {FORMAT} is accepted")
        return cls(**{key: document[key] for key in _KEYS[1:]})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise CertificateError("certificate: a key occurs twice in one object; once is accepted")
    return document


def _no_constant(literal: str) -> Any:
    raise CertificateError(f"certificate: the number {literal} was found; finite numbers are accepted")


def _finite(literal: str) -> float:
    value = float(literal)
    return value if math.isfinite(value) else _no_constant(literal[:40])


def canonical_json(value: Any) -> str:
    """Write JSON so that equal values give equal texts.

    Parameters
    ----------
    value : object
        JSON values; mappings may be of any kind.

    Returns
    -------
    str
        ASCII, sorted keys, no spaces.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=dict)


def data_sha256(data: Mapping[str, Any]) -> str:
    """Digest of the data of a claim that is about nothing but its own data.

    Parameters
    ----------
    data : mapping
        JSON values.

    Returns
    -------
    str
        SHA-256 of the canonical JSON, in hexadecimal.
    """
    return hashlib.sha256(canonical_json(data).encode("ascii")).hexdigest()


def library_versions() -> dict[str, str]:
    """Versions of the packages that make certificates.

    Returns
    -------
    dict of str to str
        Those of `provable`, `numpy` and `python-flint`; ``"unknown"`` for one that runs without being installed.
    """
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions
