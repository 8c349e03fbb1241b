"""What defences do against the recovery of a batch from one gradient: attacks beside the Cramér-Rao bound and the rates.

The setting is that of Wang, Lee and Lei: f(x) = (1/m) Σ_j tanh(w_j·x) with standard normal w_j, d = 20, batches of 5 samples
of norm 1 with labels ±1, and the gradient by the output weights (local steps: of both layers, at m = 200 and a = 1/√m). For
each defence and strength, and some seeds:

- the error of the maximum-likelihood attack from random starts (which is told σ and B, and nothing of the samples),
- the error of the moment attack of Wang, Lee and Lei (Algorithm 1 with its errata applied), and of a moment attack by
  regression that is *given* the true span of the batch, which no attacker has,
- the Cramér-Rao bound, and the rates of the table of Liu, Wang, Chen and Lei, whose constants are unknown.

Errors are root mean squares over the batch, modulo order and joint signs; rows have their root mean square over the seeds if
there is noise and every seed is within five times the bound, their median otherwise. Writes ``defences.csv`` and
``defences.png``. Run with

    python experiments/defences.py [FOLDER] [SEEDS] [DEFENCE ...]

FOLDER is the current one, SEEDS 3 by default (about ten minutes of one core); the defences are noise, clipping, pruning,
dropout, steps and aggregation.
"""

from __future__ import annotations

import csv
import dataclasses
import math
import sys
from pathlib import Path

import numpy as np

from provable.architectures import Architecture, Linear, Tanh
from provable.errors import InputError, UnsupportedError
from provable.leakage import defence_rates
from provable.leakage.defence_rates import Rates, Setting
from provable.leakage.metrics import batch_cramer_rao
from provable.measures import Measure
from provable.networks import Parameters, forward
from provable.observations import Observation
from provable.observations.defences import aggregated, clipped, kept_entries, pruned, with_gaussian_noise
from provable.observations.dropout import surviving, with_dropout
from provable.observations.local_training import after_local_steps, as_one_step
from provable.recovery.batch.noisy_recovery import NoisyRecovery
from provable.recovery.batch.random_starts import from_random_starts
from provable.recovery.batch.unrolled_steps import from_local_steps
from provable.recovery.batch.wang2023 import TwoLayerGradient, algorithm_1
from provable.tensors import hermite_regression, symmetric_jennrich

DIMENSION, SAMPLES, WIDTH = 20, 5, 2000
OUTER = "2/weight"
FIBRE = ("permutation", "joint-sign")
COLUMNS = (
    "defence",
    "strength",
    "noise",
    "seeds",
    "recovered",
    "attack_error",
    "cramer_rao",
    "ratio",
    "moment_error",
    "moment_error_given_span",
    "upper_rate",
    "lower_rate",
)


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """A network, a batch and what it leaves behind."""

    network: Architecture
    parameters: Parameters
    points: np.ndarray
    labels: np.ndarray

    @classmethod
    def drawn(cls, seed: int, width: int = WIDTH, samples: int = SAMPLES) -> Batch:
        """The setting of the paper."""
        rng = np.random.default_rng(seed)
        network = Architecture("paper", (DIMENSION,), (Linear(width, False), Tanh(), Linear(1, False)), "squared")
        arrays = {"0/weight": rng.standard_normal((width, DIMENSION)), OUTER: np.full((1, width), 1 / width)}
        points = rng.standard_normal((samples, DIMENSION))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        return cls(network, Parameters(network, arrays), points, rng.choice([-1.0, 1.0], (samples, 1)))

    @property
    def measure(self) -> Measure:
        """The samples with their residuals."""
        return Measure(self.points, forward(self.network, self.parameters, self.points) - self.labels)

    def observation(self) -> Observation:
        """The gradient by the output weights."""
        return only_outer(Observation.from_data(self.network, self.parameters, self.points, self.labels))


def only_outer(observation: Observation) -> Observation:
    """Forget the gradient of the first layer."""
    return dataclasses.replace(observation, vector={OUTER: observation.vector[OUTER]})


def error(points: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square over the batch of |x̂ - x|, modulo order and signs."""
    flat = np.zeros((len(truth), 1))
    matching = Measure(points, flat).matching(Measure(truth, flat), fibre=FIBRE)
    return float(np.sqrt(np.mean((matching.errors * np.linalg.norm(truth, axis=1)) ** 2)))


def moment_errors(observation: Observation, truth: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Errors of Algorithm 1, and of a regression in the true span."""
    weights, gradient = observation.parameters["0/weight"], observation.vector[OUTER][0]
    seen = TwoLayerGradient(weights, observation.parameters[OUTER][0], Tanh(), gradient)
    try:
        printed = error(algorithm_1(seen, len(truth), rng=rng).points, truth)
    except (InputError, UnsupportedError):
        printed = math.nan
    basis = np.linalg.qr(truth.T)[0]
    try:
        third = hermite_regression(weights @ basis, gradient, 4).moments[3]
        directions = symmetric_jennrich(third, len(truth), rng=rng).factors[0]
        given = error((basis @ directions).T, truth)
    except (InputError, UnsupportedError):  # fewer equations than products
        given = math.nan
    return printed, given


class Table:
    """Rows of the table, averaged over seeds."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def add(
        self,
        defence: str,
        strength: float,
        noise: float,
        outcomes: list[tuple[NoisyRecovery | None, float, float, tuple[float, float]]],
        rates: Rates | None,
    ) -> None:
        """One row: for each seed what was found (None for another attack), its error, the bound and moment errors."""
        errors = np.array([outcome[1] for outcome in outcomes])
        limits = np.array([outcome[2] for outcome in outcomes])
        moments = np.array([outcome[3] for outcome in outcomes])
        # Without noise: at rounding level. With it: within five times the bound.
        good = errors < np.where((limits > 0) & np.isfinite(limits), 5 * limits, 1e-9)
        attack = math.sqrt(np.mean(errors**2)) if noise > 0 and good.all() else float(np.median(errors))
        bound = math.sqrt(np.mean(limits**2))
        ratio = attack / bound if noise > 0 and math.isfinite(bound) and bound > 0 else math.nan
        # A method that could not be run in one setting cannot in any seed of it.
        printed, given = np.median(moments, axis=0)
        values = (
            strength, noise, len(errors), int(good.sum()), attack, bound, ratio, printed, given,
            math.nan if rates is None or rates.upper is None else rates.upper,
            math.nan if rates is None else rates.lower,
        )  # fmt: skip
        self.rows.append({"defence": defence} | dict(zip(COLUMNS[1:], values, strict=True)))
        texts = [f"{name}={value:.3g}" for name, value in zip(COLUMNS[1:], values, strict=True)]
        sys.stdout.write(f"{defence:24s} " + " ".join(texts) + "\n")
        sys.stdout.flush()

    def series(self, defence: str, key: str, noise: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Strengths and a column of one defence."""
        chosen = [row for row in self.rows if row["defence"] == defence and noise in (None, row["noise"])]
        return np.array([row["strength"] for row in chosen]), np.array([row[key] for row in chosen])


def attacked(observation: Observation, truth: np.ndarray, noise: float, seed: int, **options) -> tuple:
    """The maximum-likelihood attack from random starts."""
    found = from_random_starts(observation, len(truth), noise=noise, rng=seed, **options)
    return found, error(found.points, truth)


def noises(table: Table, seeds: int) -> None:
    """Gaussian noise."""
    for width, sigmas in ((WIDTH, (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 0.3, 1.0)), (4 * WIDTH, (1e-3, 1e-1))):
        for sigma in sigmas:
            outcomes = []
            for seed in range(seeds):
                batch = Batch.drawn(seed, width)
                seen = with_gaussian_noise(batch.observation(), sigma, rng=seed)
                limit = batch_cramer_rao(batch.network, batch.parameters, batch.measure, sigma, pieces=[OUTER])
                moments = moment_errors(seen, batch.points, np.random.default_rng(seed))
                outcomes.append((*attacked(seen, batch.points, sigma, seed), limit.rmse_lower_bound, moments))
            rates = defence_rates.gaussian_noise(Setting(DIMENSION, width, SAMPLES, sigma))
            table.add(f"noise, m = {width}", sigma, sigma, outcomes, rates)


def clippings(table: Table, seeds: int) -> None:
    """Clipping to a share of the norm, alone and with noise after it."""
    for sigma in (0.0, 1e-3):
        for share in (1.0, 0.1, 0.01):
            outcomes = []
            for seed in range(seeds):
                batch = Batch.drawn(seed)
                whole = batch.observation()
                limited = clipped(whole, share * float(np.linalg.norm(whole.vector[OUTER])))
                seen = with_gaussian_noise(limited, sigma, rng=seed)
                scaled = Measure(batch.points, share * batch.measure.coefficients)
                limit = batch_cramer_rao(batch.network, batch.parameters, scaled, sigma, pieces=[OUTER])
                moments = moment_errors(seen, batch.points, np.random.default_rng(seed))
                outcomes.append((*attacked(seen, batch.points, sigma, seed), limit.rmse_lower_bound, moments))
            rates = defence_rates.clipping_and_noise(Setting(DIMENSION, WIDTH, SAMPLES, sigma), 1.0, share)
            table.add("clipping", share, sigma, outcomes, rates)


def prunings(table: Table, seeds: int) -> None:
    """Top entries by magnitude; the zeros are visible, and the norms are known."""
    unknowns = SAMPLES * DIMENSION  # B (d + 1) less the B norms
    for sigma, kept in ((0.0, (2000, 400, 200, 150, 120, 110, 105, 95)), (1e-3, (2000, 400, 200, 150))):
        for equations in kept:
            outcomes = []
            for seed in range(seeds):
                batch = Batch.drawn(seed)
                observation = dataclasses.replace(batch.observation(), unit_norm=True)
                sparse = pruned(with_gaussian_noise(observation, sigma, rng=seed), equations / WIDTH)
                mask = kept_entries(sparse)
                limit = batch_cramer_rao(
                    batch.network, batch.parameters, batch.measure, sigma, pieces=[OUTER], mask=mask, unit_norm=True
                )
                moments = moment_errors(sparse, batch.points, np.random.default_rng(seed))
                found = attacked(sparse, batch.points, sigma, seed, mask=mask, starts=10)
                outcomes.append((*found, limit.rmse_lower_bound if sigma else 0.0, moments))
            rates = defence_rates.pruning(Setting(DIMENSION, WIDTH, SAMPLES, sigma), 1 - equations / WIDTH)
            table.add("pruning", equations / unknowns, sigma, outcomes, rates)


def dropouts(table: Table, seeds: int) -> None:
    """One mask for the batch, survivors not rescaled: the gradient of a narrower network."""
    for sigma in (0.0, 1e-3):
        for probability in (0.0, 0.5, 0.75, 0.9):
            outcomes = []
            for seed in range(seeds):
                batch = Batch.drawn(seed)
                data = batch.network, batch.parameters, batch.points, batch.labels
                sent = only_outer(with_dropout(*data, probability, rescaled=False, rng=seed))
                # Noise is added by the server to what arrives, zeros included; the mask is known to whoever drew it.
                left = with_gaussian_noise(surviving(sent, probability, rescaled=False), sigma, rng=seed)
                residuals = forward(left.architecture, left.parameters, batch.points) - batch.labels
                limit = batch_cramer_rao(
                    left.architecture, left.parameters, Measure(batch.points, residuals), sigma, pieces=[OUTER]
                )
                moments = moment_errors(left, batch.points, np.random.default_rng(seed))
                outcomes.append((*attacked(left, batch.points, sigma, seed), limit.rmse_lower_bound, moments))
            rates = defence_rates.dropout(Setting(DIMENSION, WIDTH, SAMPLES, sigma), probability)
            table.add("dropout", probability, sigma, outcomes, rates)


def steps(table: Table, seeds: int) -> None:
    """K local steps on the batch, both layers seen; m = 200, a = 1/√m, at half of the largest stable learning rate."""
    width = 200
    for count in (1, 2, 4, 8):
        unrolled, single = [], []
        for seed in range(seeds):
            batch = Batch.drawn(seed, width)
            arrays = dict(batch.parameters) | {OUTER: np.full((1, width), 1 / math.sqrt(width))}
            parameters = Parameters(batch.network, arrays)
            tangents = np.tanh(batch.points @ arrays["0/weight"].T)
            rate = 1.0 / np.linalg.norm(tangents, 2) ** 2
            options = {"steps": count, "learning_rate": rate}
            sent = after_local_steps(batch.network, parameters, batch.points, batch.labels, **options)
            found = from_local_steps(sent, SAMPLES, rng=seed, **options)
            unrolled.append((None, error(found.points, batch.points), 0.0, (math.nan, math.nan)))
            one = from_random_starts(as_one_step(sent, **options), SAMPLES, noise=0.0, rng=seed)
            single.append((None, error(one.points, batch.points), 0.0, (math.nan, math.nan)))
        rates = defence_rates.local_steps(Setting(DIMENSION, width, SAMPLES), count)
        table.add("local steps, unrolled", count, 0.0, unrolled, rates)
        table.add("local steps, as one", count, 0.0, single, rates)


def aggregations(table: Table, seeds: int) -> None:
    """K clients with batches of 3: a batch of 3 K."""
    samples = 3
    for sigma in (0.0, 1e-3):
        for clients in (1, 2, 4):
            outcomes = []
            for seed in range(seeds):
                batch = Batch.drawn(seed, WIDTH, clients * samples)
                parts = [slice(samples * k, samples * (k + 1)) for k in range(clients)]
                sent = [
                    dataclasses.replace(batch, points=batch.points[part], labels=batch.labels[part]).observation()
                    for part in parts
                ]
                seen = with_gaussian_noise(aggregated(sent), sigma, rng=seed)
                limit = batch_cramer_rao(batch.network, batch.parameters, batch.measure, sigma, pieces=[OUTER])
                moments = moment_errors(seen, batch.points, np.random.default_rng(seed))
                outcomes.append((*attacked(seen, batch.points, sigma, seed), limit.rmse_lower_bound, moments))
            rates = defence_rates.aggregation(Setting(DIMENSION, WIDTH, samples, sigma), clients)
            table.add("aggregation", clients, sigma, outcomes, rates)


DEFENCES = {
    "noise": noises,
    "clipping": clippings,
    "pruning": prunings,
    "dropout": dropouts,
    "steps": steps,
    "aggregation": aggregations,
}


def plot(table: Table, path: Path) -> None:
    """One panel for each defence."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, 3, figsize=(14, 8), layout="constrained")
    attack, printed, given = "tab:blue", "tab:red", "tab:orange"

    drawn = set()

    def draw(axes, defence, noise=None, marker="o", label="", colour=attack, key="attack_error", line=""):
        where, values = table.series(defence, key, noise)
        if len(where):
            drawn.add(axes)
        shown = np.isfinite(values) & (values > 0)
        # Where not all seeds succeed, the maximum of the likelihood may be anywhere: an open marker, at 3 at most.
        values = np.minimum(values, 3.0)
        whole = shown
        if key == "attack_error":
            _, recovered = table.series(defence, "recovered", noise)
            _, seeds = table.series(defence, "seeds", noise)
            whole = shown & (recovered == seeds)
            axes.plot(where[shown & ~whole], values[shown & ~whole], marker, color=colour, fillstyle="none")
        axes.plot(where[whole], values[whole], marker + line, color=colour, label=label, markersize=6)

    def lower(axes, defence, noise):
        where, values = table.series(defence, "lower_rate", noise)
        _, limits = table.series(defence, "cramer_rao", noise)
        if len(where):
            axes.plot(where, values / values[0] * limits[0], ":", color="0.4", label="lower rate, through first bound")

    axes = panels[0, 0]
    for width, marker in ((WIDTH, "o"), (4 * WIDTH, "s")):
        name = f"noise, m = {width}"
        draw(axes, name, marker=marker, label=f"maximum likelihood, m = {width}")
        draw(
            axes, name, marker="", line="-", key="cramer_rao", colour="k", label="Cramér-Rao" if width == WIDTH else ""
        )
        draw(
            axes, name, marker=marker, key="moment_error", colour=printed, line="--", label=f"Algorithm 1, m = {width}"
        )
        draw(
            axes, name, marker=marker, key="moment_error_given_span", colour=given, line="--",
            label=f"moments, given the span, m = {width}",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="σ", ylim=(1e-5, 10), title="Gaussian noise")

    axes = panels[0, 1]
    for sigma, marker in ((0.0, "o"), (1e-3, "s")):
        draw(axes, "clipping", sigma, marker, f"maximum likelihood, σ = {sigma:g}")
    draw(axes, "clipping", 1e-3, "", "Cramér-Rao, σ = 0.001", "k", "cramer_rao", "-")
    lower(axes, "clipping", 1e-3)
    draw(axes, "clipping", 0.0, "x", "moments, given the span, σ = 0", given, "moment_error_given_span", "--")
    axes.set(xscale="log", yscale="log", xlabel="clipped norm / norm", title="clipping alone: no defence")

    axes = panels[0, 2]
    for sigma, marker in ((0.0, "o"), (1e-3, "s")):
        draw(axes, "pruning", sigma, marker, f"maximum likelihood, σ = {sigma:g}")
    draw(axes, "pruning", 1e-3, "", "Cramér-Rao, σ = 0.001", "k", "cramer_rao", "-")
    axes.axvline(1, color="0.7")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="entries kept / unknowns",
        title="pruning: no defence while equations suffice",
    )

    axes = panels[1, 0]
    for sigma, marker in ((0.0, "o"), (1e-3, "s")):
        draw(axes, "dropout", sigma, marker, f"maximum likelihood, σ = {sigma:g}")
    draw(axes, "dropout", 1e-3, "", "Cramér-Rao, σ = 0.001", "k", "cramer_rao", "-")
    lower(axes, "dropout", 1e-3)
    axes.set(yscale="log", xlabel="p", title="dropout: a narrower network")

    axes = panels[1, 1]
    draw(axes, "local steps, unrolled", marker="o", label="unrolled steps")
    draw(axes, "local steps, as one", marker="s", colour=printed, label="read as one step", line="--")
    axes.set(yscale="log", xlabel="K", title="local steps: no defence if K and η are known")

    axes = panels[1, 2]
    for sigma, marker in ((0.0, "o"), (1e-3, "s")):
        draw(axes, "aggregation", sigma, marker, f"maximum likelihood, σ = {sigma:g}")
    draw(axes, "aggregation", 1e-3, "", "Cramér-Rao, σ = 0.001", "k", "cramer_rao", "-")
    axes.set(yscale="log", xlabel="clients of 3 samples", title="secure aggregation: a larger batch")
    for axes in panels.flat:
        axes.set_visible(axes in drawn)
        axes.legend(fontsize=7)
        axes.set_ylabel("error per sample")
        axes.grid(color="0.92")
    figure.savefig(path, dpi=130)


def main(arguments: list[str]) -> None:
    """Fill the table."""
    folder = Path(arguments[0] if arguments else ".")
    folder.mkdir(parents=True, exist_ok=True)
    seeds = int(arguments[1]) if len(arguments) > 1 else 3
    table = Table()
    for name in arguments[2:] or DEFENCES:
        DEFENCES[name](table, seeds)
    with (folder / "defences.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(table.rows)
    plot(table, folder / "defences.png")


if __name__ == "__main__":
    main(sys.argv[1:])
