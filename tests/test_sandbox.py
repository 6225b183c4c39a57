"""A child process that may do anything, and what is left of it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from avreview.sandbox import MEMORY_LIMITED, Child, Ending, Limits, start

_CHILD = """
import os, sys, time

def add(a, b): return {"sum": a + b}
def fail(): raise ValueError("no such thing")
def exits(): sys.exit(3)
def leaves(): os._exit(7)
def unspeakable(): return {1, 2}
def long(n): return "x" * n
def sleep(): time.sleep(60)
def spin():
    while True: pass
def dies(number): os.kill(os.getpid(), number)
def allocate(n): return len(bytearray(n))
def environment(): return sorted(os.environ)
def listens(): return sys.stdin.read()
def chatters(n):
    for _ in range(n):
        os.write(1, b"out" * 1000)
        os.write(2, b"err" * 1000)
    return n
def breeds(path):
    import subprocess
    code = f"import time; time.sleep(1.5); open({path!r}, 'w').close()"
    subprocess.Popen([sys.executable, "-c", code])
    time.sleep(60)
def modules(): return sorted(sys.modules)
def path(): return sys.path
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "children.py").write_text(_CHILD)
    monkeypatch.syspath_prepend(tmp_path)

    def begin(function: str, *arguments: Any, **limits: Any) -> Child:
        return start(f"children:{function}", *arguments, limits=Limits(**limits))

    return begin


def test_a_result_comes_back(run: Any) -> None:
    child = run("add", 2, 3)
    outcome = child.result()
    assert (outcome.ending, outcome.value, outcome.message) == (Ending.OK, {"sum": 5}, "")
    assert child.result() is outcome


def test_none_is_a_result(run: Any) -> None:
    outcome = run("dies", 0).result()
    assert outcome.ending is Ending.OK
    assert outcome.value is None


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fail", "ValueError: no such thing"),
        ("exits", "SystemExit: 3"),
        ("leaves", "ended with code 7 and no answer"),
        ("unspeakable", "TypeError: Object of type set is not JSON serializable"),
        ("missing", "AttributeError: module 'children' has no attribute 'missing'"),
    ],
)
def test_failures_are_told(run: Any, function: str, message: str) -> None:
    outcome = run(function).result()
    assert (outcome.ending, outcome.message) == (Ending.FAILED, message)


def test_a_module_that_is_not_there() -> None:
    outcome = start("no_such_module:f").result()
    assert outcome.ending is Ending.FAILED
    assert "no_such_module" in outcome.message


@pytest.mark.parametrize("function", ["sleep", "spin"])
def test_time_is_limited(run: Any, function: str) -> None:
    started = time.monotonic()
    outcome = run(function, seconds=0.5).result()
    assert (outcome.ending, outcome.message) == (Ending.TIMED_OUT, "did not finish within 0.5 s")
    assert time.monotonic() - started < 5


def test_one_that_finished_in_time_is_not_too_late_when_asked_late(run: Any) -> None:
    child = run("add", 1, 1, seconds=1.5)
    time.sleep(1.7)
    assert child.result().ending is Ending.OK


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_the_signal_it_died_by_is_named(run: Any, name: str) -> None:
    outcome = run("dies", int(getattr(signal, name))).result()
    assert (outcome.ending, outcome.message) == (Ending.DIED, f"died by {name}")


@pytest.mark.skipif(not MEMORY_LIMITED, reason="memory cannot be limited here")
def test_memory_is_limited(run: Any) -> None:
    outcome = run("allocate", 300 << 20, memory=200 << 20).result()
    assert (outcome.ending, outcome.message) == (Ending.FAILED, "MemoryError")
    assert outcome.memory_limited
    assert run("allocate", 100 << 20, memory=200 << 20).result().value == 100 << 20


def test_it_inherits_no_secrets_and_no_input(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    inherited = set(run("environment").result().value)
    assert inherited <= {"PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR", "LC_CTYPE"}
    assert run("listens").result().value == ""
    assert "" not in run("path").result().value


def test_what_it_prints_is_bounded_and_never_waits_for_the_parent(run: Any) -> None:
    child = run("chatters", 2_000)
    deadline = time.monotonic() + 20
    while child._process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)  # it ends although nobody has asked for its result
    assert child._process.poll() == 0
    outcome = child.result()
    assert outcome.value == 2_000
    assert 0 < len(outcome.printed) <= 65_536


def test_a_result_may_not_be_too_long(run: Any) -> None:
    outcome = run("long", 20 << 20).result()
    assert outcome.ending is Ending.FAILED
    assert "answered with more than" in outcome.message


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_what_it_started_is_killed_with_it(run: Any, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    assert run("breeds", os.fspath(proof), seconds=0.7).result().ending is Ending.TIMED_OUT
    time.sleep(1.5)
    assert not proof.exists()


def test_one_that_nobody_waits_for_is_killed(run: Any) -> None:
    child = run("sleep")
    process = child._process
    del child
    assert process.wait(timeout=5) != 0


def test_little_is_imported(run: Any) -> None:
    """Every review of a small model waits for a child: what it need not import, it does not."""
    assert not {"numpy", "onnx", "inspect", "dataclasses"} & set(run("modules").result().value)
