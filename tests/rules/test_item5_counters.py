"""AV503: norms that counted different numbers of batches."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import checkpoint
from conftest import Assess

from avreview.artifact import Artifact
from avreview.engine.review import Severity, Verdict


def counting(**batches: int) -> Artifact:
    return checkpoint(
        {f"{name}.num_batches_tracked": np.array(number, np.int64) for name, number in batches.items()}
        | {"head.weight": np.zeros((4, 4), np.float32)}
    )


def test_av503_names_the_norms_that_counted_less(assess: Assess) -> None:
    finding = assess(counting(bn1=700, bn2=700, bn3=1000), "AV503").found(Severity.NOTE, "bn1", "bn2")
    assert finding.observed["batches"] == {"700": "bn1, bn2", "1000": "bn3"}


def test_av503_names_a_norm_that_never_counted(assess: Assess) -> None:
    assess(counting(bn1=0, bn2=1000), "AV503").found(Severity.NOTE, "bn1")


@pytest.mark.parametrize("batches", [{"bn1": 500, "bn2": 500}, {"bn1": 500, "bn2": 2000}])
def test_av503_passes_equal_counters_and_norms_shared_by_levels(assess: Assess, batches: dict[str, int]) -> None:
    assert assess(counting(**batches), "AV503").passed


def test_av503_says_nothing_of_counters_that_were_reset(assess: Assess) -> None:
    assert assess(counting(bn1=0, bn2=0), "AV503").verdict is Verdict.NOT_ASSESSED
    assert assess(counting(), "AV503").verdict is Verdict.NOT_APPLICABLE
