"""What a report carries as evidence: when, in what, by which rules, and from which files it was made."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import yaml
from audited import CLEAN, EPOCH, avreview, digest, external, project
from in_process import in_process

from avreview import __version__
from avreview.api import review, review_planned
from avreview.clock import timestamp
from avreview.config.settings import Planned, Settings
from avreview.engine.cards import shipped
from avreview.engine.review import ReadFile, Report, RulePack
from avreview.environment import environment
from avreview.errors import UsageError
from avreview.probes.request import ProbeRequest, named_probes
from avreview.report import write
from avreview.report.schema import report_schema
from avreview.report.structure import to_dict

__all__ = ["in_process", "project"]


def named_files(report: Report) -> dict[str, str]:
    """Every file that a report names with a digest."""
    structure = to_dict(report)
    found = {entry["path"]: entry["sha256"] for entry in structure.get("configuration", ())}
    for reviewed in structure["reviews"]:
        for entry in reviewed["subject"].values():
            found |= {file["path"]: file["sha256"] for file in (entry, *entry.get("files", ())) if file.get("sha256")}
    return found


# The date and the environment


def test_the_date_is_utc_and_source_date_epoch_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    assert timestamp() == "2026-11-22T00:00:00Z"
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    assert review([CLEAN], select=["AV301"]).date == "2026-11-22T00:00:00Z"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "")
    assert timestamp() > "2026-"


@pytest.mark.parametrize("epoch", ["yesterday", "-1", "1e9", "٣", "9" * 40, " 5"])
def test_a_source_date_epoch_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, epoch: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        review([CLEAN], select=["AV301"])


def test_the_environment_is_what_importlib_metadata_says_without_importing_it() -> None:
    found = environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    installed = {entry.metadata["Name"].lower(): entry.version for entry in importlib.metadata.distributions()}
    assert found["packages"] == {name: installed.get(name) for name in ("numpy", "onnx", "onnxruntime", "torch")}
    code = "import avreview.environment, sys; avreview.environment.environment(); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"importlib.metadata", "email", "numpy", "onnx", "onnxruntime", "torch"} & set(modules)


def test_the_environment_names_what_is_not_installed_and_the_first_of_two(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for path in ("first/numpy-1.26.4.dist-info", "first/onnxruntime_gpu-1.30.0.dist-info", "second/numpy-9.dist-info",
                 "second/onnx-1.21.0-py3.11.egg-info", "second/torch-.dist-info"):  # fmt: skip
        (tmp_path / path).mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(first), str(tmp_path / "archive.zip"), str(second)])
    versions = {"numpy": "1.26.4", "onnx": "1.21.0", "onnxruntime": None, "torch": None, "onnxruntime-gpu": "1.30.0"}
    assert environment()["packages"] == versions


def test_the_report_carries_it_all_and_is_valid_by_the_schema(tmp_path: Path) -> None:
    structure = to_dict(review([CLEAN], select=["AV301"], modality="camera", memory=1 << 29))
    jsonschema.validate(structure, report_schema(), cls=jsonschema.Draft202012Validator)
    assert structure["environment"] == environment()
    pack = {"name": "avreview", "version": __version__, "cards": len(shipped().cards), "digest": shipped().digest}
    assert structure["tool"]["packs"] == [pack]
    assert structure["reviews"][0]["stated"] == {"modality": "camera"}
    assert structure["settings"]["memory"] == str(1 << 29)
    for key, value in (("date", "yesterday"), ("environment", {}), ("configuration", [{"path": "x"}])):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**structure, key: value}, report_schema(), cls=jsonschema.Draft202012Validator)


# The files


@pytest.fixture
def opened_files(tmp_path: Path) -> Iterator[Callable[[], set[str]]]:
    """The files in the temporary folder that this process opened for reading, as Python's audit events tell."""
    _OPENED.clear()
    _WATCHED.append(str(tmp_path))
    yield lambda: {path for path in _OPENED if os.path.isfile(path)}
    _WATCHED.clear()


_WATCHED: list[str] = []
_OPENED: set[str] = set()


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _WATCHED and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
        path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike):
            _OPENED.add(os.path.basename(os.fsdecode(path)))


sys.addaudithook(_note)


def safetensors(path: Path, **tensors: Any) -> None:
    header, blobs, offset = {}, [], 0
    for name, array in tensors.items():
        raw = np.asarray(array, np.float32).tobytes()
        header[name] = {
            "dtype": "F32", "shape": list(np.shape(array)), "data_offsets": [offset, offset + len(raw)]
        }  # fmt: skip
        offset += len(raw)
        blobs.append(raw)
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(blobs))


def sharded(folder: Path) -> Path:
    safetensors(folder / "a.safetensors", **{"a.weight": np.eye(3)})
    safetensors(folder / "b.safetensors", **{"b.weight": np.ones((3, 3))})
    places = {"a.weight": "a.safetensors", "b.weight": "b.safetensors"}
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": places}))
    return path


def huggingface(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    sharded(folder)
    (folder / "config.json").write_text('{"transformers_version": "4.8.2"}')
    (folder / "tokenizer.json").write_text("not read")
    state = {0: {"exp_avg": torch.zeros(3, 3)}, 1: {"exp_avg": torch.zeros(3, 3)}}
    torch.save({"state": state, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]}, folder / "optimizer.pt")
    torch.save({"lr": 1}, folder / "training_args.bin")
    (folder / "trainer_state.json").write_text('{"global_step": 4}')
    return folder


def dcp(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    import torch.distributed.checkpoint as distributed

    distributed.save({"model": {"a.weight": torch.eye(3)}}, checkpoint_id=str(folder / "saved"), no_dist=True)
    return folder / "saved"


def checkpoint(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    torch.save({"model": {"a.weight": torch.eye(3)}}, folder / "epoch.pt")
    return folder / "epoch.pt"


def program(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    torch.jit.script(torch.nn.Sequential(torch.nn.Linear(3, 3))).save(str(folder / "scripted.pt"))
    return folder / "scripted.pt"


def exported(folder: Path) -> Path:
    torch = pytest.importorskip("torch")
    made = torch.export.export(torch.nn.Sequential(torch.nn.Linear(3, 3)), (torch.zeros(2, 3),))
    torch.export.save(made, str(folder / "program.pt2"))
    return folder / "program.pt2"


@pytest.mark.parametrize(
    "build", [external, sharded, huggingface, dcp, checkpoint, program, exported], ids=lambda build: build.__name__
)
def test_every_file_that_was_read_is_named_with_its_digest(
    build: Callable[[Path], Path], tmp_path: Path, opened_files: Callable[[], set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = build(tmp_path)
    monkeypatch.chdir(path if path.is_dir() else path.parent)
    _OPENED.clear()
    report = review([path])
    assert not report.unreadable
    named = named_files(report)
    assert {os.path.basename(file) for file in named} == opened_files()
    assert named == {file: digest(Path(file)) for file in named}
    sizes = [file for entry in report.reviews[0].subject.values() for file in entry.get("files", ())]
    assert all(file["bytes"] == Path(file["path"]).stat().st_size for file in sizes)


@pytest.mark.usefixtures("in_process")
def test_what_stands_beside_the_model_is_named_as_well(tmp_path: Path) -> None:
    for name in ("inputs", "reference"):
        (tmp_path / name).mkdir()
    np.save(tmp_path / "inputs" / "image.npy", np.zeros((1, 3, 40, 80), np.float32))
    reference = external(tmp_path / "reference")
    probes = ProbeRequest(named_probes(["parity"]), inputs=str(tmp_path / "inputs"), reference=str(reference))
    report = review([CLEAN], select=["AV402"], probes=probes)
    assert not report.unreadable
    beside = [tmp_path / "inputs/image.npy", reference, reference.parent / "weights.data"]
    assert named_files(report) == {str(path): digest(path) for path in (CLEAN, *beside)}


@pytest.mark.usefixtures("in_process")
def test_a_reference_that_cannot_be_read_has_its_own_digest(tmp_path: Path) -> None:
    reference = tmp_path / "reference.onnx"
    reference.write_bytes(b"no model")
    probes = ProbeRequest(named_probes(["parity"]), reference=str(reference))
    report = review([CLEAN], select=["AV402"], probes=probes)
    assert named_files(report) == {str(path): digest(path) for path in (CLEAN, reference)}


def test_every_file_of_the_configuration_is_named_as_a_person_there_would(project: Path) -> None:
    ended = avreview(project, "check", "-f", "json")
    assert (ended.returncode, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    jsonschema.validate(report, report_schema(), cls=jsonschema.Draft202012Validator)
    assert report["configuration"] == [
        {"kind": kind, "path": path, "sha256": digest(project / path)}
        for kind, path in (
            ("settings", "avreview.yaml"), ("settings", "base.yaml"), ("waivers", "accepted.yaml"),
            ("baseline", "known.yaml"), ("rule", str(next((project / "our rules").rglob("AV*")).relative_to(project))),
        )
    ]  # fmt: skip
    assert report["reviews"][0]["subject"]["model"]["path"] == "lane.onnx"
    assert [pack["name"] for pack in report["tool"]["packs"]] == ["avreview", "our rules"]
    assert report["tool"]["rules"] == shipped().digest  # how lines end makes no other rule


def test_the_digest_is_of_the_bytes_that_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "known.yaml"
    path.write_text(yaml.safe_dump({"schema": "avreview/baseline/1", "findings": []}))
    before = digest(path)
    import avreview.config.baseline as module

    read = module.read_baseline

    def read_and_change(given: str) -> frozenset[tuple[str, str]]:
        found = read(given)
        path.write_text("changed meanwhile\n")
        return found

    monkeypatch.setattr(module, "read_baseline", read_and_change)
    report = review_planned([Planned(str(CLEAN))], Settings(select=("AV301",), baseline="known.yaml"))
    assert [file.sha256 for file in report.configuration] == [before]


# The same inputs give the same bytes

FILES = ["report.yaml", "report.json", "report.sarif", "report.xml", "report.gitlab.json", "report.md", "report.html"]


def written(project: Path, *options: str, **surroundings: str) -> dict[str, bytes]:
    outputs = [word for name in (*FILES, "-") for word in ("--output", name)]
    words = ["check", *options, "--format", "github", *outputs, "--attest", "statement.json"]
    ended = avreview(project, *words, **surroundings)
    assert ended.returncode == 0, ended.stderr
    found = {name: (project / name).read_bytes() for name in (*FILES, "statement.json")}
    return {**found, "standard output": ended.stdout.encode()}


def test_the_same_inputs_give_the_same_bytes(project: Path) -> None:
    first = written(project, PYTHONHASHSEED="1")
    again = written(project, PYTHONHASHSEED="2", TZ="Asia/Kathmandu", LC_ALL="C")
    assert [name for name in first if first[name] != again[name]] == []
    later = written(project, PYTHONHASHSEED="3", SOURCE_DATE_EPOCH="1795400000")
    assert first["report.json"] != later["report.json"]
    reports = [json.loads(each["report.json"]) for each in (first, later)]
    assert reports[0].pop("date") < reports[1].pop("date")
    assert reports[0] == reports[1]
    for name in (*FILES, "standard output"):
        assert later[name].replace(b"2026-11-23T02:13:20Z", b"2026-11-22T00:00:00Z") == first[name], name


def test_a_model_that_is_not_random_gives_the_same_bytes_when_it_is_run(project: Path) -> None:
    (project / "lane.onnx").write_bytes(CLEAN.read_bytes())
    first, again = (written(project, "--probe=repeat,batch,signal,levels", PYTHONHASHSEED=seed) for seed in "12")
    assert [name for name in first if first[name] != again[name]] == []
    assert b"variance" in first["report.json"]


# For people


def shown(report: Report, format: str, **options: Any) -> str:
    stream = io.StringIO()
    write(report, format, stream, **options)
    return " ".join(stream.getvalue().split())


def test_a_person_finds_it_in_html_and_in_the_verbose_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    monkeypatch.chdir(tmp_path)
    path = external(tmp_path)
    Path("known.yaml").write_text(yaml.safe_dump({"schema": "avreview/baseline/1", "findings": []}))
    report = review_planned([Planned(path.name)], Settings(select=("AV301",), baseline="known.yaml"))
    packages = ", ".join(f"{name} {version or 'not installed'}" for name, version in environment()["packages"].items())
    told = ["2026-11-22T00:00:00Z", environment()["platform"], packages, digest(Path("known.yaml")), "known.yaml"]
    page, text = shown(report, "html"), shown(report, "terminal", verbose=True, width=400)
    assert [words for words in [*told, digest(tmp_path / "weights.data")] if words not in page] == []
    assert [words for words in told if words not in text] == []
    assert not any(words in shown(report, "terminal", width=400) for words in told)


@pytest.mark.parametrize("text", ["\x1b]8;;x\x07", "##[x", "<script>alert(1)</script>", "\u202e", "::error::"])
def test_what_an_environment_may_bring_in_is_safe(text: str) -> None:
    surroundings = {"python": text, "implementation": text, "platform": text, "packages": {text: text}}
    made = Report("0.1.0", "sha256:0", [], date=text, environment=surroundings,
                  packs=[RulePack(text, text, 1, text)], configuration=[ReadFile("rule", text, text)])  # fmt: skip
    for format in ("yaml", "json", "html", "terminal"):
        stream = io.StringIO()
        write(made, format, stream, **({"verbose": True} if format == "terminal" else {}))
        written_ = stream.getvalue()
        assert not {"\x1b", "\x07", "\u202e"} & set(written_)
        assert "<script>alert" not in written_ or format != "html"
        assert "##[" not in written_
