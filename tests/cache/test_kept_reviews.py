"""Reviews that earlier runs kept: given again byte for byte, and never for something else."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avreview import api, desk
from avreview.cache import files as cache_files
from avreview.cache.files import manifest_of
from avreview.cache.reviews import KeptReviews, _code
from avreview.cache.store import Store, default_folder
from avreview.config.settings import Planned, Settings
from avreview.engine.cards import shipped
from avreview.engine.review import Report, Review, Severity
from avreview.errors import AvreviewError
from avreview.probes.request import ProbeRequest
from avreview.report import FORMATS, write

SAMPLES = Path(__file__).parents[2] / "sample_models"
CLEAN = SAMPLES / "lane_head.onnx"
FAULTY = SAMPLES / "lane_head__dropout_active.onnx"


def in_every_format(review: Review) -> dict[str, str]:
    texts = {}
    for format in FORMATS:
        stream = io.StringIO()
        write(Report("0.1.0", "sha256:0", [review]), format, stream, verbose=True)
        texts[format] = stream.getvalue()
    return texts


# The store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_an_entry_comes_back_whole(folder: Path) -> None:
    store = Store(folder)
    assert store.get("a") is None
    store.put("a", b"one\ntwo")
    assert Store(folder).get("a") == b"one\ntwo"
    store.put("a", b"")
    assert store.get("a") == b""
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", [b"", b"x", b"avreview kept review 1 0\nbody"])
def test_a_damaged_entry_is_none_and_goes(folder: Path, damage: bytes) -> None:
    store = Store(folder)
    store.put("a", b"body")
    (entry,) = folder.iterdir()
    for content in (
        damage,
        entry.read_bytes()[:-1],
        entry.read_bytes() + b"x",
        entry.read_bytes().replace(b"body", b"bodx"),
    ):
        entry.write_bytes(content)
        assert store.get("a") is None
        assert not entry.exists()
        store.put("a", b"body")


def test_links_pipes_and_folders_are_no_entries(folder: Path, tmp_path: Path) -> None:
    store = Store(folder)
    store.put("a", b"body")
    (folder / "a.review").rename(tmp_path / "elsewhere")
    (folder / "b.review").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "c.review")
    (folder / "d.review").mkdir()
    assert [store.get(name) for name in "bcd"] == [None] * 3


def test_the_least_recently_used_entries_go_first(folder: Path) -> None:
    store = Store(folder, most=1000)
    for number, name in enumerate("abc"):
        store.put(name, bytes(200))
        os.utime(folder / f"{name}.review", (number, number))
    assert store.get("a")  # used just now
    store.put("d", bytes(500))
    assert [name for name in "abcd" if store.get(name)] == ["a", "d"]
    store.put("e", bytes(1001))
    assert store.get("e") is None


def test_what_killed_processes_left_goes_in_time(folder: Path) -> None:
    store = Store(folder)
    old, young, strange = (folder / name for name in ("1.unfinished", "2.unfinished", "notes.txt"))
    for path in (old, young, strange):
        path.touch()
    os.utime(old, (0, 0))
    os.utime(strange, (0, 0))
    store.put("a", b"body")
    assert [path.exists() for path in (old, young, strange)] == [False, True, True]


def test_a_folder_that_others_can_write_to_is_not_believed(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(AvreviewError, match="written by others"):
        Store(folder)
    file = folder / "file"
    file.touch()
    with pytest.raises(AvreviewError, match="cannot be used"):
        Store(file / "below")


def test_the_folder_is_the_user_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AVREVIEW_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == tmp_path / "home" / ".cache" / "avreview"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "avreview"
    monkeypatch.setenv("AVREVIEW_CACHE_DIR", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"


def hammer(folder: str, seed: int) -> int:
    """Puts and gets under shared names; the number of entries that were not as somebody wrote them."""
    store = Store(Path(folder), most=20_000)
    wrong = 0
    for number in range(60):
        name = f"n{(number * 7 + seed) % 5}"
        store.put(name, name.encode() * (200 + seed))
        found = store.get(name)
        wrong += found is not None and set(found.split(name.encode())) != {b""}
    return wrong


def test_runs_at_the_same_time_never_see_half_an_entry(folder: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        assert pool.starmap(hammer, [(str(folder), seed) for seed in range(3)]) == [0, 0, 0]
    assert not [path for path in folder.iterdir() if path.suffix == ".unfinished"]


# What is given again, and what not

Reviewed = Callable[..., Report]


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The models that were really reviewed."""
    done: list[str] = []
    plain = desk.review_artifact

    def count(model: Any, *rest: Any, **options: Any) -> Review:
        done.append(model.provenance.path)
        return plain(model, *rest, **options)

    monkeypatch.setattr(desk, "review_artifact", count)
    return done


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(CLEAN, tmp_path / "model.onnx"))


@pytest.fixture
def kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Reviewed:
    """Reviews with a store of its own: `kept(path, select=…)`, with fields of Planned and Settings."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795305600")  # 2026-11-22
    monkeypatch.setattr("avreview.cache.reviews._code", lambda rules: "a version")

    def run(path: Path, *, probes: ProbeRequest | None = None, memory: int | None = None, **options: Any) -> Report:
        plan = {name: options.pop(name) for name in list(options) if name in Planned._fields}
        said: dict[str, Any] = {name: None if value is None else str(value) for name, value in plan.items()}
        planned = [Planned(str(path), **said)]
        store = KeptReviews(Store(folder))
        return api.review_planned(planned, Settings(**options), memory=memory, probes=probes, kept=store)

    return run


def test_an_unchanged_model_is_reviewed_once(kept: Reviewed, counted: list[str], model: Path) -> None:
    first, second = kept(model), kept(model)
    assert counted == [str(model)]
    plain = api.review_planned([Planned(str(model))], Settings())
    for format in FORMATS:
        streams = [io.StringIO() for _ in range(3)]
        for report, stream in zip((first, second, plain), streams, strict=True):
            write(report, format, stream, verbose=True)
        assert len({stream.getvalue() for stream in streams}) == 1, format


def test_a_changed_byte_is_reviewed_whatever_the_file_s_times_say(
    kept: Reviewed, counted: list[str], model: Path
) -> None:
    kept(model)
    before = model.stat()
    content = bytearray(model.read_bytes())
    content[len(content) // 2] ^= 1
    model.write_bytes(content)
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert model.stat().st_mtime_ns == before.st_mtime_ns
    kept(model)
    assert len(counted) == 2
    kept(model)
    assert len(counted) == 2


def test_touching_a_file_changes_nothing(kept: Reviewed, counted: list[str], model: Path) -> None:
    kept(model)
    model.write_bytes(model.read_bytes())
    os.utime(model, (1, 1))
    kept(model)
    assert len(counted) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"select": ("AV409",)},
        {"ignore": ("AV409",)},
        {"fail_on": Severity.NOTE},
        {"modality": "lidar"},
        {"name": "lanes"},
        {"role": "lane head"},
        {"memory": 1 << 29},
        {"severities": {"AV409": Severity.ERROR}},
        {"thresholds": {"AV106": {"max_dead_share": 0.9}}},
        {"packs": False, "checkpoint": FAULTY},
    ],
    ids=str,
)
def test_all_that_decides_is_in_the_key(
    kept: Reviewed, counted: list[str], model: Path, options: dict[str, Any]
) -> None:
    kept(model)
    changed = kept(model, **options)
    assert len(counted) == 2
    assert in_every_format(kept(model, **options).reviews[0]) == in_every_format(changed.reviews[0])
    kept(model)
    assert len(counted) == 2


def test_waivers_count_with_the_day_and_a_baseline_by_what_it_holds(
    kept: Reviewed, counted: list[str], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text(
        "waivers:\n- {rule: AV409, module: '*', reason: by hand, owner: us, expires: 2026-11-22}\n", "utf-8"
    )
    options = {"waivers": (str(waivers),), "fail_on": Severity.NOTE}
    assert [kept(model, **options).reviews[0].verdict.value for _ in range(2)] == ["attention", "attention"]
    assert len(counted) == 1
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1795305600 + 86400))
    expired = kept(model, **options)
    assert (expired.reviews[0].verdict.value, expired.waivers[0].status) == ("fail", "expired")
    kept(model)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(1795305600 + 2 * 86400))
    kept(model)  # without waivers the day does not matter
    assert len(counted) == 3


def test_a_rule_card_of_one_s_own_is_in_the_key(
    kept: Reviewed, counted: list[str], model: Path, tmp_path: Path
) -> None:
    source = next((SAMPLES.parent / "rules").glob("4-*/AV409-*.yaml"))
    own = tmp_path / "rules" / source.parent.name / source.name
    own.parent.mkdir(parents=True)
    for severity in ("warning", "error"):
        own.write_text(source.read_text("utf-8").replace("severity: note", f"severity: {severity}"), "utf-8")
        report = kept(model, rule_folders=(str(tmp_path / "rules"),))
        assert severity in {str(finding.severity) for finding in report.reviews[0].findings}
    assert len(counted) == 2


def test_what_is_installed_and_the_code_itself_are_in_the_key(
    kept: Reviewed, counted: list[str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept(model)
    monkeypatch.setattr("avreview.cache.reviews.distributions", lambda: {"numpy-0.1": "here"})
    kept(model)
    monkeypatch.setattr("avreview.cache.reviews._code", lambda rules: "changed")
    kept(model)
    assert len(counted) == 3


def test_every_file_of_the_code_is_in_its_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "avreview"
    for path in ("cache/reviews.py", "checks/one.py", "report/style.css", "checks/__pycache__/one.pyc"):
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text("1")
    monkeypatch.setattr("avreview.cache.reviews.__file__", str(package / "cache" / "reviews.py"))
    before = _code(shipped())
    for path, counts in (("checks/one.py", True), ("report/style.css", True), ("checks/__pycache__/one.pyc", False)):
        (package / path).write_text("2")
        assert (_code(shipped()) != before) is counts
        before = _code(shipped())
    (package / "checks" / "one.py").rename(package / "checks" / "two.py")
    assert _code(shipped()) != before


def test_external_data_is_compared(kept: Reviewed, counted: list[str], tmp_path: Path) -> None:
    import onnx

    proto = onnx.load(CLEAN)
    path = tmp_path / "model.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    kept(path)
    kept(path)
    assert len(counted) == 1
    weights = tmp_path / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[100] ^= 1
    weights.write_bytes(content)
    kept(path)
    assert len(counted) == 2
    (tmp_path / "moved.bin").write_bytes(content)
    weights.unlink()
    weights.symlink_to(tmp_path / "moved.bin")  # the same bytes, and a link that a review refuses
    assert "link" in kept(path).unreadable[0][1]


def test_a_folder_is_compared_with_the_names_in_it(kept: Reviewed, counted: list[str], tmp_path: Path) -> None:
    import struct

    folder = tmp_path / "hub"
    folder.mkdir()
    header = json.dumps({"head.weight": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}}).encode()
    content = struct.pack("<Q", len(header)) + header + struct.pack("<8f", *range(8))
    (folder / "model.safetensors").write_bytes(content)
    (folder / "config.json").write_text("{}")
    for _ in range(2):
        kept(folder)
    assert len(counted) == 1
    (folder / "config.json").write_text('{"a": 1}')
    kept(folder)
    assert len(counted) == 2
    (folder / "trainer_state.json").write_text('{"epoch": 3}')
    kept(folder)
    assert len(counted) == 3


def test_what_was_not_reviewed_whole_is_not_kept(
    kept: Reviewed, counted: list[str], model: Path, tmp_path: Path, folder: Path
) -> None:
    assert kept(tmp_path / "nothing.onnx").unreadable
    assert kept(model, checkpoint=tmp_path / "nothing.pt").unreadable
    assert kept(model, checkpoint=tmp_path / "nothing.pt").unreadable
    assert len(counted) == 2
    assert list(folder.iterdir()) == []


def test_a_review_whose_checker_ran_out_of_time_is_not_kept(
    kept: Reviewed, counted: list[str], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avreview.sandbox import Ending, Outcome

    timed_out = Outcome(Ending.TIMED_OUT, message="did not finish within 5 s")
    monkeypatch.setattr("avreview.sandbox.Child.result", lambda child: timed_out)
    for _ in range(2):
        kept(model)
    assert len(counted) == 2


def test_runs_are_kept_by_seed_and_inputs(kept: Reviewed, counted: list[str], model: Path, tmp_path: Path) -> None:
    request = ProbeRequest(frozenset({"repeat"}), seconds=60)
    inputs = tmp_path / "inputs.npz"
    shape = [1, *(4 if dim is None else dim for dim in _dims(model)[1:])]
    np.savez(inputs, **{_input(model): np.zeros(shape, np.float32)})  # type: ignore[arg-type]
    for asked in (request, request._replace(seed=1), request._replace(inputs=str(inputs))):
        before = len(counted)
        first, second = kept(model, probes=asked), kept(model, probes=asked)
        assert len(counted) == before + 1
        assert in_every_format(first.reviews[0]) == in_every_format(second.reviews[0])
    np.savez(inputs, **{_input(model): np.ones(shape, np.float32)})  # type: ignore[arg-type]
    kept(model, probes=request._replace(inputs=str(inputs)))
    assert len(counted) == 4
    kept(model)
    assert len(counted) == 5


def test_runs_of_one_s_own_code_and_runs_cut_short_are_not_kept(
    kept: Reviewed, counted: list[str], model: Path, folder: Path
) -> None:
    kept(model, probes=ProbeRequest(frozenset({"parity"}), seconds=60, reference="no_such_module:factory"))
    kept(model, probes=ProbeRequest(frozenset({"repeat"}), seconds=0.01))
    assert len(counted) == 2
    assert list(folder.iterdir()) == []


def _input(path: Path) -> str:
    import onnx

    return str(onnx.load(path).graph.input[0].name)


def _dims(path: Path) -> list[int | None]:
    import onnx

    shape = onnx.load(path).graph.input[0].type.tensor_type.shape
    return [dim.dim_value or None for dim in shape.dim]


def test_an_entry_of_another_plan_is_not_taken(kept: Reviewed, counted: list[str], model: Path, folder: Path) -> None:
    kept(model)
    (entry,) = folder.iterdir()
    content = entry.read_bytes()
    other = Path(shutil.copy(FAULTY, model.with_name("other.onnx")))
    kept(other)
    (theirs,) = set(folder.iterdir()) - {entry}
    theirs.write_bytes(content)  # whole and with its checksum, under another name
    (review,) = kept(other).reviews
    assert review.subject["model"]["path"] == str(other)
    assert len(counted) == 3


@pytest.mark.parametrize("body", ["[]", "{}", "null", "nonsense", '{"name": 1}', "[" * 100_000])
def test_an_entry_with_a_checksum_and_nonsense_is_none(
    kept: Reviewed, counted: list[str], model: Path, folder: Path, body: str
) -> None:
    kept(model)
    (entry,) = folder.iterdir()
    Store(folder).put(entry.stem, body.encode())
    kept(model)
    assert len(counted) == 2


@pytest.mark.parametrize("field", ["files", "folders", "review"])
@pytest.mark.parametrize("wrong", [None, 3, "x", [1], [[1, 2, 3, 4, 5]], {"a": 3}])
def test_an_entry_of_another_shape_is_none(
    kept: Reviewed, counted: list[str], model: Path, folder: Path, field: str, wrong: Any
) -> None:
    kept(model)
    (entry,) = folder.iterdir()
    data = json.loads(Store(folder).get(entry.stem) or b"")
    Store(folder).put(entry.stem, json.dumps({**data, field: wrong}).encode())
    kept(model)
    assert len(counted) == 2


def test_an_entry_without_files_is_none(kept: Reviewed, counted: list[str], model: Path, folder: Path) -> None:
    kept(model)
    (entry,) = folder.iterdir()
    data = json.loads(Store(folder).get(entry.stem) or b"")
    Store(folder).put(entry.stem, json.dumps({**data, "files": []}).encode())
    kept(model)
    assert len(counted) == 2


def test_a_cache_that_cannot_be_written_is_said_and_does_not_matter(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = KeptReviews(Store(folder))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Store, "put", full)
    report = api.review_planned([Planned(str(model))], Settings(), kept=store)
    assert report.reviews
    assert "No space left on device" in store.trouble


def test_a_large_file_is_told_apart_by_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_files, "_HEAD", 10)
    monkeypatch.setattr(cache_files, "_CHUNK", 16)
    path = tmp_path / "large"
    path.write_bytes(bytes(100))
    import hashlib

    subject = {"model": {"path": str(path), "sha256": hashlib.sha256(bytes(100)).hexdigest()}}
    manifest = manifest_of(subject)
    assert manifest is not None
    assert manifest.holds()
    for place in (0, 50, 99):
        changed = bytearray(100)
        changed[place] = 1
        path.write_bytes(changed)
        assert not manifest.holds()
    for size in (0, 99, 101):
        path.write_bytes(bytes(size))
        assert not manifest.holds()
    path.unlink()
    assert not manifest.holds()
    os.mkfifo(path)
    assert not manifest.holds()
