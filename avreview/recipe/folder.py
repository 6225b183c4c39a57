"""Which files stand in a folder itself: no links, nothing outside it."""

from __future__ import annotations

import os
import stat


def is_plain_file(folder: str, name: str) -> bool:
    """Whether a regular file of that name stands in the folder, and is no link."""
    if not name or name != os.path.basename(name) or name in (os.curdir, os.pardir):
        return False
    try:
        status = os.lstat(os.path.join(folder, name))
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def plain_files(folder: str, most: int = 10_000) -> list[str]:
    """The names of the regular files in a folder, sorted; none where it cannot be listed or holds too many."""
    found: list[str] = []
    try:
        with os.scandir(folder or os.curdir) as entries:
            for number, entry in enumerate(entries):
                if number >= most:
                    return []
                if entry.is_file(follow_symlinks=False):
                    found.append(entry.name)
    except OSError:
        return []
    return sorted(found)
