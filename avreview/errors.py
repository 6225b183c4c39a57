"""What stops a review: one clear line, and exit code 2."""

from __future__ import annotations

import os


class AvreviewError(Exception):
    """The review could not be done. Its text is the one line that the person sees."""


class UsageError(AvreviewError):
    """The command line asks for something that does not exist."""


class ArtifactError(AvreviewError):
    """A file cannot be reviewed: names the file, what is wrong and what to do about it."""

    def __init__(self, path: str | os.PathLike[str], wrong: str, remedy: str) -> None:
        self.path = os.fspath(path)
        self.wrong = wrong
        self.remedy = remedy
        super().__init__(f"{self.path}: {wrong}; {remedy}")
