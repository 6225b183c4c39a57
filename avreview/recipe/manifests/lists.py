"""The lists of what each split holds."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from avreview.errors import ArtifactError
from avreview.load.source import Source, open_beside, open_source

if TYPE_CHECKING:
    from avreview.recipe.model import Recipe, Split

_LONGEST_ID = 400
_MOST_LISTS = 16  # that a recipe names


class Manifest(NamedTuple):
    """One list: its role (`train`, `val`, `test`), its file and the file's digest, and what it names.

    `ids` holds for each kind of `manifest_ids.KINDS` the ids in the list, each with the first line that names it, or
    None where the format has no lines.
    """

    role: str
    path: str
    sha256: str
    ids: Mapping[str, Mapping[str, int | None]] = {}
    content: bytes = b""  # of a file whose entries have no lines of their own

    def line(self, kind: str, name: str) -> int | None:
        """The line that names an id first; None where it cannot be told (a pickle)."""
        line = self.ids.get(kind, {}).get(name)
        if line is None and self.content:
            place = self.content.find(name.encode("utf-8", "surrogatepass"))
            line = self.content.count(b"\n", 0, place) + 1 if place >= 0 else None
        return line


class Manifests(NamedTuple):
    """The lists by role."""

    sides: Mapping[str, Sequence[Manifest]]

    @property
    def all(self) -> list[Manifest]:
        return [manifest for side in self.sides.values() for manifest in side]


def open_manifests(named: Sequence[tuple[str, str]]) -> Manifests:
    """Opens lists by role and path. Raises ArtifactError."""
    sides: dict[str, list[Manifest]] = {}
    for role, path in named:
        sides.setdefault(role, []).append(_opened(role, open_source(path, "file that lists a split")))
    return Manifests(sides)


class ListsBeside:
    """The lists that a recipe names, as far as they lie in its own folder and can be read: opened when asked for.

    Nobody asked for these files by name, so whatever is wrong with one only means that it is not compared. `read` are
    those that were opened, for the report to name; `unread` the paths of the others.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe = recipe
        self._asked = False
        self.read: list[Manifest] = []
        self.unread: list[str] = []

    def manifests(self) -> Manifests | None:
        """The lists by role; None where there is none."""
        if not self._asked:
            self._asked = True
            for split in self._recipe.splits[:_MOST_LISTS] if self._recipe.inside is None else ():
                self._open(split)
        sides: dict[str, list[Manifest]] = {}
        for manifest in self.read:
            sides.setdefault(manifest.role, []).append(manifest)
        return Manifests(sides) if sides else None

    def _open(self, split: Split) -> None:
        try:
            source = open_beside(self._recipe.path, split.file, "list of a split")
            self.read.append(_opened(split.role, source))
        except ArtifactError:
            self.unread.append(os.path.join(os.path.dirname(self._recipe.path), split.file))


def _opened(role: str, source: Source) -> Manifest:
    from avreview.recipe.manifests.files import MOST_BYTES, MOST_ENTRIES, entries

    if source.size > MOST_BYTES:
        wrong = f"is larger than {MOST_BYTES >> 20} MB"
        raise ArtifactError(source.path, wrong, "pass a list of scenes or logs rather than of everything in them")
    content = bytes(source.read(0, source.size))
    ids: dict[str, dict[str, int | None]] = {}
    for number, (named, line) in enumerate(entries(source.path, role, content), 1):
        if number > MOST_ENTRIES:
            wrong = f"names more than {MOST_ENTRIES:,} things"
            raise ArtifactError(source.path, wrong, "pass a list of scenes or logs rather than of everything in them")
        ids.setdefault(named.kind, {}).setdefault(named.id[:_LONGEST_ID], line)
    if not ids:
        raise ArtifactError(
            source.path, "names no frame, file, scene, sequence, log or route that is known",
            "pass JSON, CSV, YAML or text with one scene, log or path for each entry",
        )  # fmt: skip
    has_lines = any(line is not None for held in ids.values() for line in held.values())
    kept = b"" if has_lines or b"\0" in content[:4096] or content[:1] == b"\x80" else content
    return Manifest(role, source.path, hashlib.sha256(content).hexdigest(), ids, kept)
