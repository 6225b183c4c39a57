"""`--watch`: reviewing again whenever a file of the review changes."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avreview.cli.output import complain
from avreview.errors import AvreviewError

if TYPE_CHECKING:
    from avreview.config.settings import Planned, Settings
    from avreview.engine.review import Report

_PAUSE = 0.5  # seconds between two looks; what changes from one to the next is still being written
_MOST = 10_000  # files of a folder that are looked at
_COARSE = 0.02  # seconds by which a file system's clock may be behind
_CLEAR = "\x1b[2J\x1b[H"
_CHANGED = ()  # what no path looks like


class Round(NamedTuple):
    """A review that was made and written: its exit code, what it was asked, and what it says."""

    code: int
    settings: Settings
    planned: Sequence[Planned]
    report: Report


def watch_files(once: Callable[[], Round], written: Iterable[Path]) -> int:
    """Reviews by `once`, and again after each change of a file that the review before it depended on.

    `written` are the files that the reviews write: they do not count. Ends when it is interrupted, with the last
    review's exit code, or 130 where not even the first was done. What is wrong with the first review ends it too; what
    goes wrong later is said, and the watch goes on.
    """
    watcher = _Watcher(frozenset(os.path.abspath(path) for path in written))
    code = 130
    try:
        began = time.time()
        first = once()
        code, paths = first.code, paths_of(first)
        while True:
            watcher.follow(paths, began)
            complain(f"watching {len(paths)} {'path' if len(paths) == 1 else 'paths'}; Ctrl-C ends")
            watcher.wait()
            gc.collect()
            _clear()
            began = time.time()
            try:
                later = once()
                code, paths = later.code, paths_of(later)
            except AvreviewError as error:
                complain(str(error))
                code = 2
    except KeyboardInterrupt:
        return code


def paths_of(made: Round) -> list[str]:
    """All that a review depends on: what was configured and named, and the files that these refer to."""
    missing = [path for path, _ in made.report.unreadable]
    return sorted({*named_paths(made.settings, made.planned), *read_paths(made.report), *missing} - {""})


def named_paths(settings: Settings, planned: Sequence[Planned]) -> list[str]:
    """What was configured, and what is to be reviewed."""
    found = [*settings.files, *settings.waivers, *settings.rule_folders, settings.baseline]
    for plan in planned:
        found += [plan.model, plan.checkpoint, plan.pretrained, plan.inputs, plan.reference, plan.recipe]
        found += [path for _, path in plan.manifests]
    return [path for path in found if path]


def read_paths(report: Report) -> list[str]:
    """What was read for the reviews."""
    found: list[Any] = []
    for review in report.reviews:
        for role in review.subject.values():
            found += [role.get("path"), *(file.get("path") for file in role.get("files", ()))]
    return [str(path) for path in found if path]


class _Watcher:
    """Looks at paths. `seen` is what each looked like before the review that is on the screen began."""

    def __init__(self, own: frozenset[str]) -> None:
        self._own = own
        self._seen: dict[str, Any] = {}

    def follow(self, paths: Sequence[str], began: float) -> None:
        """Takes up the paths of a review that began then; one that was written to since counts as changed."""
        fresh = [path for path in paths if path not in self._seen]
        look = self._look(fresh)
        new = {path: _CHANGED if _last_change(path) >= began - _COARSE else look[path] for path in fresh}
        self._seen = {path: new[path] if path in new else self._seen[path] for path in paths}

    def wait(self) -> None:
        """Returns when a path has changed, and has stayed as it is from one look to the next."""
        while True:
            time.sleep(_PAUSE)
            now = self._look(self._seen)
            if now != self._seen:
                break
        while True:
            time.sleep(_PAUSE)
            self._seen, now = now, self._look(self._seen)
            if now == self._seen:
                return

    def _look(self, paths: Iterable[str]) -> dict[str, Any]:
        return {path: self._signature(path) for path in paths}

    def _signature(self, path: str) -> Any:
        """What is seen of a file, or of the files of a folder; None of what is not there."""
        if not os.path.isdir(path):
            return _status(path)
        found = []
        for folder, inside, names in os.walk(path):
            inside.sort()
            kept = (os.path.join(folder, name) for name in sorted(names))
            found += [(one, _status(one)) for one in kept if not self._is_own(one)]
            if len(found) > _MOST:
                break
        return found

    def _is_own(self, path: str) -> bool:
        """Whether a file is one that we write, or one on the way to become it: `.report.html.x1y2`."""
        folder, name = os.path.split(os.path.abspath(path))
        return os.path.join(folder, name) in self._own or any(
            name.startswith(f".{os.path.basename(own)}.") and os.path.dirname(own) == folder for own in self._own
        )


def _status(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _last_change(path: str) -> float:
    status = _status(path)
    return 0.0 if status is None or os.path.isdir(path) else status[0] / 1e9


def _clear() -> None:
    """An empty screen for the next report, where there is a screen."""
    if sys.stdout is not None and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        sys.stdout.write(_CLEAR)
