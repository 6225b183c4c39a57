"""`avreview verify`: what is the same, what is not, and reports and files that nobody should trust."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from audited import CLEAN, avreview, digest, external, project

from avreview.audit.stated import read_report
from avreview.audit.verify import Status, Verification, verify
from avreview.errors import AvreviewError

__all__ = ["project"]


@pytest.fixture
def reported(project: Path) -> Path:
    """The project, reviewed, with its report in both forms."""
    assert avreview(project, "check", "-o", "report.yaml", "-o", "report.json").returncode == 0
    return project


def outcome(folder: Path, *words: str | Path, report: str = "report.json") -> tuple[int, dict[str, str]]:
    """The exit code, and each file's status by its path."""
    ended = avreview(folder, "verify", report, "--format", "json", *words)
    assert ended.stderr == ""
    return ended.returncode, {entry["path"]: entry["status"] for entry in json.loads(ended.stdout)["files"]}


def stating(path: Path, *files: dict[str, Any], **more: Any) -> Path:
    """A report that names these files as the external data of its model."""
    subject = {"model": {"path": "model.onnx", "sha256": None, "files": list(files)}}
    tool = {"name": "avreview", "version": "0.1.0", "rules": "sha256:0"}
    path.write_text(
        json.dumps({"schema": "avreview/report/1", "tool": tool, "reviews": [{"subject": subject}], **more})
    )
    return path


def verified(path: Path, root: Path | None = None) -> Verification:
    return verify(read_report(path), None if root is None else str(root))


def entry(path: object, content: bytes = b"x") -> dict[str, Any]:
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest()}


# What it tells


@pytest.mark.parametrize("report", ["report.yaml", "report.json"])
def test_nothing_has_changed(reported: Path, report: str) -> None:
    code, files = outcome(reported, report=report)
    assert code == 0
    own = next((reported / "our rules").rglob("AV*")).relative_to(reported)
    named = ["lane.onnx", "avreview.yaml", "base.yaml", "accepted.yaml", "known.yaml", str(own)]
    assert files == dict.fromkeys(named, "same")
    ended = avreview(reported, "verify", report)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[-1] == "The report still describes all of its 6 files."


def change(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def grow(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def turn_into_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", ["lane.onnx", "avreview.yaml", "base.yaml", "accepted.yaml", "known.yaml"])
@pytest.mark.parametrize(
    ("harm", "status"),
    [(change, "changed"), (grow, "changed"), (turn_into_a_folder, "changed"), (Path.unlink, "missing")],
)
def test_each_changed_or_missing_file_is_told(
    reported: Path, name: str, harm: Callable[[Path], None], status: str
) -> None:
    report = reported / "report.json"
    harm(reported / name)
    found = verify(read_report(report), str(reported))
    assert found.verdict is Status.CHANGED
    told = {file.path: file.status.value for file in found.files}
    assert {path: state for path, state in told.items() if state != "same"} == {name: status}


def test_the_exit_code_and_the_words_say_that_a_report_is_out_of_date(reported: Path) -> None:
    change(reported / "lane.onnx")
    (reported / "accepted.yaml").unlink()
    ended = avreview(reported, "verify", "report.yaml")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert "The report no longer describes its files: 1 changed, 1 missing, 4 the same." in ended.stdout
    assert f"lane.onnx: {digest(reported / 'lane.onnx')[:12]} instead of " in ended.stdout
    assert outcome(reported)[0] == 1


def test_a_changed_rule_card_changes_the_rules_as_well(reported: Path) -> None:
    own = next((reported / "our rules").rglob("AV*"))
    own.write_text(own.read_text().replace("severity: error", "severity: note"))
    found = verified(reported / "report.json", reported)
    assert (found.verdict, found.rules.status, found.tool.status) == (Status.CHANGED, Status.CHANGED, Status.SAME)


def test_another_version_or_other_rules_count_when_asked(reported: Path) -> None:
    report = json.loads((reported / "report.json").read_text())
    for key, value, words in (
        ("version", "0.0.9", "Avreview is not what made it"),
        ("rules", "sha256:0", "Its rules are not what made it"),
    ):
        (reported / "other.json").write_text(json.dumps({**report, "tool": {**report["tool"], key: value}}))
        ended = avreview(reported, "verify", "other.json")
        assert ended.returncode == 0
        assert words in ended.stdout
        assert avreview(reported, "verify", "other.json", "--strict").returncode == 1
    assert avreview(reported, "verify", "report.json", "--strict").returncode == 0


def test_a_rule_pack_that_is_not_there_any_more_is_told(reported: Path) -> None:
    report = json.loads((reported / "report.json").read_text())
    report["tool"]["packs"].append({"name": "team-rules", "version": "1.0", "cards": 3, "digest": "sha256:1"})
    (reported / "other.json").write_text(json.dumps(report))
    found = verified(reported / "other.json", reported)
    assert found.rules.status is Status.CHANGED
    assert "team-rules" in found.rules.why


def test_external_data_is_verified_too(tmp_path: Path) -> None:
    external(tmp_path)
    avreview(tmp_path, "check", "model.onnx", "--isolated", "-o", "report.json")
    assert outcome(tmp_path) == (0, {"model.onnx": "same", "weights.data": "same"})
    change(tmp_path / "weights.data")
    assert outcome(tmp_path) == (1, {"model.onnx": "same", "weights.data": "changed"})


def test_what_a_review_of_a_folder_would_read_now_is_told(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save({"a.weight": torch.eye(3)}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text("{}")
    avreview(tmp_path, "check", "model", "--isolated", "-o", "report.json")
    assert outcome(tmp_path)[0] == 0
    (folder / "README.md").write_text("is never read")
    assert outcome(tmp_path)[0] == 0
    torch.save({"state": {}, "param_groups": []}, folder / "optimizer.pt")
    assert outcome(tmp_path) == (
        1, {"model/pytorch_model.bin": "same", "model/config.json": "same", "model/optimizer.pt": "new"}
    )  # fmt: skip
    shutil.copy(folder / "pytorch_model.bin", folder / "model.safetensors")  # which is read in its place
    assert outcome(tmp_path)[1]["model/model.safetensors"] == "new"


def test_what_could_not_be_reviewed_cannot_be_verified(tmp_path: Path) -> None:
    (tmp_path / "empty.onnx").touch()
    assert avreview(tmp_path, "check", CLEAN, "empty.onnx", "--isolated", "-o", "report.json").returncode == 2
    assert outcome(tmp_path) == (2, {str(CLEAN): "same", "empty.onnx": "unchecked"})


# Where paths begin, and where they may lead


def test_a_root_takes_the_place_of_the_working_folder(reported: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    away = tmp_path_factory.mktemp("away")
    shutil.copytree(reported, away / "evidence")
    assert outcome(away, report="evidence/report.json")[0] == 1
    assert outcome(away, "--root", "evidence", report="evidence/report.json")[0] == 0
    ended = avreview(away, "verify", "evidence/report.json", "--root", "nowhere")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "avreview: nowhere: is no folder; --root names the one that the report's paths begin at\n"


def test_nothing_outside_the_root_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (outside / "secret").write_bytes(b"x")
    (root / "inside").write_bytes(b"x")
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "within").symlink_to("inside")
    files: list[object] = [
        outside / "secret",
        "../outside/secret",
        "link",
        "folder/secret",
        root / "inside",
        "within",
        "./inside",
    ]
    report = stating(tmp_path / "report.json", *map(entry, files))
    found = verified(report, root)
    statuses = [file.status for file in found.files]
    assert statuses == [Status.UNCHECKED] * 4 + [Status.SAME] * 3
    assert all(str(root) in file.why and file.found is None for file in found.files[:4])
    assert found.verdict is Status.UNCHECKED
    monkeypatch.chdir(root)
    assert {file.status for file in verified(report).files} == {Status.SAME}


def test_paths_of_bytes_that_are_no_text_are_found(tmp_path: Path) -> None:
    name = os.fsdecode(b"m\xff.onnx")
    try:
        (tmp_path / name).write_bytes(CLEAN.read_bytes())
    except OSError:
        pytest.skip("this file system takes only text")
    avreview(tmp_path, "check", name, "--isolated", "-o", "report.json", "-o", "report.yaml")
    assert outcome(tmp_path) == (0, {"m\\udcff.onnx": "same"})
    change(tmp_path / name)
    assert outcome(tmp_path, report="report.yaml") == (1, {"m\\udcff.onnx": "changed"})


@pytest.mark.parametrize("name", ["1e5", "null", "~", "12", "0x1f", "- a", "a: b", "é", "'", " x", "yes"])
def test_a_file_keeps_its_name_in_yaml(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(CLEAN.read_bytes())
    avreview(tmp_path, "check", tmp_path / name, "--isolated", "--select", "AV301", "-o", "report.yaml")
    assert [file.path for file in read_report(tmp_path / "report.yaml").files] == [str(tmp_path / name)]
    avreview(tmp_path, "check", "--isolated", "--select", "AV301", "-o", "report.yaml", "--", name)
    assert [file.path for file in read_report(tmp_path / "report.yaml").files] == [name]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes and devices of Unix")
def test_a_pipe_a_device_and_a_folder_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    files: list[object] = [tmp_path / "pipe", "/dev/zero", "/dev/stdin", tmp_path, tmp_path / "loop"]
    began = time.monotonic()
    found = verified(stating(tmp_path / "report.json", *map(entry, files)))
    assert time.monotonic() - began < 5
    assert [file.status for file in found.files[:4]] == [Status.CHANGED] * 4
    assert found.files[4].status is Status.UNCHECKED


def test_a_file_of_another_size_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(1 << 42)
    report = stating(tmp_path / "report.json", {**entry(tmp_path / "huge"), "bytes": 10})
    began = time.monotonic()
    assert verified(report).files[0].status is Status.CHANGED
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("path", ["a\0b", "x" * 5000, "no/such\nfolder/file"])
def test_a_path_that_can_be_none_is_told_and_does_no_harm(tmp_path: Path, path: str) -> None:
    (file,) = verified(stating(tmp_path / "report.json", entry(path))).files
    assert file.status in (Status.UNCHECKED, Status.MISSING)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x")
    (tmp_path / "secret").chmod(0)
    (file,) = verified(stating(tmp_path / "report.json", entry(tmp_path / "secret"))).files
    assert file.status is Status.UNCHECKED


# Reports that are none


def refused(folder: Path, text: str | bytes, name: str = "report.yaml") -> str:
    """The one line that refuses a report."""
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(AvreviewError) as error:
        verify(read_report(folder / name))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(folder / name))
    return str(error.value).removeprefix(str(folder / name))


HEAD = "schema: avreview/report/1\ntool: {name: avreview, version: 0.1.0, rules: 'sha256:0'}\n"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "is no report"),
        ("[]", "is no report"),
        ("hello", "is no report"),
        ("{", ":1:2: is no JSON"),
        ('{"schema": NaN}', "NaN is no number"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ("{" * 100_000, "no JSON"),
        ('{"a":' * 100_000, "nested too deep"),
        ('{"schema": 1' + "0" * 5000 + "}", "no JSON"),
        (b"\xff\xfe", ":1:1: is not UTF-8"),
        ("schema: avreview/report/2\ntool: {version: a, rules: b}\nreviews: []\n", ":1:1: schema: has to be"),
        (HEAD, "lacks 'reviews'"),
        (HEAD + "reviews: []\n", "names no file with a digest"),
        (HEAD + "reviews: {}\n", ":3:1: reviews: has to be a list"),
        (HEAD + "reviews:\n- {verdict: pass}\n", ":4:3: lacks 'subject'"),
        (HEAD + "reviews:\n- subject: {model: {path: a, sha256: abc}}\n", "'abc' is not a sha256 digest"),
        (HEAD + "reviews:\n- subject: {model: {path: '', sha256: null}}\n", "path: is empty"),
        (HEAD + "reviews:\n- subject: {model: {path: 5, sha256: null}}\n", "path: has to be text"),
        (HEAD + "reviews:\n- subject: {model: {path: a, bytes: -1}}\n", "bytes: -1 is too small"),
        (HEAD + "reviews:\n- subject: !!python/name:os.system {}\n", ":4:12: has the tag"),
        (HEAD + "reviews:\n- findings: !!python/name:os.system {}\n", ":4:13: has the tag"),
        (HEAD + "reviews:\n- findings: [&a [b], *a]\n", ":4:14: sets an anchor"),
        (HEAD + "reviews:\n- findings: *a\n", ":4:13: uses an alias"),
        (HEAD + "reviews:\n- findings: " + "[" * 60 + "]" * 60 + "\n", "nested more than 50 deep"),
        (HEAD + "reviews: []\nreviews: []\n", ":4:1: the key 'reviews' stands here a second time"),
        (HEAD + "reviews: []\n---\nreviews: []\n", "begins a second document"),
        (HEAD + "reviews: [\n", "is no YAML"),
    ],
)
def test_a_report_that_is_none_is_refused_in_one_line(tmp_path: Path, text: str | bytes, wrong: str) -> None:
    assert wrong in refused(tmp_path, text)


def test_a_report_is_a_regular_file_of_bounded_size(tmp_path: Path) -> None:
    with open(tmp_path / "huge.json", "wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe.json")
    for name, wrong in (("huge.json", "larger than 128 MB"), ("pipe.json", "not a regular file"), ("none", "no such"),
                        (".", "is a folder")):  # fmt: skip
        ended = avreview(tmp_path, "verify", name)
        assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
        assert wrong in ended.stderr


def test_a_large_yaml_is_refused_in_favour_of_json(tmp_path: Path) -> None:
    with open(tmp_path / "report.yaml", "wb") as file:
        file.write(b"schema: avreview/report/1\n#")
        file.truncate(49 << 20)
    with pytest.raises(AvreviewError, match="in its JSON form"):
        read_report(tmp_path / "report.yaml")


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_a_report_of_megabytes_is_read_in_seconds(tmp_path: Path, form: str) -> None:
    rows = [
        {"module": f"layer.{place}", "weight": f"layer.{place}.weight", "elements": place} for place in range(20_000)
    ]
    review = {"subject": {"model": entry("model.onnx")}, "checklist": [{"item": 3, "table": rows}]}
    tool = {"name": "avreview", "version": "0.1.0", "rules": "sha256:0"}
    report = {"schema": "avreview/report/1", "tool": tool, "reviews": [review]}
    path = tmp_path / f"report.{form}"
    if form == "json":
        path.write_text(json.dumps(report))
    else:
        path.write_text(yaml.dump(report, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False))
    assert path.stat().st_size > 1_000_000
    began = time.monotonic()
    assert [file.path for file in read_report(path).files] == ["model.onnx"]
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("text", ["\x1b]8;;x\x07", "##[group]", "\n::error::x", "\u202e", "::warning::"])
def test_a_hostile_path_is_safe_in_what_is_written(tmp_path: Path, text: str) -> None:
    stating(tmp_path / "report.json", entry(text), date=text, unreadable=[{"path": text}], configuration=[
        {"kind": text, "path": text, "sha256": "0" * 64}])  # fmt: skip
    for form in ("terminal", "json"):
        ended = avreview(tmp_path, "verify", "report.json", "-f", form)
        assert ended.returncode == 2
        assert ended.stderr == ""
        assert ended.stdout.replace("\n", "").isprintable()
        assert "##" not in ended.stdout
        assert "\u202e" not in ended.stdout
        assert not any(line.lstrip().startswith("::") for line in ended.stdout.splitlines())


def test_a_stream_that_takes_only_ascii_gets_ascii(tmp_path: Path) -> None:
    stating(tmp_path / "report.json", entry("Größe/車.onnx"))
    ended: subprocess.CompletedProcess[str] = avreview(tmp_path, "verify", "report.json", PYTHONIOENCODING="ascii")
    assert ended.returncode == 1
    assert ended.stdout.isascii()
