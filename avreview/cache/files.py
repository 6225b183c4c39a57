"""The files that a review was made from: noted with their digests, and compared before the review is given again.

Size and time of a file can lie, so that every byte is hashed each time; a size or a beginning that differs ends the
comparison early.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HEAD = 1 << 20  # bytes that are compared first
_CHUNK = 1 << 22


class Noted(NamedTuple):
    """A file as it was: its size, the sha256 of its first bytes, and that of all.

    `within` is the folder that it may not lead out of; "" for a file that a person named.
    """

    path: str
    size: int
    head: str
    sha256: str
    within: str


class Manifest(NamedTuple):
    """Files, folders by the digest of the names in them, and what must not be there."""

    files: Sequence[Noted]
    folders: Mapping[str, str]
    absent: Sequence[str] = ()

    def covers(self, subject: Mapping[str, Mapping[str, Any]]) -> bool:
        """Whether it names every file that a review's subject does, with the same digest."""
        known = {file.path: file.sha256 for file in self.files}
        return bool(subject) and all(
            path in self.folders or known.get(str(path), "") == sha256
            for role in subject.values()
            for path, sha256 in [(entry.get("path"), entry.get("sha256")) for entry in (role, *role.get("files", ()))]
        )

    def holds(self) -> bool:
        """Whether every file is still what it was."""
        if any(_names(folder) != digest for folder, digest in self.folders.items()):
            return False
        if any(map(_is_there, self.absent)):
            return False
        comparisons = [_Comparison(file) for file in self.files]  # large files side by side
        return all(comparison.equal() for comparison in comparisons)


def manifest_of(subject: Mapping[str, Mapping[str, Any]], absent: Sequence[str] = ()) -> Manifest | None:
    """What a review's subject was made from; None where some of it has no digest, or changes right now.

    None also where something is there that was taken to be `absent`: it was not read, and has no digest.
    """
    if any(map(_is_there, absent)):
        return None
    files: dict[str, Noted] = {}
    folders: dict[str, str] = {}
    for role in subject.values():
        path = role.get("path")
        if not isinstance(path, str):
            return None
        if os.path.isdir(path):
            folders[path] = _names(path)
        elif not role.get("sha256"):
            return None
        within = path if path in folders else os.path.dirname(path) or "."
        own = [] if path in folders else [(role, "")]
        for file, inside in [*own, *((file, within) for file in role.get("files", ()))]:
            noted = _noted(file.get("path"), file.get("sha256"), inside)
            if noted is None:
                return None
            files[noted.path] = noted
    folders.update({folder: _names(folder) for folder in _recipe_folders(subject.get("recipe", {}))})
    return Manifest(list(files.values()), folders, [path for path in absent if "\0" not in path])


def _recipe_folders(recipe: Mapping[str, Any]) -> set[str]:
    """The folders of a recipe's files: some recipes are read with others of known names beside them."""
    paths = [] if "inside" in recipe else [recipe.get("path"), *(file.get("path") for file in recipe.get("files", ()))]
    return {os.path.dirname(path) or "." for path in paths if isinstance(path, str)}


def _noted(path: Any, sha256: Any, within: str) -> Noted | None:
    if not isinstance(path, str) or not isinstance(sha256, str):
        return None
    try:
        with open(os.open(path, _FLAGS), "rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            return Noted(path, size, hashlib.sha256(stream.read(_HEAD)).hexdigest(), sha256, within)
    except OSError:
        return None


class _Comparison:
    """Compares a file with what it was, in a thread: hashing leaves the interpreter to others."""

    def __init__(self, file: Noted) -> None:
        self._file = file
        self._equal = False
        self._thread: threading.Thread | None = None
        if file.size > _CHUNK:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        else:
            self._run()

    def equal(self) -> bool:
        if self._thread is not None:
            self._thread.join()
        return self._equal

    def _run(self) -> None:
        try:
            self._equal = _is_inside(self._file) and _is_equal(self._file)
        except (OSError, TypeError, ValueError):
            self._equal = False


def _is_equal(file: Noted) -> bool:
    with open(os.open(file.path, _FLAGS), "rb", buffering=0) as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
            return False
        digest = hashlib.sha256()
        digest.update(stream.read(_HEAD))
        if digest.hexdigest() != file.head:
            return False
        buffer = memoryview(bytearray(min(_CHUNK, max(file.size - _HEAD, 1))))
        while count := stream.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest() == file.sha256


def _is_inside(file: Noted) -> bool:
    """Whether a file that a model refers to is a plain one in the model's folder, as a review requires."""
    if not file.within:
        return True
    status = os.lstat(file.path)
    real = os.path.join(os.path.realpath(file.within), os.path.relpath(file.path, file.within))
    return status.st_nlink == 1 and os.path.realpath(file.path) == real


def _is_there(path: str) -> bool:
    try:
        return os.path.lexists(path)
    except ValueError:  # no path of this system
        return False


def _names(folder: str) -> str:
    """The digest of the names in a folder: which files are read depends on which are there."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    return hashlib.sha256("\0".join(names).encode("utf-8", "surrogatepass")).hexdigest()
