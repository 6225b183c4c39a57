"""Probes in the test's own process: a child has to import PyTorch anew, which takes seconds."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from avreview.probes.child import job
from avreview.sandbox import Ending, Outcome


class _Ended(NamedTuple):
    outcome: Outcome

    def result(self) -> Outcome:
        return self.outcome


def _start(function: str, probe: str, wanted: dict[str, Any], **limits: Any) -> _Ended:
    answer = job.run(probe, json.loads(json.dumps(wanted)))
    return _Ended(Outcome(Ending.OK, json.loads(json.dumps(answer))))


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the process and its limits is as it would be."""
    monkeypatch.setattr("avreview.probes.probing.start", _start)
