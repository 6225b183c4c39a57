"""The time of a report: now, or what SOURCE_DATE_EPOCH says, so that a report can be made again byte for byte."""

from __future__ import annotations

import os
import time

from avreview.errors import UsageError

_VARIABLE = "SOURCE_DATE_EPOCH"  # https://reproducible-builds.org/specs/source-date-epoch/
_DIGITS = 11  # up to the year 5138


def now() -> time.struct_time:
    """The time in UTC. Raises UsageError where SOURCE_DATE_EPOCH is no time."""
    epoch = os.environ.get(_VARIABLE, "")
    if not epoch:
        return time.gmtime()
    if not (epoch.isascii() and epoch.isdecimal()) or len(epoch) > _DIGITS:
        raise UsageError(f"{_VARIABLE} is {epoch[:40]!r}, not a number of seconds since 1970; set it right or unset it")
    return time.gmtime(int(epoch))


def timestamp() -> str:
    """The same as RFC 3339 writes it: `2026-11-22T08:19:00Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", now())
