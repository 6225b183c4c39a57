"""sha256 of the files under review, worked out beside the review itself."""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from avreview.errors import ArtifactError
from avreview.load.source import Source

if TYPE_CHECKING:
    from avreview.artifact import Artifact

_CHUNK = 1 << 22  # hashed without the interpreter: each further chunk waits until the review lets go of it


class Digest:
    """The sha256 of a file, computed in a thread: hashing leaves the interpreter to others."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def size(self) -> int:
        """The number of bytes that are hashed."""
        return self._source.size

    def _run(self) -> None:
        try:
            for chunk in self._source.chunks(0, self._source.size, _CHUNK):
                self._hash.update(chunk.data)
        except (OSError, ArtifactError) as failure:
            self._failure = failure

    def hexdigest(self) -> str:
        """The digest, waited for. Raises the OSError or ArtifactError that stopped the reading."""
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        return self._hash.hexdigest()


def note_file(artifact: Artifact, source: Source) -> None:
    """Notes a further file that was read for an artifact, so that the report names it with its digest."""
    artifact.digests = {**artifact.digests, source.path: Digest(source)}
    artifact.provenance = artifact.provenance._replace(files=(*artifact.provenance.files, source.path))
