"""Running a function of ours in a child process that may hang or crash: native parsers do both on hostile files.

The child gets a time and a memory limit, none of the parent's environment but what Python itself needs, an empty
standard input, and a process group of its own, which is killed whole. What it prints is read and bounded while it
runs, so that it never waits for the parent. While at work it may say what it is at (`avreview.stages`), so that its
parent knows where it was stopped. Memory is limited on Linux only; elsewhere `memory_limited` says that it is not.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

MEMORY_LIMITED = sys.platform.startswith("linux")
_REPLY = 16 << 20  # bytes of a result; more is a failure
_PRINTED = 64 << 10  # bytes kept of what the child prints
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "TMPDIR")  # what Python needs to start

# The child's side. The result leaves through a descriptor of its own, for native code prints to standard output.
# RLIMIT_DATA counts what is allocated, and not a model that is merely mapped, as RLIMIT_AS would.
_CHILD = """
import os, sys
reply = os.dup(1)
os.dup2(2, 1)
import json
job = json.loads(sys.stdin.buffer.read())
sys.path[:] = job["path"]
if job["site"]:
    import site
    site.main()
try:
    import resource
    for limit, value in job["limits"].items():
        kind = getattr(resource, limit)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
except ImportError:
    pass
try:
    import avreview.stages
    avreview.stages.reply_to = reply
    module, _, function = job["function"].partition(":")
    __import__(module)
    answer = {"value": getattr(sys.modules[module], function)(*job["arguments"])}
    answer = json.dumps(answer)
except BaseException as error:
    answer = json.dumps({"error": f"{type(error).__name__}: {error}"[:10000].rstrip(": ")})
answer = answer.encode() + b"\\n"
while answer:
    answer = answer[os.write(reply, answer):]
"""


class Ending(Enum):
    """How a child ended."""

    OK = "ok"
    TIMED_OUT = "timed out"
    DIED = "died"  # by a signal
    FAILED = "failed"  # with an exception, or without an answer


@dataclass(frozen=True, slots=True)
class Limits:
    """`seconds` by the clock from the start; `memory` in bytes."""

    seconds: float = 10.0
    memory: int = 2 << 30


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a child came to: a `value` when it went well, else a `message`; and the beginning of what it printed."""

    ending: Ending
    value: Any = None
    message: str = ""
    printed: str = ""
    stage: str = ""  # what the child was last at, as far as it said
    memory_limited: bool = MEMORY_LIMITED


class Child:
    """A running child process."""

    def __init__(self, process: subprocess.Popen[bytes], limits: Limits, job: bytes) -> None:
        self._process = process
        self._limits = limits
        self._deadline = time.monotonic() + limits.seconds
        self._outcome: Outcome | None = None
        self._reply, self._printed = bytearray(), bytearray()
        self._readers = [
            _reader(process.stdout, self._reply, _REPLY + 1),
            _reader(process.stderr, self._printed, _PRINTED),
        ]
        _writer(process.stdin, job)
        self._ended = weakref.finalize(self, _kill, process)  # at the latest when the parent ends

    def result(self) -> Outcome:
        """What the child came to, waited for until its time is over."""
        if self._outcome is None:
            timed_out = self._wait()
            for reader in self._readers:
                reader.join(timeout=1.0)
            self._ended()
            self._outcome = self._judge(timed_out)
        return self._outcome

    @property
    def stage(self) -> str:
        """What the child last said it was at; empty when it has said nothing."""
        return _split(bytes(self._reply))[0]

    def _wait(self) -> bool:
        """True when the child had to be killed because its time was over."""
        from subprocess import TimeoutExpired

        try:
            self._process.wait(max(0.0, self._deadline - time.monotonic()))
        except TimeoutExpired:
            _kill(self._process)
            return True
        return False

    def _judge(self, timed_out: bool) -> Outcome:
        ending, value, message = self._ending(timed_out)
        printed = self._printed.decode("utf-8", "backslashreplace")
        return Outcome(ending, value, message, printed, self.stage)

    def _ending(self, timed_out: bool) -> tuple[Ending, Any, str]:
        """How the child ended, its value, and the words for an ending without one."""
        code = self._process.returncode
        if timed_out or code == -getattr(signal, "SIGXCPU", 0):
            return Ending.TIMED_OUT, None, f"did not finish within {self._limits.seconds:g} s"
        if code < 0:
            return Ending.DIED, None, f"died by {_signal_name(-code)}"
        if len(self._reply) > _REPLY:
            return Ending.FAILED, None, f"answered with more than {_REPLY:,} bytes"
        try:
            answer = json.loads(_split(bytes(self._reply))[1])
            if "value" in answer:
                return Ending.OK, answer["value"], ""
            message = str(answer["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            message = f"ended with code {code} and no answer"
        return Ending.FAILED, None, message


def start(
    function: str, *arguments: Any, limits: Limits | None = None, user_code: bool = False, keep: Sequence[str] = ()
) -> Child:
    """Starts `module:function` on JSON-like arguments in a child; its JSON-like result is the outcome's value.

    For a child that is to run `user_code`, modules are found as they would be at the person's own prompt: in the
    working folder first, and through whatever their installation adds to Python's start. `keep` names further
    variables of the environment that it gets. Raises OSError when no process can be started.
    """
    import subprocess

    limits = limits or Limits()
    path = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), *map(os.path.abspath, sys.path)]
    job = {
        "function": function,
        "arguments": arguments,
        "path": [os.getcwd(), *path] if user_code else path,
        "site": user_code,
        "limits": _resource_limits(limits),
    }
    # Isolated, and without `site`: neither the environment nor the working folder adds code, and it starts sooner.
    command = [sys.executable, "-I", "-S", "-c", _CHILD]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own code
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env={name: os.environ[name] for name in (*_INHERITED, *keep) if name in os.environ},
        start_new_session=True,
    )
    return Child(process, limits, json.dumps(job).encode())


def _resource_limits(limits: Limits) -> dict[str, int]:
    # Processor time, which all threads spend together, stops a child whose parent was killed before it could do so.
    threads = os.cpu_count() or 1
    least = {"RLIMIT_CPU": threads * math.ceil(limits.seconds) + 1, "RLIMIT_CORE": 0}
    return {**least, "RLIMIT_DATA": limits.memory} if MEMORY_LIMITED else least


def _reader(pipe: IO[bytes] | None, into: bytearray, most: int) -> threading.Thread:
    """Reads a pipe to its end in a thread, and keeps the first `most` bytes."""

    def read() -> None:
        if pipe is None:
            return
        with pipe:
            while chunk := pipe.read(1 << 16):
                into.extend(chunk[: most - len(into)])

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _writer(pipe: IO[bytes] | None, content: bytes) -> None:
    """Writes to a pipe in a thread and closes it; a child that does not listen any more is no error."""

    def write() -> None:
        with contextlib.suppress(OSError):
            if pipe is not None:
                with pipe:
                    left = memoryview(content)
                    while left:
                        left = left[pipe.write(left) or 0 :]

    threading.Thread(target=write, daemon=True).start()


def _split(reply: bytes) -> tuple[str, bytes]:
    """What a child says: the last stage that it named, and what follows the stages, its answer."""
    name = ""
    while reply.startswith(b'{"stage": '):
        line, _, reply = reply.partition(b"\n")
        with contextlib.suppress(ValueError, KeyError, TypeError):
            name = str(json.loads(line)["stage"])
    return name, reply


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the child with all that it started, unless it has ended by itself."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
