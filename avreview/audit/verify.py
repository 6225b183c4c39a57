"""Whether a report still describes the files that it is about."""

from __future__ import annotations

import enum
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from avreview import __version__
from avreview.audit.stated import Stated, StatedFile, StatedFolder
from avreview.errors import ArtifactError, AvreviewError
from avreview.load.source import open_source
from avreview.load.wording import quoted

_CHUNK = 1 << 22
_BYTE = re.compile(r"\\udc([89a-f][0-9a-f])")  # how a report writes a byte of a path that is not UTF-8


class Status(enum.Enum):
    """What became of something that a report names."""

    SAME = "same"
    CHANGED = "changed"
    MISSING = "missing"
    NEW = "new"  # a review would read it now, and did not then
    UNCHECKED = "unchecked"  # it could not be looked at


class Checked(NamedTuple):
    """One thing that a report names, and what was found. `why` says more where it is not the same."""

    role: str
    path: str
    status: Status
    stated: str | None = None
    found: str | None = None
    why: str = ""


class Verification(NamedTuple):
    """What became of everything that a report names."""

    report: Stated
    tool: Checked
    rules: Checked
    files: tuple[Checked, ...]

    @property
    def verdict(self) -> Status:
        """SAME where every file is; UNCHECKED where one could not be looked at, which outranks a changed one."""
        found = {entry.status for entry in self.files}
        if Status.UNCHECKED in found:
            return Status.UNCHECKED
        return Status.CHANGED if found - {Status.SAME} else Status.SAME

    @property
    def would_repeat(self) -> bool:
        """Whether the same avreview with the same rules would write the report again."""
        return {self.tool.status, self.rules.status} == {Status.SAME}


def verify(report: Stated, root: str | None = None) -> Verification:
    """Compares files, rules and version with what the report says.

    Relative paths begin at the working folder, or at `root`; with a root nothing outside of it is opened.
    Raises AvreviewError where the report names no digest at all, and for a root that is no folder.
    """
    if root is not None and not os.path.isdir(root):
        raise AvreviewError(f"{root}: is no folder; --root names the one that the report's paths begin at")
    if not report.files:
        raise AvreviewError(f"{report.path}: names no file with a digest, so there is nothing to verify")
    places = _Places(root)
    files = [_file(entry, places) for entry in report.files]
    files += [entry for folder in report.folders for entry in _added(folder, places)]
    files += [
        Checked("unread", path, Status.UNCHECKED, why="could not be reviewed then, and has no digest")
        for path in report.unread
    ]
    return Verification(report, _compared("tool", "avreview", report.version, __version__),
                        _rules(report, places), tuple(files))  # fmt: skip


class _Places:
    """Where the paths of a report lead to."""

    def __init__(self, root: str | None) -> None:
        self._given = root
        self._root = None if root is None else os.path.realpath(root)

    def find(self, path: str) -> str:
        """The file or folder behind a path. Raises OSError or ValueError where it must not or cannot be looked at."""
        path = _BYTE.sub(lambda byte: chr(0xDC00 + int(byte[1], 16)), path)
        if self._root is None:
            return path
        found = os.path.realpath(os.path.join(self._root, path))
        if os.path.commonpath([self._root, found]) != self._root:
            raise PermissionError(0, f"lies outside {self._given}")
        return found


def _file(entry: StatedFile, places: _Places) -> Checked:
    def ended(status: Status, why: str = "", found: str | None = None) -> Checked:
        return Checked(entry.role, entry.path, status, entry.sha256, found, why)

    try:
        path = places.find(entry.path)
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            is_folder = stat.S_ISDIR(status.st_mode)
            return ended(Status.CHANGED, "is a folder now" if is_folder else "is not a regular file now")
        if entry.bytes is not None and entry.bytes != status.st_size:
            return ended(Status.CHANGED, f"has {status.st_size:,} bytes instead of {entry.bytes:,}")
        found = _sha256(path)
    except (FileNotFoundError, NotADirectoryError):
        return ended(Status.MISSING)
    except ArtifactError as error:
        return ended(Status.UNCHECKED, error.wrong)
    except (OSError, ValueError) as error:
        return ended(Status.UNCHECKED, getattr(error, "strerror", None) or str(error))
    return ended(Status.SAME if found == entry.sha256 else Status.CHANGED, found=found)


def _sha256(path: str) -> str:
    """The digest of a regular file. Raises ArtifactError when it is none, or shrinks meanwhile."""
    source = open_source(path)
    digest, done = hashlib.sha256(), 0
    while done < source.size:
        chunk = source.read(done, min(_CHUNK, source.size - done))
        if not chunk:
            raise ArtifactError(path, "changed while it was read", "verify it when nothing writes to it")
        digest.update(chunk)
        done += len(chunk)
    return digest.hexdigest()


def _added(folder: StatedFolder, places: _Places) -> Iterator[Checked]:
    """What a review of the folder would read today and did not then."""
    try:
        names = _would_read(places.find(folder.path), folder)
    except (OSError, ValueError):  # its files tell by themselves that it is gone
        return
    known = {os.path.basename(path) for path in folder.files}
    for name in names:
        if name not in known:
            path = os.path.join(folder.path, name)
            yield Checked(folder.role, path, Status.NEW, why="was not read when the folder was reviewed")


def _would_read(path: str, folder: StatedFolder) -> list[str]:
    """The files that a review looks for in a folder by their names."""
    if folder.role == "inputs":
        return sorted(name for name in os.listdir(path) if name.endswith(".npy"))
    if folder.format == "huggingface":
        from avreview.load.pytorch.huggingface import config_file, weights_file
        from avreview.load.pytorch.training_files import training_files

        found = [weights_file(path), config_file(path), *training_files(path)]
        return [name for name in found if name is not None]
    return []


def _rules(report: Stated, places: _Places) -> Checked:
    """The rules as they are today: those of this avreview, with the packs and folders that the report was made with."""
    from avreview.engine.cards import installed, shipped

    try:
        rules = installed() if report.packs else shipped()
        if report.rule_folders:
            rules = rules.with_folders(Path(places.find(folder)) for folder in report.rule_folders)
        found = rules.digest
        packs = {pack.name: pack.digest for pack in rules.packs()}
    except (AvreviewError, OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        return Checked("rules", "rules", Status.UNCHECKED, report.rules, why=why)
    other = [name for name, digest in report.packs.items() if packs.get(name) != digest]
    if other:  # its cards may be the same, and its checks others
        why = f"another version of the rule pack {', '.join(map(quoted, other))}, or none, is installed"
        return Checked("rules", "rules", Status.CHANGED, report.rules, found, why)
    return _compared("rules", "rules", report.rules, found)


def _compared(role: str, name: str, stated: str, found: str) -> Checked:
    return Checked(role, name, Status.SAME if stated == found else Status.CHANGED, stated, found)
