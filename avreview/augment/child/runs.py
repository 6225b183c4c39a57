"""Running a person's augmentation once: on a scene of its own, under a seed, within its time, with its faults told."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from avreview.augment.child.adapters import Apply
from avreview.augment.child.returned import BadScene
from avreview.augment.child.seeding import seed_everything, seedable
from avreview.augment.child.usercode import defined, said_by


class Failed(Exception):  # noqa: N818 - what an augmentation did, for the report
    """The augmentation raised, hung or gave back no scene; the text is the line for the person."""


class OutOfTime(BaseException):
    """Raised inside the augmentation when its time is over; no Exception, so that it does not catch it as its own."""


class Runner:
    """An augmentation within a time, of which all its runs have to share `seconds`."""

    def __init__(self, apply: Apply, read: Callable[[Any], Any], seconds: float) -> None:
        self._apply = apply
        self._read = read
        self._seconds = seconds
        self._ends = time.monotonic() + seconds

    def __call__(self, scene: Any, seed: int) -> Any:
        """What the augmentation makes of a copy of a scene. Raises Failed."""
        try:
            with np.errstate(all="ignore"), _limited(self._ends - time.monotonic()):
                returned = self._seeded(scene, seed)
            return self._read(returned)
        except BadScene as bad:
            where = defined(self._apply)
            raise Failed(f"{bad} ({where})" if where else str(bad)) from None
        except MemoryError:
            raise
        except OutOfTime as late:
            where = said_by(late).removeprefix("OutOfTime").strip()
            raise Failed(f"did not finish within {self._seconds:.3g} s {where}".strip()) from None
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            raise Failed(f"raised {said_by(error)}") from None

    def _seeded(self, scene: Any, seed: int) -> Any:
        """One run; another where the first imported a library whose generator could not be seeded before."""
        known = seedable()
        returned = self._once(scene, seed)
        return returned if seedable() == known else self._once(scene, seed)

    def _once(self, scene: Any, seed: int) -> Any:
        given = copied(scene)
        seed_everything(seed)
        return self._apply(given, seed)


def copied(value: Any) -> Any:
    """A scene, or a list of scenes, whose arrays may be changed in place."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Mapping):
        return {key: copied(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [copied(entry) for entry in value]
    return value


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in what runs inside after that time, where the system has such a clock."""
    if seconds <= 0:
        raise OutOfTime
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: Any) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)  # again, for what swallows the first
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def difference(one: Any, other: Any, at: str = "the scene") -> tuple[float, str]:
    """The largest difference between two results, and where; what cannot be subtracted counts 1."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) != set(other):
            return 1.0, f"the keys of {at}"
        pairs: Any = [(one[key], other[key], str(key)) for key in one]
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return float(abs(len(one) - len(other))), f"the number of {at}"
        pairs = [(left, right, at) for left, right in zip(one, other, strict=True)]
    else:
        return _apart(one, other), at
    return max((difference(*pair) for pair in pairs), key=lambda found: found[0], default=(0.0, at))


def _apart(one: Any, other: Any) -> float:
    left, right = np.asarray(one), np.asarray(other)
    if left.dtype.kind not in "biuf" or right.dtype.kind not in "biuf":
        same = left.dtype.kind not in "US" or right.dtype.kind not in "US" or np.array_equal(left, right)
        return 0.0 if same else 1.0
    if left.shape != right.shape:
        return float(max(1, abs(left.size - right.size)))
    if not left.size:
        return 0.0
    apart = np.abs(left.astype(np.float64) - right.astype(np.float64))
    unlike = np.isnan(left.astype(np.float64)) != np.isnan(right.astype(np.float64))
    return max(float(np.nan_to_num(apart, nan=0.0, posinf=0.0).max()), float(unlike.any()))
