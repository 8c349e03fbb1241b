"""The page on metrics says what the code says: its tables are those of the data, its snippets print what it shows."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from provable import audit
from provable.architectures import Conv2d
from provable.architectures.zoo import from_zoo
from provable.leakage.layer_systems import LayerSystem
from provable.leakage.layer_systems.rank import upper_bound
from provable.leakage.metrics import cramer_rao, data_ratio, rgap_index
from provable.leakage.metrics.catalogue import METRICS
from provable.leakage.open_dimensions.coverage import dead_inputs
from provable.leakage.open_dimensions.nested_rank import nested_rank_bound

PAGE = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text()


def table(heading):
    """The rows below the heading as lists of cells."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |")) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")])
    return rows


NETWORKS = {row[0].strip("`"): row[1:] for row in table("network")}


def first_layer(name):
    """The system of the first layer, a convolution."""
    network = from_zoo(name)
    return LayerSystem.of_layer(network.layers[0], network.shapes[0])


def second_layer(name):
    """The system of the second convolution, behind one activation."""
    network = from_zoo(name)
    return LayerSystem.of_layer(network.layers[2], network.shapes[2])


def test_the_table_of_metrics_is_the_catalogue():
    rows = table("metric")
    assert len(rows) == len(METRICS)
    for row, metric in zip(rows, METRICS, strict=True):
        wanted = [
            f"**{metric.name}** {metric.question}",
            metric.definition,
            metric.unit,
            metric.source,
            "; ".join(metric.cannot_see),
        ]
        assert row == [cell.replace("|", "¦") for cell in wanted]


def test_snippets_print_what_the_page_shows():
    blocks = PAGE.split("```python\n")[1:]
    namespace: dict[str, object] = {}
    for block in blocks:
        code, _, rest = block.partition("```")
        shown = rest.partition("```text\n")[2].partition("```")[0]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "docs/metrics.md", "exec"), namespace)
        assert printed.getvalue() == shown
    assert len(blocks) == PAGE.count("```text\n") >= 8


def test_numbers_in_the_sentences_are_those_of_tables_and_snippets():
    section = PAGE[PAGE.index("## Where they contradict") : PAGE.index("## Which one to use")]
    sources, prose = [], []
    for position, part in enumerate(section.split("```")):
        if position % 2 == 0:
            lines = part.splitlines()
            prose += [line for line in lines if not line.startswith("|")]
            sources += [line for line in lines if line.startswith("|")]
        elif part.startswith("text"):
            sources.append(part)
    known = set(re.findall(r"\d{3,}", " ".join(sources)))
    bare = nested_rank_bound(from_zoo("cnn2_c0"), {"0": upper_bound(first_layer("cnn2_c0")).value}).nullity
    nullities = [int(NETWORKS[name][5]) for name in ("cnn3_c1", "cnn3_c8")]
    ranks = [upper_bound(second_layer(name)).value for name in ("cnn3_c1", "cnn3_c8")]
    known |= {
        str(from_zoo("cnn4_c2").input_size),
        str(second_layer("cnn6-d").out_channels ** 2),
        str(280 + 312 - second_layer("cnn6-d").out_channels ** 2),
        str(nullities[0] - nullities[1]),
        str(ranks[1] - ranks[0]),
        f"{data_ratio(from_zoo('rgap-figure-3')):.0f}",
        str(bare),
    }
    found = re.findall(r"\d{3,}", re.sub(r"`[^`]*`", "", " ".join(prose)))
    assert len(found) > 20
    assert set(found) <= known, set(found) - known


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_numbers_of_the_table(name):
    network, row = from_zoo(name), NETWORKS[name]
    systems = {
        str(index): LayerSystem.of_layer(layer, network.shapes[index])
        for index, layer in enumerate(network.layers)
        if isinstance(layer, Conv2d)
    }
    ranks = {path: upper_bound(system).value for path, system in systems.items()}
    counted = [s.unknowns - s.forward_equations - s.gradient_equations for s in systems.values()]
    short = [system.unknowns - ranks[path] for path, system in systems.items()]
    depth = len(short)
    metric = -sum(round((depth - position) * deficit / depth) for position, deficit in enumerate(short))
    wanted = [
        ", ".join(map(str, counted)),
        ", ".join(map(str, short)),
        str(metric),
        str(rgap_index(network).value),
        str(dead_inputs(network)),
        str(nested_rank_bound(network, ranks).nullity),
    ]
    assert row[:-1] == wanted


@pytest.mark.deep
@pytest.mark.parametrize("name", NETWORKS)
def test_audits_prove_the_numbers_of_the_table(name):
    result, row = audit(from_zoo(name)), NETWORKS[name]
    layers = [layer for layer in result.layers if layer.type == "conv2d"]
    assert [layer.deficit_lower for layer in layers] == [layer.deficit_upper for layer in layers]
    assert ", ".join(str(layer.deficit_lower) for layer in layers) == row[1]
    assert (str(result.c_metric), str(result.rgap_index)) == (row[2], row[3])
    assert str(result.ambiguity.lower) == str(result.ambiguity.upper) == row[5]


@pytest.mark.deep
@pytest.mark.parametrize("name", NETWORKS)
def test_errors_under_noise_are_those_of_the_table(name):
    bound, row = cramer_rao(from_zoo(name), 0.01), NETWORKS[name]
    assert str(bound.nullity) == row[5]
    error = "∞ (" if bound.infinite else ""
    error += f"{bound.identifiable_rmse_lower_bound:.3g}" + (")" if bound.infinite else "")
    assert error == row[6]
