"""One network in every form that PyTorch saves: each form shows what it holds, and no rule passes for more."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from saving import DROPOUTS, NORMS, Net, save, trained

from avreview.api import review
from avreview.engine.review import Report, Review, Verdict

PICKLED = ("module", "legacy-module")
SCRIPTED = ("scripted", "traced")
NAMES = ("state-dict", "legacy")


@pytest.fixture(scope="module")
def net() -> Net:
    return trained()[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forms")


def reviewed(net: Net, form: str, mode: str, folder: Path) -> Review:
    net.train(mode == "train")
    report: Report = review([save(form, net, folder / f"{form}-{mode}.pt")])
    assert not report.unreadable
    return report.reviews[0]


def places(result: Review, rule: str) -> list[str | None]:
    found = [finding for finding in result.findings if finding.rule == rule]
    return [place.module for finding in found for place in (finding.location, *finding.also)]


def verdict(result: Review, rule: str) -> Verdict:
    return next(outcome.verdict for outcome in result.rules if outcome.rule == rule)


@pytest.mark.parametrize("form", [*NAMES, *PICKLED, *SCRIPTED, "program"])
def test_the_eval_form_has_no_fault(form: str, net: Net, folder: Path) -> None:
    result = reviewed(net, form, "eval", folder)
    assert not [finding for finding in result.findings if str(finding.severity) != "note"]
    for rule in ("AV001", "AV003", "AV102", "AV201", "AV501", "AV502"):
        assert verdict(result, rule) is Verdict.PASS, rule


@pytest.mark.parametrize("form", SCRIPTED)
def test_a_script_in_training_mode_is_caught_on_every_module(form: str, net: Net, folder: Path) -> None:
    result = reviewed(net, form, "train", folder)
    assert sorted(map(str, places(result, "AV301"))) == sorted(NORMS)
    assert sorted(map(str, places(result, "AV701"))) == sorted(DROPOUTS)
    assert sorted(map(str, places(result, "AV407"))) == sorted([*NORMS, *DROPOUTS])


@pytest.mark.parametrize("form", PICKLED)
def test_a_whole_module_in_training_mode_is_one_warning(form: str, net: Net, folder: Path) -> None:
    result = reviewed(net, form, "train", folder)
    assert sorted(map(str, places(result, "AV407"))) == sorted([*NORMS, *DROPOUTS])
    assert not places(result, "AV301")
    assert verdict(result, "AV701") is Verdict.NOT_ASSESSED


@pytest.mark.parametrize("form", NAMES)
def test_a_state_dict_shows_neither_modes_nor_dropout_nor_the_way_of_the_data(
    form: str, net: Net, folder: Path
) -> None:
    result = reviewed(net, form, "train", folder)
    for rule in ("AV110", "AV301", "AV304", "AV305", "AV401", "AV407", "AV504", "AV509", "AV701", "AV703", "AV705",
                 "AV706"):  # fmt: skip
        assert verdict(result, rule) is Verdict.NOT_ASSESSED, rule


@pytest.mark.parametrize("form", [*SCRIPTED, "program"])
def test_a_recorded_forward_tells_what_stands_before_what(form: str, net: Net, folder: Path) -> None:
    result = reviewed(net, form, "eval", folder)
    assert sorted(map(str, places(result, "AV706"))) == sorted(["blocks.0.drop", "blocks.0.bn", "blocks.1.bn"])
    assert verdict(result, "AV509") is Verdict.PASS
    assert verdict(result, "AV304") is Verdict.PASS
