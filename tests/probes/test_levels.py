from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import ModelBuilder

from avreview.probes.child.inputs import Inputs
from avreview.probes.child.levels import moves, probe
from avreview.probes.child.runtime import Runtime

LIMITS = {"samples": 1, "max_drift": 1e-5, "max_changed": 0.01, "max_sensitivity_ratio": 20.0}


def measured(path: Path, model: ModelBuilder, shape: tuple[int, ...]) -> dict[str, Any]:
    entry = {
        "name": "x", "dtype": "float32", "shape": shape, "kind": "features", "batch_axis": 0, "low": 0, "high": 2,
        "value": None,
    }  # fmt: skip
    inputs = Inputs({"attempts": [[entry]], "batch": None, "seed": 0, "given": None, "note": None})
    return probe(Runtime(model.save(path / "m.onnx")), inputs, LIMITS)


def test_how_outputs_move() -> None:
    one = {"a": np.array([1.0, -4.0]), "b": np.array([1, 2, 3, 4]), "c": np.full(3, np.nan), "d": np.zeros((0, 2))}
    other = {"a": np.array([1.0, -3.0]), "b": np.array([1, 2, 3, 5]), "c": np.full(3, np.nan), "d": np.zeros((0, 2))}
    assert moves(one, other) == {
        "a": {"drift": 0.25},
        "b": {"drift": 0.25},
        "c": {"why": "it is NaN throughout"},
        "d": {"why": "it is empty"},
    }
    assert "why" in moves({"a": np.zeros(3)}, {"a": np.zeros(4)})["a"]
    assert "why" in moves({"a": np.zeros(3)}, {})["a"]
    assert moves({"a": np.array([1.0, np.nan])}, {"a": np.array([1.0, 2.0])})["a"]["drift"] == np.inf


def test_a_clean_model_needs_no_sensitivity(tmp_path: Path) -> None:
    answer = measured(tmp_path, ModelBuilder().input("x", ["batch", 8]).linear("fc", 4).output("y"), (1, 8))
    assert answer["repeats"]
    assert answer["outputs"]["y"]["drift"] < 1e-6
    assert (answer["sensitivity"], answer["departing"]) == ({}, [])


def test_dropout_is_kept_on_both_sides(tmp_path: Path) -> None:
    model = ModelBuilder().input("x", ["batch", 64]).linear("fc", 64).dropout("drop").linear("head", 64).output("y")
    assert measured(tmp_path, model, (1, 64)) == {"repeats": False}


@pytest.mark.parametrize("factor", [1e-30, 1e-3])
def test_the_optimization_at_fault(tmp_path: Path, factor: float) -> None:
    """Folded into the weights the factor takes them below the smallest float32, or does not."""
    model = ModelBuilder().input("x", ["batch", 3, 8, 8])
    model.op("Mul", model.scalar(1e20), module="scale")
    model.conv("conv", 4, weight=model.trained(4, 3, 3, 3) * np.float32(1e-20), bias=False)
    model.op("Mul", model.scalar(factor)).op("Mul", model.scalar(1 / factor)).output("y")
    answer = measured(tmp_path, model, (1, 3, 8, 8))
    if factor == 1e-3:
        assert answer["departing"] == []
        return
    assert answer["departing"] == ["y"]
    assert (answer["level"], answer["optimization"]) == ("BASIC", "ConvMulFusion")
