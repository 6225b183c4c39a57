"""Where a finding is: in words for people, and as a path or an address for programs that know the repository."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from avreview.report.escape import plain, shorten

if TYPE_CHECKING:
    from avreview.engine.review import Finding, Location, Review

_NAME = 120  # characters of a name
_PATH = 4096  # characters of a path: no file system takes more


def in_words(location: Location, main: str = "") -> str:
    """The place in words; the file only where it is not `main`, the one that is reviewed, or a line of it is meant."""
    named = (("module", location.module), ("node", location.node), ("tensor", location.tensor))
    parts = [f"{kind} {quoted(name)}" for kind, name in named if name]
    if location.line is not None:
        parts.insert(0, f"{quoted(location.artifact)}:{location.line}")
    elif not parts:
        parts.append(quoted(location.artifact))
    elif location.artifact != main:
        parts.append(f"in {quoted(location.artifact)}")
    return ", ".join(parts)


def quoted(name: str) -> str:
    """A name, in quotes where it could otherwise be taken for more than one word of the report."""
    safe = plain(name, _NAME)
    return f'"{safe}"' if any(character in safe for character in ' ,"') or not safe else safe


def names(also: Sequence[Location]) -> list[str]:
    """Names of further places: their modules, or their nodes or tensors where several share a module."""
    entities = [quoted(location.entity or location.artifact) for location in also]
    if len(set(entities)) == len(entities):
        return entities
    return [quoted(location.node or location.tensor or location.entity or location.artifact) for location in also]


def everywhere(finding: Finding, main: str, most: int = 5) -> str:
    """The place of a finding in words, and up to `most` of the further places of the same cause by name."""
    where = in_words(finding.location, main)
    if not finding.also:
        return where
    listed = ", ".join(names(finding.also[:most])) + (", …" if len(finding.also) > most else "")
    return f"{where}, and {len(finding.also)} more: {listed}"


def main_path(review: Review) -> str:
    """The path of the file that is mainly reviewed."""
    return str(next(iter(review.subject.values()), {}).get("path", ""))


class Repository:
    """The folder that paths of a report are relative to: the checkout around the working directory, or that itself.

    Forges match a finding with a file of the repository by such a path, wherever in the checkout the review ran.
    """

    def __init__(self) -> None:
        here = Path.cwd()
        self.root = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), here)

    def path(self, path: str) -> str:
        """The path within the repository, with slashes; one that leads out of it stays absolute."""
        absolute = Path(os.path.abspath(shorten(path, _PATH).replace("\0", "\\x00")))
        inside = absolute.is_relative_to(self.root)
        return (absolute.relative_to(self.root) if inside else absolute).as_posix()

    def address(self, path: str) -> str:
        """The same as a relative URI, or as a `file:` URI where it leads out of the repository."""
        within = self.path(path)
        try:
            octets = within.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            octets = within.encode("utf-8", "backslashreplace")
        if not os.path.isabs(within):
            return quote(octets)
        return "file://" + quote(octets if octets.startswith(b"/") else b"/" + octets)
