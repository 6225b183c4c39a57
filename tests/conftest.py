"""Reviewing built models: the fixtures that every test of a rule or a fact uses."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import onnx
import pytest
from models import ModelBuilder

from avreview.api import review, review_artifact
from avreview.artifact import Artifact
from avreview.engine.cards import catalogue
from avreview.engine.checks import load_checks
from avreview.engine.policy import Policy, select_rules
from avreview.engine.resolve import Resolver
from avreview.engine.review import Finding, Review, Severity, Verdict
from avreview.facts.modality import StatedModality
from avreview.facts.subject import Companions
from avreview.load import open_artifact
from avreview.probes.request import ProbeRequest, named_probes

Model: TypeAlias = ModelBuilder | onnx.ModelProto | Path
Companion: TypeAlias = Model | Artifact
os.environ.setdefault("SOURCE_DATE_EPOCH", "1795305600")  # 2026-11-22: two reports of one review are alike
EVERY_PROBE = ProbeRequest(named_probes(["all"]), seconds=60)


@dataclass(frozen=True)
class Assessed:
    """How one rule ended on one model."""

    verdict: Verdict
    reason: str | None
    findings: list[Finding]

    @property
    def only(self) -> Finding:
        """The one finding there must be."""
        assert len(self.findings) == 1, [finding.message for finding in self.findings]
        return self.findings[0]

    @property
    def modules(self) -> list[str | None]:
        """The module of every finding, its further places behind it."""
        return [place.module for finding in self.findings for place in (finding.location, *finding.also)]

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASS and not self.findings

    def found(self, severity: Severity, *modules: str | None) -> Finding:
        """The one finding there must be, after comparing its severity and places: the first, then `also`."""
        finding = self.only
        assert finding.severity is severity
        assert [finding.location.module, *(place.module for place in finding.also)] == list(modules)
        return finding


Assess = Callable[..., Assessed]
Facts = Callable[..., Any]


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a built model to a file of its own."""
    numbers = itertools.count()

    def save(model: Model) -> Path:
        if isinstance(model, Path):
            return model
        path = tmp_path / f"model{next(numbers)}.onnx"
        proto = model.build() if isinstance(model, ModelBuilder) else model
        path.write_bytes(proto.SerializeToString())
        return path

    return save


@pytest.fixture
def opened(saved: Callable[[Any], Path]) -> Callable[[Companion], Artifact]:
    """The artifact of a built model, or one at hand."""

    def get(model: Companion) -> Artifact:
        return model if isinstance(model, Artifact) else open_artifact(saved(model))

    return get


def _review_at_hand(
    model: Artifact,
    checkpoint: Artifact | None,
    pretrained: Artifact | None,
    select: Iterable[str] = (),
    modality: str | None = None,
    probes: ProbeRequest | None = None,
) -> Review:
    policy = Policy(select_rules(catalogue(), select, ()))
    return review_artifact(model, policy, Companions(checkpoint, pretrained), modality=modality, probes=probes)


@pytest.fixture
def reviewed(saved: Callable[[Any], Path], opened: Callable[[Companion], Artifact]) -> Callable[..., Review]:
    """Reviews a built model: `reviewed(model, select=["AV301"], modality="lidar")`, with companions where given.

    `checkpoint` and `pretrained` are built models as well, or artifacts. `probes=EVERY_PROBE` runs the model.
    """

    def run(
        model: Companion, checkpoint: Companion | None = None, pretrained: Companion | None = None, **options: Any
    ) -> Review:
        if isinstance(model, Artifact) or checkpoint is not None or pretrained is not None:
            beside = [None if companion is None else opened(companion) for companion in (checkpoint, pretrained)]
            return _review_at_hand(opened(model), beside[0], beside[1], **options)
        report = review([saved(model)], **options)
        assert not report.unreadable
        return report.reviews[0]

    return run


@pytest.fixture
def assess(reviewed: Callable[..., Review]) -> Assess:
    """Reviews a built model by one rule: `assess(model, "AV301")`."""

    def run(model: Companion, rule: str, **options: Any) -> Assessed:
        result = reviewed(model, select=[rule], **options)
        outcome = next(outcome for outcome in result.rules if outcome.rule == rule)
        return Assessed(outcome.verdict, outcome.reason, [f for f in result.findings if f.rule == rule])

    return run


@pytest.fixture
def fact(opened: Callable[[Companion], Artifact]) -> Facts:
    """Computes one fact of a built model: `fact(model, Layers)`."""
    load_checks(catalogue())  # importing the checks registers what provides facts

    def compute(
        model: Companion,
        kind: type,
        modality: str | None = None,
        checkpoint: Companion | None = None,
        pretrained: Companion | None = None,
        probes: ProbeRequest = EVERY_PROBE,
    ) -> Any:
        first, second = (None if companion is None else opened(companion) for companion in (checkpoint, pretrained))
        companions = Companions(first, second)
        given = {Artifact: opened(model), StatedModality: StatedModality(modality), Companions: companions}
        return Resolver({**given, ProbeRequest: probes}).get(kind)

    return compute
