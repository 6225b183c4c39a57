"""The folder that entries are kept in: one file each, whole or absent, bounded together, and checked when read.

An entry begins with a line that holds the sha256 of what follows. Whoever may write to the folder may forge that too:
it is used only while nobody but its owner can.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import stat
import time
from pathlib import Path

from avreview.errors import AvreviewError

VARIABLE = "AVREVIEW_CACHE_DIR"
MOST = 256 << 20  # bytes of all entries
LARGEST = 32 << 20  # bytes of one
_MAGIC = b"avreview kept review 1 "
_SUFFIX = ".review"
_UNFINISHED = ".unfinished"
_STALE = 3600.0  # seconds after which an unfinished file was left by a process that is gone
_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def default_folder() -> Path:
    """$AVREVIEW_CACHE_DIR, or else `avreview` in the user's cache folder. Raises AvreviewError without a home."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.name == "nt":
        base = base or os.environ.get("LOCALAPPDATA", "")
    if os.path.isabs(base):  # a relative one is to be ignored
        return Path(base) / "avreview"
    try:
        return Path.home() / ".cache" / "avreview"
    except RuntimeError:
        raise AvreviewError(f"no home folder to keep a cache in; name a folder in {VARIABLE}") from None


class Store:
    """Entries by name (hexadecimal digits). Raises AvreviewError for a folder that cannot be used."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self.folder = folder
        self._most = most
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.stat()
        except OSError as error:
            raise AvreviewError(f"the cache {folder} cannot be used ({error.strerror})") from None
        if not stat.S_ISDIR(status.st_mode):
            raise AvreviewError(f"the cache {folder} is no folder")
        if hasattr(os, "geteuid") and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
            raise AvreviewError(f"the cache {folder} can be written by others, and what it holds is not believed")

    def get(self, name: str) -> bytes | None:
        """What was kept under the name; None where nothing was, or where it is damaged."""
        path = self.folder / (name + _SUFFIX)
        try:
            content = _content(path)
        except OSError:
            return None
        head, _, body = content.partition(b"\n")
        if head != _MAGIC + hashlib.sha256(body).hexdigest().encode():
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the least recently used go first
        return body

    def put(self, name: str, body: bytes) -> None:
        """Keeps an entry, in the place of one with that name. Raises OSError where it cannot be written."""
        if len(body) > min(LARGEST, self._most):
            return
        unfinished = self.folder / f"{secrets.token_hex(8)}{_UNFINISHED}"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with open(os.open(unfinished, flags, 0o600), "wb") as stream:
                stream.write(_MAGIC + hashlib.sha256(body).hexdigest().encode() + b"\n")
                stream.write(body)
            os.replace(unfinished, self.folder / (name + _SUFFIX))
        finally:
            with contextlib.suppress(OSError):
                unfinished.unlink()
        self._prune()

    def _prune(self) -> None:
        """Removes the least recently used entries beyond the bound, and what killed processes left behind."""
        found: list[tuple[float, int, str]] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if not entry.name.endswith((_SUFFIX, _UNFINISHED)):
                    continue
                with contextlib.suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if entry.name.endswith(_SUFFIX):
                        found.append((status.st_mtime, status.st_size, entry.path))
                    elif time.time() - status.st_mtime > _STALE:
                        os.unlink(entry.path)
        size = sum(bytes_ for _, bytes_, _ in found)
        for _, bytes_, path in sorted(found):
            if size <= self._most:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            size -= bytes_


def _content(path: Path) -> bytes:
    """A regular file's bytes. Raises OSError for another kind, and for one that is too large to be an entry."""
    with open(os.open(path, _FLAGS), "rb") as stream:
        status = os.fstat(stream.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST + 1024:
            raise OSError("no entry")
        return stream.read(LARGEST + 1024)
