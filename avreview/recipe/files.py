"""The text files that a recipe is made of: opened safely, bounded, and noted with their digests."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from avreview.errors import ArtifactError
from avreview.load.source import open_source

if TYPE_CHECKING:
    from avreview.config.document import Document

MOST_BYTES = 8 << 20  # of one file
MOST_FILES = 200


class RecipeFiles:
    """Reads the files of one recipe. `digests` holds the sha256 of each by its path, in the order of reading."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}

    def read(self, path: str) -> str:
        """A regular file's text. Raises ArtifactError for one that is missing, too large, or not UTF-8."""
        return self.decode(path, self.content(path))

    def content(self, path: str) -> bytes:
        """A regular file's bytes. Raises ArtifactError."""
        path = os.path.normpath(path)
        if path not in self.digests and len(self.digests) >= MOST_FILES:
            raise ArtifactError(path, f"is one file more than the {MOST_FILES} a recipe may consist of", "shorten it")
        source = open_source(path, "recipe file")
        if source.size > MOST_BYTES:
            wrong = f"is larger than {MOST_BYTES >> 20} MB, which no recipe is"
            raise ArtifactError(path, wrong, "pass the file with the training settings")
        content = bytes(source.read(0, source.size))
        self.digests[path] = hashlib.sha256(content).hexdigest()
        return content

    @staticmethod
    def decode(path: str, content: bytes) -> str:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ArtifactError(path, f"line {line} is not UTF-8", "save the recipe as UTF-8") from None


class RecipeError(ArtifactError):
    """A recipe cannot be read: names the file, the line where there is one, what is wrong and what to do."""

    def __init__(self, path: str, line: int | None, wrong: str, remedy: str, column: int | None = None) -> None:
        super().__init__(
            ":".join([path, *(str(place) for place in (line, column) if place is not None)]), wrong, remedy
        )
        self.path = path
        self.line = line


def plain_document(path: str, text: str) -> Document:
    """The YAML or JSON document in a recipe's text: plain, bounded data with the place of every value.

    Other programs wrote it, so that aliases and keys that stand twice (the last counts) are taken. Raises RecipeError
    for tags, exploding aliases and whatever else is no plain YAML.
    """
    from avreview.config.document import ConfigError, parse_document

    try:
        return parse_document(path, text, lenient=True)
    except ConfigError as error:
        line, column = error.mark if error.mark is not None else (None, None)
        raise RecipeError(path, line, error.wrong, "mend it there", column) from None
