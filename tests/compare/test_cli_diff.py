"""`avreview diff` as a person runs it: exit codes, outputs, configuration, and what goes wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml

from avreview.report.schema import diff_schema

SAMPLES = Path(__file__).parents[2] / "sample_models"
CLEAN = SAMPLES / "lane_head.onnx"
FAULTY = SAMPLES / "lane_head__dropout_active.onnx"


def avreview(folder: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1795305600", "COLUMNS": "100"}  # 2026-11-22
    command = [sys.executable, "-m", "avreview", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_only_new_findings_fail(folder: Path) -> None:
    ended = avreview(folder, "diff", CLEAN, FAULTY)
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "1 NEW FINDING AT OR ABOVE ERROR" in ended.stdout
    for old, new in ((CLEAN, CLEAN), (FAULTY, FAULTY), (FAULTY, CLEAN)):
        assert avreview(folder, "diff", old, new).returncode == 0
    assert avreview(folder, "diff", CLEAN, FAULTY, "--ignore", "AV701").returncode == 0
    softmax = SAMPLES / "lane_head__double_softmax.onnx"
    codes = [avreview(folder, "diff", CLEAN, softmax, "--fail-on", word).returncode for word in ("error", "note")]
    assert codes[1] == 1


def test_a_baseline_and_waivers_cover_new_findings(folder: Path) -> None:
    model = folder / "models" / "lanes.onnx"
    model.parent.mkdir()
    model.write_bytes(FAULTY.read_bytes())
    entry = {"rule": "AV701", "module": "head.*", "reason": "sampled", "owner": "a", "expires": "2027-03-31"}
    (folder / "waivers.yaml").write_text(yaml.safe_dump({"waivers": [entry]}))
    (folder / "avreview.yaml").write_text(yaml.safe_dump({"waivers": "waivers.yaml"}))
    ended = avreview(folder, "diff", CLEAN, model, "-f", "json")
    told = json.loads(ended.stdout)
    assert (ended.returncode, told["counts"]["new"], told["counts"]["accepted"]) == (0, 0, 1)
    assert avreview(folder, "diff", CLEAN, model, "--isolated").returncode == 1
    (folder / "avreview.yaml").write_text("{}\n")
    assert avreview(folder, "baseline", "models/lanes.onnx").returncode == 0
    (folder / "avreview.yaml").write_text("baseline: avreview-baseline.yaml\n")
    assert avreview(folder, "diff", CLEAN, "models/lanes.onnx").returncode == 0
    assert avreview(folder, "diff", CLEAN, "models/lanes.onnx", "--config", folder / "none.yaml").returncode == 2


def test_several_outputs_at_once_in_the_format_of_their_suffix(folder: Path) -> None:
    ended = avreview(folder, "diff", CLEAN, FAULTY, "-o", "d.md", "-o", "d.json", "-o", "d.txt", "-o", "-")
    assert ended.returncode == 1
    assert (folder / "d.md").read_text("utf-8").startswith("## ✗ avreview diff: ")
    jsonschema.validate(json.loads((folder / "d.json").read_text()), diff_schema())
    assert (folder / "d.txt").read_text("utf-8") == ended.stdout
    ended = avreview(folder, "diff", CLEAN, FAULTY, "-f", "markdown", "-o", "comment")
    assert (ended.stdout, (folder / "comment").read_text("utf-8")[:2]) == ("", "##")


def test_the_same_files_give_the_same_bytes(folder: Path) -> None:
    for format in ("terminal", "markdown", "json"):
        first, second = (avreview(folder, "diff", CLEAN, FAULTY, "-f", format).stdout for _ in range(2))
        assert first == second


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nothing.onnx", CLEAN], "nothing.onnx: "),
        ([CLEAN, "avreview.yaml"], "avreview.yaml: is a text file"),
        ([CLEAN, FAULTY, "-o", "a.pdf"], "a.pdf: no format has this suffix"),
        ([CLEAN, FAULTY, "-o", "missing/a.md"], "missing/a.md: cannot be written"),
        ([CLEAN, FAULTY, "--select", "BOGUS"], "BOGUS"),
        ([CLEAN, "report.yaml"], "report.yaml is a report and"),
        (["broken.yaml", "broken.yaml"], "broken.yaml:2:1: reviews: has to be a list"),
        ([CLEAN, "model.safetensors"], "name two of one kind"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_two(folder: Path, words: list[str | Path], line: str) -> None:
    (folder / "avreview.yaml").write_text("{}\n")
    (folder / "report.yaml").write_text("schema: avreview/report/1\nreviews: []\n")
    (folder / "broken.yaml").write_text("schema: avreview/report/1\nreviews: 1\n")
    header = b'{"w.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    ended = avreview(folder, "diff", *words)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    assert line in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not list(folder.glob("a.*"))


def test_a_newer_report_that_could_not_review_a_model_ends_with_two(folder: Path) -> None:
    (folder / "cut.onnx").write_bytes(b"\x08")
    assert avreview(folder, "check", CLEAN, "-o", "old.yaml").returncode == 0
    assert avreview(folder, "check", CLEAN, "cut.onnx", "-o", "new.json").returncode == 2
    ended = avreview(folder, "diff", "old.yaml", "new.json")
    assert ended.returncode == 2
    assert "cut.onnx" in ended.stderr
    assert "no new findings" in ended.stdout.lower()
    assert avreview(folder, "diff", "new.json", "old.yaml").returncode == 0


def test_the_schema_is_printed(folder: Path) -> None:
    ended = avreview(folder, "schema", "diff")
    assert json.loads(ended.stdout) == diff_schema()


def test_comparing_imports_no_torch_and_no_runtime(folder: Path) -> None:
    code = (
        "import sys; from avreview.api import diff; diff(sys.argv[1], sys.argv[2]); "
        "print([name for name in ('torch', 'onnxruntime', 'rich') if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code, CLEAN, FAULTY], capture_output=True, text=True)
    assert ended.stdout == "[]\n", ended.stderr
