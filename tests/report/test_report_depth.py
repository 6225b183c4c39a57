from __future__ import annotations

import io
from typing import Any

import jsonschema
import pytest
import report_sample as sample

from avreview.engine.review import Report
from avreview.report import write
from avreview.report.schema import report_schema
from avreview.report.structure import to_dict


def layer(place: int, variance: Any, ratio: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "module": f"backbone.{place}.conv", "node": f"/backbone/{place}/Conv", "kind": "Conv", "activation": "relu",
        "variance": variance, "ratio": ratio, "before": place - 1 if place else None, "saturated": None, "silent": 0,
        "units": 64, **more,
    }  # fmt: skip


def falling(layers: int, factor: float, **more: Any) -> dict[str, Any]:
    """What the signal probe leaves of one path whose variance changes by `factor` a layer."""
    rows = [layer(place, factor**place, factor if place else None, **more) for place in range(layers)]
    path = {"layers": list(range(layers)), "ratio": factor, "trend": factor, "quartiles": [factor] * 2, "judged": True}
    band = {"min": 0.55, "max": 1.3}
    return {
        "inputs": "8 synthetic samples", "samples": 8, "band": band, "layers": rows, "paths": [path], "activations": [],
    }  # fmt: skip


def report(signal: Any) -> Report:
    review = sample.clean_review()._replace(evidence={"signal": signal})
    return Report("0.1.0", "sha256:" + "0" * 64, [review])


def written(signal: Any, *, width: int = 80, encoding: str = "utf-8", verbose: bool = False) -> list[str]:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    write(report(signal), "terminal", stream, width=width, verbose=verbose)
    stream.flush()
    return raw.getvalue().decode(encoding).splitlines()


def blocks(lines: list[str], label: str = "variance") -> str:
    return next(line for line in lines if line.strip().startswith(f"{label} ")).split()[2]


def test_a_vanishing_signal_steps_down_and_leaves_the_band() -> None:
    lines = written(falling(7, 0.01))
    assert blocks(lines) == "▇▆▅▄▃▂▁"
    assert any(line.strip() == f"off band{' ' * 12}{'▼' * 6}" for line in lines)
    assert any("0.01 times the variance a layer" in line for line in lines)


def test_a_signal_that_keeps_its_scale_looks_flat() -> None:
    lines = written(falling(10, 0.98))
    assert len(set(blocks(lines))) == 1
    assert not any("off band" in line for line in lines)


def test_ascii_stream_gets_digits() -> None:
    lines = written(falling(7, 0.01), encoding="ascii")
    assert blocks(lines) == "7654321"
    assert any("vvvvvv" in line for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_many_layers_share_blocks_within_the_width(width: int) -> None:
    signal = falling(300, 0.9)
    lines = written(signal, width=width)
    assert all(len(line) <= width for line in lines)
    assert 30 <= len(blocks(lines)) <= 64
    assert any("292 more rows" in line for line in lines)
    assert not any("more row" in line for line in written(signal, width=width, verbose=True))


def test_gradients_stand_beside_the_signal() -> None:
    lines = written(falling(8, 0.9, gradient=0.5))
    assert blocks(lines, "gradient") == blocks(lines, "gradient")[0] * 8
    assert any(line.split()[:6] == ["layer", "kind", "activation", "variance", "ratio", "gradient"] for line in lines)
    assert not any("gradient" in line for line in written(falling(8, 0.9)))


def test_numbers_that_json_cannot_write_are_drawn() -> None:
    signal = falling(6, 1.0)
    for place, variance in enumerate((0.0, "inf", "nan", None, -1, 1.0)):
        signal["layers"][place] = layer(place, variance, "inf")
    assert blocks(written(signal)) == "·█···▄"


def test_names_from_the_model_are_made_safe() -> None:
    signal = falling(4, 0.9)
    for row in signal["layers"]:
        row["module"] = row["node"] = "\x1b[31m\u202e::error::##[x"
    text = "\n".join(written(signal))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "##[" not in text


@pytest.mark.parametrize("signal", [None, {}, {"layers": []}, "odd"])
def test_nothing_is_drawn_where_nothing_was_measured(signal: Any) -> None:
    assert not any("Signal through depth" in line for line in written(signal))


def test_evidence_is_described_by_the_schema() -> None:
    structure = to_dict(report(falling(8, 0.01, gradient=0.5)))
    validator = jsonschema.Draft202012Validator(report_schema())
    validator.validate(structure)
    structure["reviews"][0]["evidence"]["parity"] = {"anything": [1]}
    validator.validate(structure)
    structure["reviews"][0]["evidence"]["signal"]["layers"][0]["variance"] = "much"
    assert not validator.is_valid(structure)
