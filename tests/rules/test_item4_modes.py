"""AV407 on module trees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint
from conftest import Assess

from avreview.artifact import Artifact
from avreview.checkpoint import Module
from avreview.engine.review import Severity, Verdict


def tree(**modules: tuple[str, dict[str, Any]]) -> Artifact:
    """A model of such leaves, given as (class, attributes)."""
    leaves = [
        Module(name, kind, "torch.nn", attributes, buffers=("running_mean",) if "Norm" in kind else ())
        for name, (kind, attributes) in modules.items()
    ]
    root = Module("", "Net", "nets", {"training": False}, tuple(modules))
    return checkpoint({"head.weight": np.zeros((4, 4), np.float32)}, modules=[root, *leaves])


MODES = [
    ("BatchNorm2d", {}),
    ("Dropout", {"p": 0.1}),
    ("Dropout2d", {"p": 0.5}),
    ("DropPath", {"drop_prob": 0.1}),
    ("StochasticDepth", {"p": 0.2}),
    ("LSTM", {"dropout": 0.3}),
    ("MultiheadAttention", {"dropout": 0.1}),
]


@pytest.mark.parametrize(("kind", "attributes"), MODES, ids=[kind for kind, _ in MODES])
def test_av407_catches_what_depends_on_the_mode(assess: Assess, kind: str, attributes: dict[str, Any]) -> None:
    one, other = {**attributes, "training": True}, {**attributes, "training": False}
    outcome = assess(tree(a=(kind, other), b=(kind, one), c=(kind, one)), "AV407")
    outcome.found(Severity.WARNING, "b", "c")
    assert assess(tree(a=(kind, other), b=(kind, other)), "AV407").passed


@pytest.mark.parametrize(
    ("kind", "attributes"), [("Conv2d", {}), ("ReLU", {}), ("Dropout", {"p": 0.0}), ("LSTM", {"dropout": 0.0})]
)
def test_av407_does_not_count_what_does_not_depend_on_it(assess: Assess, kind: str, attributes: dict[str, Any]) -> None:
    assert assess(tree(a=(kind, {**attributes, "training": True})), "AV407").verdict is Verdict.NOT_APPLICABLE


def test_av407_needs_a_tree(assess: Assess) -> None:
    outcome = assess(checkpoint({"head.weight": np.zeros((4, 4), np.float32)}), "AV407")
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "module tree" in (outcome.reason or "")
