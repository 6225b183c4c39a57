"""Reading the pages that the HTML report writes: what a browser's parser sees, and what Chromium makes of them."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from avreview.engine.review import Report
from avreview.report.html import write

VOID = {"br", "col", "hr", "input", "meta", "wbr"}
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


def page_of(report: Report) -> str:
    stream = io.StringIO()
    write(report, stream)
    return stream.getvalue()


class Page(HTMLParser):
    """Elements in order with their attributes, and the text; `faults` holds tags that do not close what is open."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.faults: list[str] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self._open: list[str] = []
        self.feed(source)
        self.close()
        self.faults += self._open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if len({name for name, _ in attributes}) != len(attributes):
            self.faults.append(f"{tag} has an attribute twice")
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.faults.append(f"<{tag}/>")

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.raw:
            self.raw[self._open[-1]].append(data)
        else:
            self.pieces.append(data)

    def handle_comment(self, data: str) -> None:
        self.faults.append(f"<!--{data}-->")

    def handle_pi(self, data: str) -> None:
        self.faults.append(f"<?{data}>")

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    def every(self, tag: str, class_: str | None = None) -> list[dict[str, str | None]]:
        """The attributes of each such element."""
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and (class_ is None or class_ in (attributes.get("class") or "").split())
        ]

    @property
    def ids(self) -> list[str]:
        return [id for _, attributes in self.elements if (id := attributes.get("id"))]


def in_chromium(source: str, folder: Path, *, width: int = 1280, script: str = "") -> str:
    """The page's DOM as Chromium leaves it. A `script` of the test runs at the end, in a page without its policy."""
    assert CHROMIUM is not None
    if script:
        source = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", source)
        source = source.replace("</body>", f"<script>{script}</script></body>")
    file = folder / "page.html"
    file.write_text(source, encoding="utf-8")
    command = [
        CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom", file.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, timeout=120, check=True).stdout.decode("utf-8")
