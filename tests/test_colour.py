"""Colour on a real terminal: there of its own accord, and gone where NO_COLOR is set."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = str(Path(__file__).parents[1] / "sample_models" / "lane_head__dropout_active.onnx")
ESCAPE = re.compile(rb"\x1b\[")
pty = pytest.importorskip("pty", reason="needs a terminal")
COMMANDS = [["check", SAMPLE], ["check", SAMPLE, "--quiet"], ["rules"], ["explain", "AV301"]]


def on_terminal(words: list[str], **environment: str) -> bytes:
    """What a command writes to a terminal of its own."""
    ours, its = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        [sys.executable, "-m", "avreview", *words],
        stdin=its, stdout=its, stderr=its, env={**kept, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(its)
    written = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux says so when the last writer is gone
            break
        if not piece:
            break
        written += piece
    process.wait(timeout=60)
    os.close(ours)
    return written


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:1] + words[2:]))
def test_no_color_is_honoured(words: list[str]) -> None:
    plain = on_terminal(words, NO_COLOR="1")
    assert plain
    assert not ESCAPE.search(plain)


def test_a_terminal_gets_colour_and_an_empty_no_color_is_none() -> None:
    assert ESCAPE.search(on_terminal(["check", SAMPLE]))
    assert ESCAPE.search(on_terminal(["check", SAMPLE], NO_COLOR=""))


def test_a_terminal_that_cannot_gets_no_colour() -> None:
    assert not ESCAPE.search(on_terminal(["check", SAMPLE], TERM="dumb"))
