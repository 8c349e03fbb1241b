r"""One recovered sample, certified layer by layer: no input anywhere else explains the gradient as well.

Notation: layers with parameters j = 1 … m, z_j = W_j x_j + b_j, x_{j+1} = σ_j(z_j), f = z_m; c ∈ R^C and F(x, c) the
observed pieces of c·∇_θ f(x), for a gradient with c = ∂ℓ/∂f; D_j = ∂(c·f)/∂z_j, so D_m = c; G_j = D_j P(x_j)ᵀ =
K(D_j) x_j the weight gradients (`layer_balls`). (x̂, ĉ) is what was recovered and hats are its quantities, known in
balls. v is the observation.

**Statement.** Let r ≥ ‖F(x̂, ĉ) - v‖, η ≥ 2r and δ = η + r. *Every* (x, c) with ‖F(x, c) - v‖ ≤ η has ‖F(x, c) -
F(x̂, ĉ)‖ ≤ δ; no matter how far x is from x̂, the following recursion bounds ‖x - x̂‖ by ρ. It is R-GAP's (Zhu and
Blaschko, ICLR 2021) with the errors written down.

*Start: γ ≥ ‖c - ĉ‖.* If the last layer has a bias whose gradient was observed, this gradient is c, and γ = δ. Without
bias, for one output and the logistic loss, let μ = y f(x). Then c = -y/(1 + e^μ) and, as f = ⟨V, x_m⟩, ⟨G_m, V⟩ = c f
= φ(μ), φ(μ) = -μ/(1 + e^μ), differs by at most δ‖V‖ from φ̂ = ⟨Ĝ_m, V⟩. φ' has the sign of (μ - 1)e^μ - 1: φ
decreases until μ* = 1 + W₀(1/e) and increases beyond. So on either side of μ* the values of μ fill an interval, the
*margins*, on which c is monotone. Beyond μ* lies the twin that R-GAP describes, and φ̂ > δ‖V‖ excludes it, because φ
< 0 for μ > 0. The label y is part of the statement.

*Sensitivities.* With B_j the matrix of c ↦ D_j for the slopes of x̂ (B_m = I, H_j = W_jᵀB_j, B_{j-1} =
diag(σ'(ẑ_{j-1}))H_j), let D_j = B_j c + R_j. Then R_m = 0 and R_{j-1} = σ'(z)⊙W_jᵀR_j + (σ'(z) - σ'(ẑ))⊙H_j c. Since
σ is strictly increasing, e_j ≥ ‖x_j - x̂_j‖ confines z_{j-1} entry by entry, with slopes l ≤ (σ(z) - σ(ẑ))/(z - ẑ)
and |σ'(z) - σ'(ẑ)| ≤ bend·|σ(z) - σ(ẑ)| + jump; so

.. math:: \|R_{j-1}\| \le \max\sigma'\,\|W_j\|\,u_j + e_j \max_k \mathrm{bend}_k |H_j\hat c|_k
          + \|\mathrm{jump}\odot H_j \hat c\| + \max_k(\mathrm{bend}_k e_j + \mathrm{jump}_k)\,\|H_j\|\,\gamma =: u_{j-1}.

For leaky ReLU bend = 0, and jump = 0 unless |x̂_j| ≤ e_j somewhere: the sensitivities are then exactly B_j c, known
up to γ, and each layer's gradient equations start afresh, without the errors of the layers above.

*Layers.* Δ = x_j - x̂_j satisfies W_jΔ = z_j - ẑ_j, hence ‖diag(l)W_jΔ‖ ≤ e_{j+1}, and K(D̂_j)Δ = (G_j - Ĝ_j) -
K(B_j(c - ĉ))x̂_j - K(R_j)x̂_j - K(D_j - D̂_j)Δ. With J_j = (K(B_j e_k)x̂_j)_k, t_j = ‖B_j‖γ + u_j and at most ω_j
windows over one pixel,

.. math:: \|K(\hat D_j)\Delta\| \le k_j + t_j\sqrt{\omega_j}\,\|\Delta\|,\qquad
          k_j = \delta + \|J_j\|\gamma + u_j\|P(\hat x_j)\|_F,

because ‖K(E)x‖ = ‖E P(x)ᵀ‖_F ≤ ‖E‖_F‖P(x)‖ and ‖P(x)‖_F² ≤ ω_j‖x‖². From ‖Δ‖ ≤ α‖diag(l)W_jΔ‖ + β‖K(D̂_j)Δ‖
(`layer_injectivity`),

.. math:: e_j = \frac{\alpha\, e_{j+1} + \beta k_j}{1 - \beta t_j \sqrt{\omega_j}}, \qquad \rho = e_1,

provided that the denominator is positive. Nothing here is local: ‖Δ‖ is finite, and that is all that was used.

*Unseen pixels* of a layer, which no window sees (for instance the last row, if strides do not reach it), or only at
positions that are unseen by the next layer, are left out of x_j - x̂_j and e_j. Nothing is then known of their z_{j-1}
(l = 0), nor needed, because W_jᵀD_j vanishes there whatever x is, and D_{j-1} with it. Those of layer 1 are free:
neither the outputs nor the gradients depend on them.

**A moved point is rejected.** If x̂ is replaced by x' with ‖x' - x̂‖ > ρ on the same branch, the statement says that
‖F(x', ĉ) - v‖ > η ≥ 2r ≥ r, and a checker that computes the residual of x' rejects.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from provable.architectures import Erf, Identity, LeakyReLU, Sigmoid, Softplus, Tanh
from provable.arithmetic import EPSILON
from provable.errors import ArithmeticUnsupported, UnsupportedError
from provable.measures import Measure
from provable.networks import activations
from provable.rigor.balls import (
    Ball,
    ball,
    ball_matrix,
    largest,
    rounded_up,
    spectral_upper,
    sum_of_squares,
    upper_fraction,
)
from provable.rigor.certificates import Certificate, Refusal, library_versions
from provable.rigor.isolated_recovery import ROUNDINGS, Observed
from provable.rigor.layer_balls import Balls, balls_of, layers_in_turn, matrix_of, zeros
from provable.rigor.layer_injectivity import Injectivity, approximate, proposals, prove
from provable.rigor.rational_texts import encode_rational

LARGEST_INPUT = 20_000
"""Most entries of a layer's input or output."""

_MARGIN = Fraction(1, 2**16)
"""Relative slack of stated errors, so that a checker with other roundings reaches them."""

_WIDER = 4
"""z is confined to a ball of this many times e/σ'(ẑ); 2 is what a checker needs, and bounds over it are no worse."""

_INCREASING = (Identity, Tanh, Sigmoid, Softplus, Erf)


class _Refused(UnsupportedError):
    """No certificate, for the reason in the message."""


@dataclasses.dataclass(frozen=True)
class _Slopes:
    """Bounds of an activation by entries, as in the module's description, and the largest slope."""

    lowest: Balls
    bend: Balls
    jump: Balls
    steepest: Ball


def certify(
    observation: Observed, measure: Measure, *, eta: Fraction | None = None, bits: int = 128, unit: float = EPSILON
) -> Certificate | Refusal:
    """Make a ``layerwise-recovery`` certificate of a recovered sample.

    Parameters
    ----------
    observation : Observed
        An `Observation`: a gradient or parameter change of a chain of convolutions or linear layers with strictly increasing
        activations between them.
    measure : Measure
        One atom; its float64 numbers are taken as the rationals that they are.
    eta : Fraction, optional
        Misfit, in the norm of v, up to which inputs shall be excluded; default the larger of 2‖F(x̂, ĉ) - v‖ and 256 units of
        rounding of ‖v‖. It is raised to 2‖F(x̂, ĉ) - v‖ if it is below.
    bits : int
        Working precision of the balls.
    unit : float
        Unit of rounding of the observed numbers.

    Returns
    -------
    Certificate or Refusal
        The certificate, or the reason why there is none: an unsupported layer, a layer whose equations do not determine its
        input, an error that outgrows what the next layer allows.
    """
    architecture = observation.architecture
    if measure.size != 1:
        return Refusal(f"the measure has {measure.size} atoms; one is certified layer by layer")
    if measure.points.size != architecture.input_size or measure.coefficients.size != architecture.output_size:
        return Refusal("the measure does not fit the network's inputs and outputs")
    if measure.points.dtype != np.float64 or measure.coefficients.dtype != np.float64:
        return Refusal("the measure holds exact numbers; float64, which are rationals too, are certified")
    with flint.ctx.workprec(bits):
        try:
            return _Recovery(observation, measure).certificate(eta, bits, unit)
        except (UnsupportedError, ArithmeticUnsupported) as error:
            return Refusal(str(error))


class _Recovery:
    """Everything at (x̂, ĉ), in balls."""

    def __init__(self, observation: Observed, measure: Measure) -> None:
        self.observation, self.measure = observation, measure
        self.layers, self.activations = layers_in_turn(observation.architecture, observation.parameters)
        for layer in self.layers:
            size = max(layer.channels * layer.pixels, layer.outputs[0] * layer.outputs[1])
            if size > LARGEST_INPUT:
                raise _Refused(f"layer {layer.index}: {size} values were found; up to {LARGEST_INPUT} are certified")
        for activation in self.activations:
            if not isinstance(activation, _INCREASING) and not (
                isinstance(activation, LeakyReLU) and activation.negative_slope > 0
            ):
                raise _Refused(f"{activation.type}: an activation that increases strictly everywhere is accepted")
        self.coefficients = balls_of(ball_matrix(measure.coefficients.reshape(-1)))[:, 0]
        current = balls_of(ball_matrix(measure.points.reshape(1, -1)))
        self.inputs: list[Balls] = []
        self.patches: list[Balls] = []
        self.arguments: list[Balls] = []
        self.slopes: list[Balls] = []
        for place, layer in enumerate(self.layers):
            self.inputs.append(current.reshape(layer.channels, layer.pixels))
            self.patches.append(layer.patches(self.inputs[-1]))
            current = layer.forward(self.patches[-1])
            if place < len(self.activations):
                activation = self.activations[place]
                if isinstance(activation, LeakyReLU) and any(z.contains(0) for z in current.ravel().tolist()):
                    raise _Refused(f"layer {layer.index}: an output is zero, where leaky_relu has no derivative")
                self.arguments.append(current)
                self.slopes.append(activations.derivative(activation, current))
                current = activations.value(activation, current)
        self.output = current.ravel()
        self._backward()

    def _backward(self) -> None:
        count = len(self.coefficients)
        columns = [zeros(count, 1) for _ in range(count)]
        for k, column in enumerate(columns):
            column[k, 0] = flint.arb(1)
        self.columns = [columns]
        self.heads: list[list[Balls]] = []
        for layer, slopes in zip(self.layers[:0:-1], self.slopes[::-1], strict=True):
            heads = [layer.adjoint(column) for column in columns]
            columns = [slopes * head.reshape(slopes.shape) for head in heads]
            self.heads.append(heads)
            self.columns.append(columns)
        self.columns.reverse()
        self.heads.reverse()
        self.sensitivities = [self._combined(columns) for columns in self.columns]

    def _combined(self, columns: list[Balls]) -> Balls:
        total: Balls = columns[0] * self.coefficients[0]
        for column, coefficient in zip(columns[1:], self.coefficients[1:], strict=True):
            total = total + column * coefficient
        return total

    def certificate(self, eta: Fraction | None, bits: int, unit: float) -> Certificate | Refusal:
        """Run the recursion."""
        vector = self.observation.vector
        size = _fraction(
            sum_of_squares(entry for piece in vector.values() for entry in _flat_balls(piece)).abs_upper().sqrt()
        )
        misfit = self._misfit()
        if not misfit.is_finite():
            return Refusal("the gradient of the recovered sample is too large to be enclosed, even in balls")
        residual = rounded_up(_fraction(misfit) + size / 2 ** (bits - 32))
        tolerance = max(2 * residual, rounded_up(size * ROUNDINGS[0] * Fraction(unit) if eta is None else eta))
        delta = ball(tolerance + residual).abs_upper()
        start = self._start(delta)
        gamma = ball(Fraction(start["coefficient_rho"])).abs_upper()
        documents: list[dict[str, Any]] = []
        error, twist, lowest = Fraction(0), flint.arb(0), None
        for place in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[place]
            drift, known = self._equations(place, delta, gamma, twist)
            found = self._injectivity(place, lowest, float(error), float(known), bits)
            left = 1 - found.beta * drift * ball(layer.overlap()).sqrt()
            if not left > 0:
                raise _Refused(
                    f"layer {layer.index}: its sensitivities are not known well enough to determine its input"
                )
            bound = (found.alpha * ball(error) + found.beta * known) / left
            error = rounded_up(_fraction(bound.abs_upper()) * (1 + _MARGIN), bits=32)
            documents.append(_document(layer.index, found, error))
            if place:
                slopes = self._confined(place, ball(error).abs_upper())
                for part in (slopes.lowest, slopes.bend, slopes.jump):
                    part.reshape(layer.channels, layer.pixels)[:, layer.unseen] = flint.arb(0)
                lowest = slopes.lowest
                twist = self._twist(place, slopes, ball(error).abs_upper(), gamma, twist)
        data = {
            "points": [[encode_rational(entry) for entry in self.measure.points.ravel().tolist()]],
            "coefficients": [[encode_rational(entry) for entry in self.measure.coefficients.ravel().tolist()]],
            "pieces": list(vector),
            "eta": encode_rational(tolerance),
            "residual": encode_rational(residual),
            "rho": encode_rational(error),
            "free_inputs": len(self.layers[0].unseen) * self.layers[0].channels,
            "layers": documents[::-1],
            **start,
        }
        return Certificate("layerwise-recovery", data, self.observation.sha256, library_versions())

    def _misfit(self) -> Ball:
        total = flint.arb(0)
        for layer, sensitivity, patches in zip(self.layers, self.sensitivities, self.patches, strict=True):
            for part in ("weight", "bias"):
                piece = self.observation.vector.get(f"{layer.index}/{part}")
                if piece is None:
                    continue
                if part == "weight":
                    values = (matrix_of(sensitivity) * matrix_of(patches).transpose()).entries()
                else:
                    values = sensitivity.sum(axis=1).tolist()
                total += sum_of_squares(a - b for a, b in zip(values, _flat_balls(piece), strict=True))
        return total.abs_upper().sqrt()

    def _start(self, delta: Ball) -> dict[str, Any]:
        """γ, and where it comes from."""
        last = self.layers[-1]
        vector = self.observation.vector
        if f"{last.index}/bias" in vector:
            return {"determined_by": "bias", "coefficient_rho": encode_rational(_fraction(delta))}
        if last.bias is not None or self.observation.architecture.loss != "logistic" or len(self.coefficients) != 1:
            raise _Refused(
                f"layer {last.index}: nothing determines the coefficient; an observed last bias, or one output without bias "
                "under the logistic loss is accepted"
            )
        if self.observation.kind != "gradient" or f"{last.index}/weight" not in vector:
            raise _Refused(f"layer {last.index}: an observed gradient of its weight is needed")
        if not self.coefficients[0] != 0:
            raise _Refused("the coefficient of the recovered sample is zero")
        label = -1 if self.coefficients[0] > 0 else 1
        weight = ball_matrix(last.weight)
        centre = (ball_matrix(self.measure.coefficients.reshape(1, -1)) * self.output[0]).entries()[0]
        slack = (delta * sum_of_squares(weight.entries()).abs_upper().sqrt() * ball(1 + _MARGIN)).abs_upper()
        least, most = (centre - slack).lower(), (centre + slack).upper()
        branch = "any" if least >= 0 else "low" if (label * self.output[0]).mid() < _TURN else "high"
        margins = _margins(least, most, "high" if branch == "high" else "low")
        reach = largest((-label / (1 + ball(margin).exp()) - self.coefficients[0]).abs_upper() for margin in margins)
        return {
            "determined_by": "logistic",
            "label": label,
            "branch": branch,
            "margins": [encode_rational(margin) for margin in margins],
            "coefficient_rho": encode_rational(rounded_up(_fraction(reach) * (1 + _MARGIN))),
        }

    def _equations(self, place: int, delta: Ball, gamma: Ball, twist: Ball) -> tuple[Ball, Ball]:
        """t_j and k_j."""
        columns = self.columns[place]
        patches = matrix_of(self.patches[place])
        turned = patches.transpose()
        images = [(matrix_of(column) * turned).entries() for column in columns]
        drift = _norm([column.ravel().tolist() for column in columns]) * gamma + twist
        whole = sum_of_squares(entry.abs_upper() for entry in patches.entries()).abs_upper().sqrt()
        return drift.abs_upper(), (delta + _norm(images) * gamma + twist * whole).abs_upper()

    def _injectivity(self, place: int, lowest: Balls | None, error: float, known: float, bits: int) -> Injectivity:
        layer = self.layers[place]
        sensitivity = self.sensitivities[place]
        observed = f"{layer.index}/weight" in self.observation.vector
        floats = None if lowest is None else approximate(lowest)
        possible = proposals(layer, approximate(sensitivity) if observed else None, floats, error, known)
        for proposal in possible[:3]:
            found = prove(proposal, layer, sensitivity, lowest, bits)
            if found is not None:
                return found
        raise _Refused(
            f"layer {layer.index}: its equations are not proved to determine its input, so a direction may be left open"
        )

    def _confined(self, place: int, error: Ball) -> _Slopes:
        """What is known of z before layer `place` when its input is known up to an error."""
        activation = self.activations[place - 1]
        z = self.arguments[place - 1]
        outputs = self.inputs[place].reshape(z.shape)
        slopes = self.slopes[place - 1]
        lowest, bend, jump = zeros(*z.shape), zeros(*z.shape), zeros(*z.shape)
        if isinstance(activation, LeakyReLU):
            below = ball(activation.negative_slope)
            steepest = flint.arb(1) if below <= 1 else below
            for index, output in zip(np.ndindex(z.shape), outputs.ravel().tolist(), strict=True):
                certain = abs(output) > error
                lowest[index] = slopes[index] if certain else (below if below < 1 else flint.arb(1))
                if not certain:
                    jump[index] = (1 - below).abs_upper()
            return _Slopes(lowest, bend, jump, steepest)
        reaches = [(_WIDER * error / slope).abs_upper() for slope in slopes.ravel().tolist()]
        spread = np.empty(z.shape, dtype=object)
        spread.ravel()[:] = [flint.arb(0, reach) for reach in reaches]
        over = z + spread
        first = activations.derivative(activation, over).ravel().tolist()
        second = activations.derivative(activation, over, 2).ravel().tolist()
        steepest = largest(slope.abs_upper() for slope in first)
        for flat, (reach, slope, curvature) in enumerate(zip(reaches, first, second, strict=True)):
            index = np.unravel_index(flat, z.shape)
            low = slope.lower()
            if not (low > 0 and low * reach >= 2 * error):
                raise _Refused(
                    f"layer {self.layers[place].index}: its input is known up to {float(error):.1e} only, and a "
                    f"{activation.type} before it is saturated"
                )
            lowest[index], bend[index] = low, (curvature.abs_upper() / low).abs_upper()
        return _Slopes(lowest, bend, jump, steepest)

    def _twist(self, place: int, slopes: _Slopes, error: Ball, gamma: Ball, twist: Ball) -> Ball:
        heads = self.heads[place - 1]
        shape = slopes.bend.shape
        head = self._combined(heads).reshape(shape).ravel().tolist()
        bends, jumps = slopes.bend.ravel().tolist(), slopes.jump.ravel().tolist()
        bent = largest((b * h).abs_upper() for b, h in zip(bends, head, strict=True))
        jumped = sum_of_squares((j * h).abs_upper() for j, h in zip(jumps, head, strict=True)).abs_upper().sqrt()
        change = largest((b * error + j).abs_upper() for b, j in zip(bends, jumps, strict=True))
        total = error * bent + jumped + change * _norm([h.ravel().tolist() for h in heads]) * gamma
        if twist > 0:
            total += slopes.steepest * self.layers[place].norm_upper() * twist
        return total.abs_upper()


_TURN = 1.2784645427610738
"""μ* in float64, for choosing a branch."""


def _phi(margin: Fraction) -> Ball:
    return -ball(margin) / (1 + ball(margin).exp())


def _margins(least: Ball, most: Ball, branch: str) -> list[Fraction]:
    """Rational numbers around all μ on a branch with least ≤ φ(μ) ≤ most."""
    before, after = (Fraction(digits, 10**16) for digits in (12784645427610737, 12784645427610738))  # around μ*
    if branch == "low":
        start, step = before, -1
        outer, inner = most, least
    else:
        start, step = after, 1
        outer, inner = most, least
        if not most < 0:
            raise _Refused("the margin is so large that the gradient does not bound it")
    # away from μ* φ rises on both branches: the outer end is where it has reached `most`
    far = start
    width = Fraction(1)
    while not _phi(far) >= outer:
        far += step * width
        width *= 2
        if width > 2**40:
            raise _Refused("the margin is so large that the gradient does not bound it")
    far = _between(start, far, outer, True)
    near = after if branch == "low" else before
    if _phi(start) <= inner:
        near = _between(start, far, inner, False)
    return [far, near] if branch == "low" else [near, far]


def _between(near: Fraction, far: Fraction, level: Ball, above: bool) -> Fraction:
    """Bisect between φ(near) < level ≤ φ(far): the end at which φ is proved to be above, or below, the level."""
    if above and _phi(near) >= level:
        return near
    for _ in range(120):
        middle = (near + far) / 2
        if _phi(middle) >= level:
            far = middle
        elif _phi(middle) <= level:
            near = middle
        else:
            break
    return far if above else near


def _document(index: int, found: Injectivity, error: Fraction) -> dict[str, Any]:
    document: dict[str, Any] = {"layer": index, "error": encode_rational(error)}
    for key, value in found.statement.items():
        if isinstance(value, Fraction):
            document[key] = encode_rational(value)
        elif isinstance(value, np.ndarray):
            document[key] = [[encode_rational(entry) for entry in row] for row in value.tolist()]
        else:
            document[key] = value
    return document


def _norm(columns: list[list[Ball]]) -> Ball:
    """Upper bound of the spectral norm of the matrix with these columns."""
    if len(columns) == 1:
        return sum_of_squares(entry.abs_upper() for entry in columns[0]).abs_upper().sqrt()
    return spectral_upper(flint.arb_mat(columns))


def _flat_balls(piece: Any) -> list[Ball]:
    return [flint.arb(entry) for entry in np.asarray(piece).ravel().tolist()]


def _fraction(number: Ball) -> Fraction:
    if not number.is_finite():
        raise _Refused("a bound is not finite, so nothing is proved")
    return upper_fraction(number)
