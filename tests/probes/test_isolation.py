"""What a model can do to a probe, and what is left of the review: everything else, and a reason."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile_models
import onnx
import pytest
from conftest import EVERY_PROBE, Assess
from models import ModelBuilder

from avreview.engine.resolve import NotAvailable
from avreview.engine.review import Review, Verdict
from avreview.probes.plan import InputPlan
from avreview.probes.probing import Probing
from avreview.probes.request import ProbeRequest, named_probes
from avreview.sandbox import MEMORY_LIMITED, Child, Ending, Outcome

BRIEFLY = ProbeRequest(named_probes(["repeat"]), seconds=4, memory=2 << 30)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (hostile_models.endless, "did not finish within 4 s while running the model; raise --probe-timeout"),
        pytest.param(
            hostile_models.hungry,
            "needs more memory than 2 GiB while running the model; raise --probe-memory",
            marks=pytest.mark.skipif(not MEMORY_LIMITED, reason="memory is limited on Linux only"),
        ),
        (hostile_models.custom, "no kernel for the operator team.bev:BevPool"),
        (hostile_models.unknown, "Frobnicate"),
        (hostile_models.kernelless, "no kernel for the operator RandomNormalLike"),
        (hostile_models.misshapen, "Reshape"),
    ],
)
def test_a_hostile_model_is_not_assessed_and_the_reason_is_one_line(
    assess: Assess, tmp_path: Path, make: Callable[[], onnx.ModelProto], words: str
) -> None:
    outcome = assess(hostile_models.saved(make(), tmp_path), "AV702", probes=BRIEFLY)
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert outcome.reason is not None
    assert words in outcome.reason
    assert "\n" not in outcome.reason
    assert len(outcome.reason) < 400


def test_the_rest_of_the_review_is_complete(reviewed: Callable[..., Review], tmp_path: Path) -> None:
    path = hostile_models.saved(hostile_models.kernelless(), tmp_path)
    review = reviewed(path, probes=BRIEFLY)
    verdicts = {outcome.rule: outcome.verdict for outcome in review.rules}
    assert verdicts["AV702"] is Verdict.NOT_ASSESSED
    assert verdicts["AV401"] is Verdict.FAIL


def test_a_model_that_cannot_be_loaded_is_tried_once(reviewed: Callable[..., Review], tmp_path: Path) -> None:
    review = reviewed(hostile_models.saved(hostile_models.custom(), tmp_path), probes=EVERY_PROBE)
    assert len(review.evidence["probes"]) == 1
    reasons = {outcome.rule: outcome.reason for outcome in review.rules}
    assert reasons["AV702"] == reasons["AV302"] == reasons["AV405"]


def test_a_model_that_never_ends_is_waited_for_once(reviewed: Callable[..., Review], tmp_path: Path) -> None:
    path = hostile_models.saved(hostile_models.endless(), tmp_path)
    review = reviewed(path, select=["AV302", "AV405", "AV702"], probes=EVERY_PROBE._replace(seconds=2))
    assert len(review.evidence["probes"]) == 1
    (reason,) = {outcome.reason for outcome in review.rules if outcome.verdict is Verdict.NOT_ASSESSED}
    assert reason is not None
    assert "did not finish within 2 s while running the model" in reason


@pytest.mark.parametrize(
    ("ending", "message", "words"),
    [
        (Ending.DIED, "died by SIGSEGV", "the process that ran the model died by SIGSEGV while loading the model"),
        (Ending.DIED, "died by SIGKILL", "the process that ran the model died by SIGKILL while loading the model; it"),
        (Ending.FAILED, "KeyError: 'x'", "the probe failed while loading the model (KeyError: 'x')"),
        (Ending.FAILED, "MemoryError: none left", "the model needs more memory than 8 GiB while loading the model"),
    ],
)
def test_how_a_child_ends_is_the_reason(
    monkeypatch: pytest.MonkeyPatch, ending: Ending, message: str, words: str
) -> None:
    outcome = Outcome(ending, message=message, stage="loading the model")
    monkeypatch.setattr(Child, "result", lambda child: outcome)
    probing = Probing("model.onnx", ProbeRequest(named_probes(["repeat"])))
    with pytest.raises(NotAvailable, match="^" + words.replace("(", r"\(").replace(")", r"\)")):
        probing.run("repeat", InputPlan([[]], None, 0))


_SPY = """
import json, os, sys
def run(probe, job):
    variables = sorted(os.environ)
    return {"refused": json.dumps([variables, os.getcwd() in sys.path, sys.stdin.read()])}
"""


def test_a_probe_inherits_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "spy.py").write_text(_SPY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("PYTHONSTARTUP", "evil.py")
    monkeypatch.setattr("avreview.probes.probing._CHILD", "spy:run")
    for user_code in (False, True):
        probing = Probing("model.onnx", ProbeRequest(named_probes(["repeat"])))
        with pytest.raises(NotAvailable) as refusal:
            probing.run("repeat", InputPlan([[]], None, 0), user_code=user_code)
        variables, _, stdin = json.loads(str(refusal.value))
        assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONSTARTUP"} & set(variables)
        assert stdin == ""


_IMPORTED = """
import json, sys
from avreview.api import review
from avreview.probes.request import ProbeRequest, named_probes
path, probes = sys.argv[1], sys.argv[2:]
request = ProbeRequest(named_probes(probes)) if probes else None
verdicts = [outcome.verdict.value for outcome in review([path], select=["AV702"], probes=request).reviews[0].rules]
print(json.dumps([verdicts, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize("probes", [(), ("repeat",)])
def test_the_reviewing_process_never_imports_a_runtime(saved: Callable[[Any], Path], probes: tuple[str, ...]) -> None:
    path = saved(ModelBuilder().input("image", ["batch", 3, 8, 8]).conv("stem", 4).output("y"))
    command = [sys.executable, "-c", _IMPORTED, str(path), *probes]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
    verdicts, modules = json.loads(ended.stdout)
    assert verdicts == (["pass"] if probes else ["not-assessed"])
    assert not {"onnxruntime", "torch", "onnx"} & set(modules)
    assert probes or "avreview.probes.child" not in modules


def test_a_limit_above_the_memory_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Child, "result", lambda child: Outcome(Ending.FAILED, message="MemoryError: none left"))
    probing = Probing("model.onnx", ProbeRequest(named_probes(["repeat"]), memory=1 << 60))
    with pytest.raises(NotAvailable, match=r"than the .* GiB of this machine; run it on a larger one"):
        probing.run("repeat", InputPlan([[]], None, 0))
