"""Following a page of the documentation: its files are written, its commands run, and what they print compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Everything that people read, but for the worked example: tests/test_project.py follows that in a copy of the project.
PAGES = ["README.md", "CONTRIBUTING.md", "sample_models/README.md"]
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
PAGES.remove("docs/writing-a-rule.md")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([^`\n]+)`:\n\n\Z")
_ENDS = re.compile(r"\s+# ends with (\d)$")
# What sets up an environment or works on avreview itself: `.ci/run` does that.
_SET_UP = re.compile(r"^(?:python3? -m venv|(?:\.venv/bin/)?(?:pip|pytest|pre-commit))\b")
_HERE_DOCUMENT = re.compile(r"<<'(\w+)'")
_DATE = "1796083200"  # 1 December 2026: the waivers on the pages hold


@dataclass
class Command:
    """A command of a page: what it should end with, and the text that the page says it prints."""

    line: str
    code: int
    prints: str = ""


@dataclass
class File:
    """A file that a page shows whole."""

    path: str
    text: str


def steps(text: str) -> list[Command | File]:
    """The files and commands of a page, in order."""
    found: list[Command | File] = []
    for match in _BLOCK.finditer(text):
        language, body = match.groups()
        named = _FILE.search(text[: match.start()])
        if language == "sh":
            found += commands(body)
        elif language == "text" and found and isinstance(found[-1], Command) and not found[-1].prints:
            found[-1].prints = body
        elif named:
            found.append(File(named[1], body))
    return found


def commands(block: str) -> Iterator[Command]:
    """The commands of a block, less those that set up an environment."""
    if _HERE_DOCUMENT.search(block):  # Python code that works on the checkout
        return
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        ends = _ENDS.search(line)
        kept = [part for part in _ENDS.sub("", line).split(" && ") if part.strip() and not _SET_UP.match(part.strip())]
        if kept and not line.startswith("#"):
            command = " && ".join(kept).replace(".venv/bin/avreview", "avreview")
            yield Command(command, int(ends[1]) if ends else 0)


@dataclass
class Reader:
    """Somebody who follows a page in a folder with the sample models and examples, command by command."""

    folder: Path
    here: Path = field(init=False)

    def __post_init__(self) -> None:
        self.here = self.folder / "avreview"
        self.here.mkdir()
        shutil.copytree(ROOT / "sample_models", self.here / "sample_models")
        shutil.copytree(ROOT / "docs" / "examples", self.here / "docs" / "examples")

    def follow(self, text: str) -> dict[str, str]:
        """Follows a page to its end. Returns the commands that were run, and what each printed."""
        done = {}
        for step in steps(text):
            if isinstance(step, File):
                (self.here / step.path).parent.mkdir(parents=True, exist_ok=True)
                (self.here / step.path).write_text(step.text, encoding="utf-8")
            else:
                done[step.line] = self.run(step)
        return done

    def run(self, command: Command) -> str:
        """What a command printed; it must end, and print, as the page says."""
        place = self.folder / "pwd"
        script = f"set -o pipefail\n{command.line}\ncode=$?\npwd >'{place}'\nexit $code\n"
        ended = subprocess.run(
            ["bash", "-c", script], cwd=self.here, env=self.environment(), capture_output=True, text=True, timeout=300
        )
        said = f"{command.line}\n{ended.stdout}{ended.stderr}"
        assert ended.returncode == command.code, f"ended with {ended.returncode} instead of {command.code}: {said}"
        assert re.search(expected(command.prints), ended.stdout, re.DOTALL), (
            f"{command.prints}\nis not printed by: {said}"
        )
        self.here = Path(place.read_text("utf-8").strip())
        return ended.stdout

    def environment(self) -> dict[str, str]:
        """A person's, whose `avreview` and `python` are those that run this test."""
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {**kept, "PATH": path, "SOURCE_DATE_EPOCH": _DATE, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}


def expected(prints: str) -> str:
    """The pattern of a text in which `…` stands for anything, and any run of blanks for another."""
    parts = [r"\s+".join(map(re.escape, part.split())) for part in prints.split("…")]
    return ".*?".join(parts)
