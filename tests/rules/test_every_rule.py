"""What holds of all rules: each is tested, and none passes for what it did not look at."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Assess
from models import ModelBuilder

from avreview.artifact import Artifact, Provenance
from avreview.engine.cards import catalogue
from avreview.engine.policy import Policy
from avreview.engine.review import Review, Severity, Verdict
from avreview.engine.run import run
from avreview.facts.modality import StatedModality
from avreview.facts.subject import Companions
from avreview.probes.request import NOTHING, ProbeRequest

RULES = [card.id for card in catalogue()]
# Not decided from facts of the graph: it always has something to say.
UNCONDITIONAL = {"AV409"}


@pytest.fixture(scope="module")
def without_graph() -> Review:
    """The review of a file that holds neither graph nor weights."""
    artifact = Artifact(Provenance("weights.bin", "none", 0), {})
    rules = catalogue()
    given = {Artifact: artifact, StatedModality: StatedModality(None), Companions: Companions(), ProbeRequest: NOTHING}
    return run(rules, Policy(frozenset(rules.cards)), [given], {"model": artifact})


@pytest.fixture
def trivial(reviewed: Callable[..., Review]) -> Review:
    """The review of a valid model that does nothing."""
    return reviewed(ModelBuilder().input("x", ["batch", 4]).op("Identity").output("y", ["batch", 4]))


@pytest.mark.parametrize("rule", RULES)
def test_every_decided_rule_is_tested(rule: str) -> None:
    tests = "\n".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_item*.py"))
    names = re.findall(rf"def test_{rule.lower()}_\w+", tests)
    assert len(names) >= (1 if rule in UNCONDITIONAL else 2), f"{rule} wants a bad and a good twin"


def test_every_decided_rule_is_left_open_without_a_graph(without_graph: Review) -> None:
    left_open = {outcome.rule: outcome for outcome in without_graph.rules if outcome.rule in RULES}
    for rule in RULES:
        if rule not in UNCONDITIONAL:
            assert left_open[rule].verdict is Verdict.NOT_ASSESSED, rule
            assert re.match(r"needs .+; pass ", left_open[rule].reason or ""), rule
    assert without_graph.verdict in (Verdict.NOT_ASSESSED, Verdict.ATTENTION)


def test_no_rule_passes_for_what_it_did_not_look_at(without_graph: Review) -> None:
    assert not [outcome.rule for outcome in without_graph.rules if outcome.verdict is Verdict.PASS]


@pytest.mark.parametrize("rule", RULES)
def test_a_model_that_does_nothing_has_no_fault_and_every_open_rule_says_why(rule: str, trivial: Review) -> None:
    outcome = next(outcome for outcome in trivial.rules if outcome.rule == rule)
    assert outcome.verdict is not Verdict.FAIL
    if outcome.verdict in (Verdict.NOT_APPLICABLE, Verdict.NOT_ASSESSED):
        assert outcome.reason


def test_every_rule_is_decided_and_in_the_review(trivial: Review) -> None:
    assert not [card.id for card in catalogue() if card.planned]
    assert sorted(RULES) == sorted(outcome.rule for outcome in trivial.rules)


def test_one_cause_is_one_finding(assess: Assess) -> None:
    model = ModelBuilder().input("x", ["batch", 8, 8, 8])
    for number in range(20):
        model.conv(f"net.{number}.conv", 8, bias=False).batch_norm(f"net.{number}.bn", training=True).relu()
    outcome = assess(model.conv("head", 4).output("y"), "AV301")
    assert len(outcome.only.also) == 19
    outcome.found(Severity.ERROR, *(f"net.{number}.bn" for number in range(20)))
