r"""The claim ``layerwise-recovery``: proved again, layer by layer from the output to the input, for all inputs there are.

Notation: affine layers j = 1 … m with input x_j and output z_j = W_j x_j + b_j, σ_j between z_j and x_{j+1}; c =
∂ℓ/∂f and D_j = ∂(c·f)/∂z_j, D_m = c; F(x, c) the observed pieces of c·∇f(x), among them the weight gradients G_j =
D_j P(x_j)ᵀ, also written K(D_j) x_j (`affine`). Hats belong to the stated (x̂, ĉ). Let (x, c) be *any* pair with
‖F(x, c) - v‖ ≤ eta; then ‖F(x, c) - F(x̂, ĉ)‖ ≤ δ := eta + residual.

*Start.* With the last bias observed, ‖c - ĉ‖ ≤ δ. Without such a bias, for one output under the logistic loss, c =
-y/(1 + e^μ) with μ = y f(x), and ⟨G_m, V⟩ = c f = φ(μ) := -μ/(1 + e^μ), V = W_m. So φ(μ) lies within δ‖V‖ of φ̂ =
⟨Ĝ_m, V⟩. As φ' has the sign of (μ - 1)e^μ - 1, φ decreases up to a number μ* = 1.278… and increases after it; on a
branch (``low``: μ ≤ μ*; ``high``: μ ≥ μ*; ``any``: φ̂ - δ‖V‖ ≥ 0, which only μ ≤ 0 reaches) the stated ``margins``
are shown to enclose μ, and hence c. The result is γ ≥ ‖c - ĉ‖, the stated ``coefficient_rho``.

*Sensitivities.* Let B_j be the matrix of c ↦ D_j with the slopes of x̂, B_m = I, and H_j = W_jᵀB_j, B_{j-1} =
diag(σ'(ẑ))H_j. Then D_j = B_j c + R_j with R_m = 0 and

.. math:: R_{j-1} = \sigma'(z) \odot W_j^\top R_j + (\sigma'(z) - \sigma'(\hat z)) \odot H_j c,

so u_j ≥ ‖R_j‖ follows from e_j ≥ ‖x_j - x̂_j‖ (`inversion`): u_{j-1} = s‖W_j‖u_j + e_j max_k bend_k|H_jĉ|_k + ‖jump ⊙
H_jĉ‖ + max_k(bend_k e_j + jump_k)‖H_j‖γ with s ≥ σ'. Let t_j = ‖B_j‖γ + u_j ≥ ‖D_j - D̂_j‖.

*Layer.* Δ = x_j - x̂_j obeys ‖L W_j Δ‖ ≤ e_{j+1} with the lower slopes L of σ_j, because W_jΔ = z_j - ẑ_j; and
K(D̂_j)Δ = (G_j - Ĝ_j) - K(B_j(c - ĉ))x̂_j - K(R_j)x̂_j - K(D_j - D̂_j)Δ. Let J_j have the columns K(column of
B_j)x̂_j and let ω_j be the largest number of windows that see one pixel; then

.. math:: \|K(\hat D_j)\Delta\| \le k + t_j \sqrt{\omega_j}\,\|\Delta\|, \qquad
          k = \delta + \|J_j\|\gamma + u_j\|P(\hat x_j)\|_F.

With ‖Δ‖ ≤ α‖LWΔ‖ + β‖KΔ‖ (`injectivity`): ‖Δ‖ ≤ (α e_{j+1} + β k)/(1 - β t_j √ω_j), if the denominator is positive.
Nothing was assumed about the distance of x from x̂.

*Unseen pixels* of layer j, which no window sees but those at positions unseen by layer j + 1, are left out of Δ and of
e_j. Their z_{j-1} are then unknown, which is a zero in L, but W_jᵀD_j vanishes there for all x, and so do D_{j-1} and
R_{j-1}, so that nothing is needed of their slopes. In layer 1 they are the ``free_inputs``, on which neither outputs
nor gradients depend.

 The bound of layer 1 is at most ``rho``.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from typing import Any

from flint import arb, ctx

from provable.checker import documents
from provable.checker.affine import Affine, combination, norm_of_columns, unseen_pixels
from provable.checker.archive import Archive, Numbers
from provable.checker.bounds import exact, length
from provable.checker.explaining_point import ExplainingPoint
from provable.checker.injectivity import Proof
from provable.checker.inversion import Entry, entry
from provable.checker.verdict import Invalid, Undecided

_PRECISIONS = (128, 256, 512)

_UNKNOWN = Entry(arb(0), arb(0), arb(0), arb(0))

_NUMBERS = ("eta", "residual", "rho", "coefficient_rho")
_REQUIRED = {"points", "coefficients", "pieces", "determined_by", "free_inputs", "layers", *_NUMBERS}
_LOGISTIC = {"label", "branch", "margins"}


def check(data: dict[str, Any], subject: str, observation: bytes | None) -> str:
    """Check a ``layerwise-recovery`` claim.

    Parameters
    ----------
    data : dict
        ``points`` (1, d), ``coefficients`` (1, C), ``pieces``, ``eta``, ``residual``, ``rho``, ``coefficient_rho``,
        ``determined_by``, ``free_inputs``, ``layers``, and for the logistic loss ``label``, ``branch`` and ``margins``.
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
    logistic = data.get("determined_by") == "logistic"
    documents.keys(data, _REQUIRED | (_LOGISTIC if logistic else set()))
    if not logistic and data["determined_by"] != "bias":
        raise Invalid("determined_by is neither bias nor logistic")
    numbers = {key: documents.rational(data[key], key) for key in _NUMBERS}
    if min(numbers.values()) < 0:
        raise Invalid(f"one of {', '.join(_NUMBERS)} is negative")
    if 2 * numbers["residual"] > numbers["eta"]:
        raise Invalid("eta is less than twice the residual")
    if observation is None:
        raise Invalid("the observation file is needed, and none was given")
    if hashlib.sha256(observation).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the observation file")
    problem = _Problem(Archive(observation), data, numbers)
    for bits in _PRECISIONS:
        with ctx.workprec(bits):
            try:
                problem.check()
            except Undecided:
                continue
            branch = f" with margin on the branch {data['branch']}" if logistic and data["branch"] != "any" else ""
            where = "" if data["free_inputs"] == 0 else ", but for inputs that nothing depends on"
            return f"every input{branch} that explains the observation within eta lies within rho of the point{where}"
    raise Invalid("the claim could not be decided with balls of 512 bits")


class _Problem(ExplainingPoint):
    """The observation and the claim, read and compared in shape."""

    def __init__(self, archive: Archive, data: dict[str, Any], numbers: dict[str, Fraction]) -> None:
        super().__init__(archive, data, numbers["residual"])
        self.numbers = numbers
        self.proofs = [Proof(entry) for entry in data["layers"]] if isinstance(data["layers"], list) else []
        if [proof.layer for proof in self.proofs] != [affine.index for affine in self.affine]:
            raise Invalid("layers is not a list of one entry for every layer with parameters, in their order")
        for proof in self.proofs:
            if proof.strategy != "forward" and (proof.layer, "weight") not in self.observed:
                raise Invalid(
                    f"the weight gradient of layer {proof.layer} is used, and it is no piece that was observed"
                )
        self.unseen = unseen_pixels(self.affine)
        free = len(self.unseen[0]) * self.affine[0].channels[0]
        if documents.natural(data["free_inputs"], "free_inputs") != free:
            raise Invalid(f"free_inputs is not {free}, the number of inputs on which nothing depends")
        if self.proofs[0].error > numbers["rho"]:
            raise Invalid("rho is less than the error of the first layer")
        last = self.affine[-1]
        self.logistic: dict[str, Any] | None = None
        if data["determined_by"] == "bias":
            if (last.index, "bias") not in self.observed:
                raise Invalid("the bias gradient of the last layer is used, and it is no piece that was observed")
        else:
            self.logistic = _logistic(archive, data, self.kind, last, self.observed)

    def check(self) -> None:
        """Check everything at the working precision; raises `Invalid` or `Undecided`."""
        stages, outputs = self.forward()
        coefficients = [exact(entry) for entry in self.coefficients]
        backward = self.backward(stages)
        patches = [affine.patches(x) for affine, x in zip(self.affine, outputs, strict=True)]
        sensitivities = self.sensitivities(backward)
        self.check_residual(sensitivities, patches)
        delta = exact(self.numbers["eta"] + self.numbers["residual"]).abs_upper()
        gamma = exact(self.numbers["coefficient_rho"]).abs_upper()
        if self.logistic is None:
            if self.numbers["coefficient_rho"] < self.numbers["eta"] + self.numbers["residual"]:
                raise Invalid("coefficient_rho is less than eta plus residual")
        else:
            gradient = self.affine[-1].gradient(sensitivities[-1], patches[-1])
            weight = [arb(entry) for entry in self.affine[-1].weight.entries]
            product = sum((g * w for g, w in zip(gradient, weight, strict=True)), arb(0))
            self._check_logistic(product, (delta * length(weight)).abs_upper(), coefficients[0])
        twist = arb(0)
        entries: list[Entry] | None = None
        for place in range(len(self.affine) - 1, -1, -1):
            columns, heads = backward[place]
            affine, proof = self.affine[place], self.proofs[place]
            following = self.proofs[place + 1].error if place + 1 < len(self.proofs) else Fraction(0)
            lowest = None if entries is None else [part.lowest for part in entries]
            alpha, beta = proof.factors(affine, sensitivities[place], lowest, self.unseen[place])
            drift = norm_of_columns(columns) * gamma + twist
            images = [affine.gradient(column, patches[place]) for column in columns]
            known = delta + norm_of_columns(images) * gamma + twist * length(patches[place].entries())
            left = 1 - beta * drift * arb(affine.overlap()).sqrt()
            error = exact(proof.error)
            if not (left > 0 and alpha * exact(following) + beta * known <= error * left):
                raise Invalid(
                    f"the error of layer {affine.index} is less than what is proved, or not proved to be finite"
                )
            if place:
                step = self.steps[2 * place - 1]
                if isinstance(step, Affine):
                    raise Invalid("two layers with parameters follow each other")
                entries = [
                    entry(step, z, x, slope, error.abs_upper()) for z, x, slope in zip(*stages[place - 1], strict=True)
                ]
                for pixel in self.unseen[place]:
                    entries[pixel :: affine.pixels] = [_UNKNOWN] * affine.channels[0]
                twist = _turned(entries, affine, heads, coefficients, error.abs_upper(), gamma, twist)

    def _check_logistic(self, product: arb, slack: arb, coefficient: arb) -> None:
        assert self.logistic is not None
        label, branch = self.logistic["label"], self.logistic["branch"]
        low, high = (exact(margin) for margin in self.logistic["margins"])
        least, most = product - slack, product + slack
        if branch == "high":
            enclosed = (_phi(high) >= most and _after_turn(high)) and (
                _before_turn(low) or (_phi(low) <= least and _after_turn(low))
            )
        else:
            enclosed = (_phi(low) >= most and _before_turn(low)) and (
                _after_turn(high) or (_phi(high) <= least and _before_turn(high))
            )
            if branch == "any" and not least >= 0:
                raise Invalid("the other branch is not excluded, so the claim is not proved of any branch")
        if not enclosed:
            raise Invalid("the margins are not proved to enclose the margin of every explaining input on the branch")
        allowed = exact(self.numbers["coefficient_rho"])
        for margin in (low, high):
            if not abs(-label / (1 + margin.exp()) - coefficient) <= allowed:
                raise Invalid("coefficient_rho is not proved to bound the error of the coefficient")


def _turned(
    entries: list[Entry],
    affine: Affine,
    heads: list[list[arb]],
    coefficients: list[arb],
    error: arb,
    gamma: arb,
    twist: arb,
) -> arb:
    """Bound ‖R‖ of the activation before a layer by what is known behind it."""
    bent, jumps, change, steepest = arb(0), arb(0), arb(0), arb(0)
    for part, head in zip(entries, combination(heads, coefficients), strict=True):
        size = head.abs_upper()
        bent, steepest = _greater(bent, part.bend * size), _greater(steepest, part.steepest)
        jumps += (part.jump * size) ** 2
        change = _greater(change, part.bend * error + part.jump)
    total = steepest * affine.norm() * twist if twist > 0 else arb(0)
    total += error * bent + jumps.abs_upper().sqrt() + change * norm_of_columns(heads) * gamma
    if not total.is_finite():
        raise Invalid(f"no bound is known of what layer {affine.index} hands back")
    return total.abs_upper()


def _greater(first: arb, second: arb) -> arb:
    upper = second.abs_upper()
    return upper if upper > first or not upper.is_finite() else first


def _phi(margin: arb) -> arb:
    return -margin / (1 + margin.exp())


def _before_turn(margin: arb) -> bool:
    return bool((margin - 1) * margin.exp() <= 1)


def _after_turn(margin: arb) -> bool:
    return bool((margin - 1) * margin.exp() >= 1)


def _logistic(
    archive: Archive, data: dict[str, Any], kind: str, last: Affine, observed: dict[tuple[int, str], Numbers]
) -> dict[str, Any]:
    document = documents.parse(archive.text("architecture"), "architecture")
    if document["loss"] != "logistic" or kind != "gradient" or last.outputs != 1 or last.bias is not None:
        raise Invalid(
            "the observation is no gradient of the logistic loss of a network with one output and no last bias"
        )
    if (last.index, "weight") not in observed:
        raise Invalid("the weight gradient of the last layer is used, and it is no piece that was observed")
    if data["label"] not in (1, -1) or type(data["label"]) is not int:
        raise Invalid("label is neither 1 nor -1")
    if data["branch"] not in ("any", "low", "high"):
        raise Invalid("branch is neither any, nor low, nor high")
    return {
        "label": data["label"],
        "branch": data["branch"],
        "margins": documents.rationals(data["margins"], "margins", 2),
    }
