"""AV003 and AV004 on checkpoints: what loading one would run, and what its keys still name."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from checkpoints import checkpoint
from conftest import Assess

from avreview.artifact import Artifact
from avreview.checkpoint import NamedCode
from avreview.engine.review import Severity, Verdict

WEIGHT = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)


def naming(*code: NamedCode, oddities: tuple[str, ...] = ()) -> Artifact:
    artifact = checkpoint({"head.weight": WEIGHT})
    assert artifact.checkpoint is not None
    artifact.checkpoint = artifact.checkpoint._replace(code=code, oddities=oddities)
    return artifact


def called(name: str) -> NamedCode:
    return NamedCode(name, "called", "data.pkl", 17)


class Command:
    """Would run a command wherever it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("1 + 1",)


@pytest.mark.parametrize("protocol", range(6))
def test_av003_names_what_a_pickle_would_call(assess: Assess, tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "model.pt"
    weights = {"note": Command(), "weight": np.arange(6.0)}
    path.write_bytes(pickle.dumps(weights, protocol))
    finding = assess(path, "AV003").only
    assert finding.severity is Severity.ERROR
    assert finding.location.artifact == str(path)
    assert finding.observed["names"] in (["builtins.eval"], ["__builtin__.eval"])
    assert "eval" in finding.message


def test_av003_lists_every_name_once(assess: Assess) -> None:
    finding = assess(naming(called("os.system"), called("os.system"), called("subprocess.Popen")), "AV003").only
    assert finding.observed["names"] == ["os.system", "subprocess.Popen"]
    assert finding.observed["first_at"] == ["data.pkl", 17]


def test_av003_reports_what_no_trainer_writes(assess: Assess) -> None:
    finding = assess(naming(oddities=("12 bytes behind the pickle's end",)), "AV003").only
    assert "12 bytes behind" in finding.message


def test_av003_passes_a_plain_checkpoint(assess: Assess) -> None:
    assert assess(checkpoint({"head.weight": WEIGHT}), "AV003").passed


def test_av003_passes_the_classes_of_a_whole_module(assess: Assess) -> None:
    own = NamedCode("mycompany.nets.Detector", "made", "data.pkl", 9, is_module=True)
    assert assess(naming(own), "AV003").passed


def test_av003_judges_every_checkpoint_of_the_subject(assess: Assess) -> None:
    clean = checkpoint({"head.weight": WEIGHT}, path="clean.pt")
    base = naming(called("os.system"))
    assert assess(clean, "AV003", pretrained=base).only.location.artifact == "model.pt"


def test_av003_does_not_apply_without_a_pickle(assess: Assess) -> None:
    artifact = checkpoint({"head.weight": WEIGHT})
    artifact.provenance = artifact.provenance._replace(format="safetensors")
    assert assess(artifact, "AV003").verdict is Verdict.NOT_APPLICABLE


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_av004_names_a_prefix_that_every_key_carries(assess: Assess, prefix: str) -> None:
    finding = assess(checkpoint({"head.weight": WEIGHT, "head.bias": WEIGHT[0]}, prefix=prefix), "AV004").only
    assert finding.severity is Severity.NOTE
    assert finding.location.tensor == f"{prefix}head.weight"
    assert finding.observed["prefix"] == prefix
    assert finding.expected["first_key"] == "head.weight"


@pytest.mark.parametrize("prefix", ["", "model."])
def test_av004_passes_ordinary_names(assess: Assess, prefix: str) -> None:
    assert assess(checkpoint({"head.weight": WEIGHT}, prefix=prefix), "AV004").passed
