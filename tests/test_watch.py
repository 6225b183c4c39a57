"""`--watch` as a person meets it: a review after each change, and an end that tells how the last one went."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from avreview.cli.watch import Round, _Watcher, watch_files

SAMPLES = Path(__file__).parents[1] / "sample_models"
CLEAN = SAMPLES / "lane_head.onnx"
FAULTY = SAMPLES / "lane_head__dropout_active.onnx"
PATIENCE = 60.0  # seconds
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")


class Watching:
    """A process that watches, with what it has said so far."""

    def __init__(self, folder: Path, words: tuple[str, ...]) -> None:
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        command = [sys.executable, "-m", "avreview", "check", *words, "--watch"]
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            # What a shell runs in the background ignores SIGINT, and so would all that is started from there.
            self.process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=err, preexec_fn=_heeds_interrupts)

    def rounds(self) -> int:
        return self.err.read_text().count("; Ctrl-C ends\n")

    def until(self, rounds: int) -> None:
        """Waits for that many reviews."""
        began = time.monotonic()
        while self.rounds() < rounds:
            assert self.process.poll() is None, self.err.read_text()
            assert time.monotonic() < began + PATIENCE, self.err.read_text()
            time.sleep(0.05)

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


def _heeds_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


Watch = Callable[..., Watching]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    shutil.copy(CLEAN, tmp_path / "model.onnx")
    return tmp_path


@pytest.fixture
def watch(folder: Path) -> Iterator[Watch]:
    started: list[Watching] = []

    def start(*words: str) -> Watching:
        started.append(Watching(folder, words))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


def test_a_changed_model_is_reviewed_again(watch: Watch, folder: Path) -> None:
    watching = watch("model.onnx", "--select", "AV701")
    watching.until(1)
    assert "AV701" not in watching.out.read_text()
    shutil.copy(FAULTY, folder / "new.onnx")
    os.replace(folder / "new.onnx", folder / "model.onnx")
    watching.until(2)
    written = watching.out.read_text()
    assert written.count("avreview 0.1.0") == 2
    assert "AV701" in written
    assert "\x1b" not in written
    time.sleep(1.5)  # nothing changes, and nothing happens
    assert watching.rounds() == 2
    assert watching.end() == 1


def test_what_is_missing_or_wrong_for_a_while_is_said_and_waited_for(watch: Watch, folder: Path) -> None:
    config = folder / "avreview.yaml"
    config.write_text("select: AV701\n")
    watching = watch("model.onnx", "-f", "json")
    watching.until(1)
    (folder / "model.onnx").unlink()
    watching.until(2)
    assert "no such file" in watching.err.read_text()
    config.write_text("selct: AV701\n")
    watching.until(3)
    assert "did you mean select?" in watching.err.read_text()
    config.write_text("select: AV701\n")
    shutil.copy(CLEAN, folder / "model.onnx")
    watching.until(4)
    assert watching.end() == 0


def test_a_report_in_the_watched_folder_is_no_change(watch: Watch, folder: Path) -> None:
    watching = watch("model.onnx", "--select", "AV701", "--output", "model.yaml", "--output", "-")
    watching.until(1)
    time.sleep(1.5)
    assert watching.rounds() == 1
    assert watching.end() == 0
    assert (folder / "model.yaml").exists()


def test_what_is_wrong_from_the_beginning_ends_it(watch: Watch) -> None:
    assert watch("model.onnx", "--select", "AV999").process.wait(PATIENCE) == 2


def test_an_interrupt_ends_with_the_last_code_or_130() -> None:
    def interrupted() -> Round:
        raise KeyboardInterrupt

    assert watch_files(interrupted, []) == 130


# What counts as a change


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Callable[[], object]]]:
    """What happens at each pause, in the place of time; after the last one the test has waited too long."""
    steps: list[Callable[[], object]] = []

    def sleep(_: float) -> None:
        assert steps, "nothing was seen to change"
        steps.pop(0)()

    monkeypatch.setattr("avreview.cli.watch.time.sleep", sleep)
    yield steps
    assert steps == []


def nothing() -> None:
    pass


def test_a_file_that_is_being_written_is_waited_for(folder: Path, looked: list[Callable[[], object]]) -> None:
    path = folder / "model.onnx"
    watcher = _Watcher(frozenset())
    watcher.follow([str(path)], time.time() + 1)
    looked += [nothing, *(lambda size=size: path.write_bytes(bytes(size)) for size in (1, 2, 3)), path.unlink]
    looked += [lambda: path.write_bytes(bytes(4)), nothing]
    watcher.wait()


def test_a_file_that_changed_during_its_review_is_reviewed_again(
    folder: Path, looked: list[Callable[[], object]]
) -> None:
    path = folder / "model.onnx"
    watcher = _Watcher(frozenset())
    began = time.time()
    os.utime(path, (began + 0.5, began + 0.5))
    watcher.follow([str(path)], began)
    looked += [nothing, nothing]
    watcher.wait()
    path.write_bytes(b"x")  # while it is reviewed again
    watcher.follow([str(path)], time.time())
    looked += [nothing, nothing]
    watcher.wait()


def test_a_folder_changes_with_its_files_but_for_our_own(folder: Path, looked: list[Callable[[], object]]) -> None:
    inner = folder / "model"
    inner.mkdir()
    (inner / "one").write_bytes(b"1")
    report = inner / "report.yaml"
    watcher = _Watcher(frozenset({str(report)}))
    watcher.follow([str(inner)], time.time() + 1)
    looked += [lambda: report.write_text("x"), lambda: (inner / ".report.yaml.a1b2").touch(), nothing]
    looked += [lambda: (inner / "one").write_bytes(b"22"), nothing]
    watcher.wait()
    looked += [(inner / "two").touch, nothing]
    watcher.wait()
