"""Reading a pickle that torch wrote: the pickle machine with torch's names and storages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from mmap import mmap
from typing import Any, NamedTuple

from avreview.checkpoint import NamedCode
from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.pickles.machine import PickleError, PickleLimits, Unpickled, unpickle
from avreview.load.pytorch.globals import Globals
from avreview.load.pytorch.tensors import Tensors
from avreview.load.source import MemorySource

_DEEPEST = 3  # a storage that plain pickle wrote is a checkpoint in the pickle; one more inside it is already odd
_NESTED_ROOM = 1 << 16  # bytes that such a one may take at least


class TorchFile(NamedTuple):
    """What a file that torch wrote holds, before anybody asks which of it are weights."""

    value: Any
    format: str
    code: Sequence[NamedCode] = ()
    oddities: Sequence[str] = ()
    limitations: Sequence[str] = ()
    details: Mapping[str, Any] = {}


class PickleReader:
    """Reads the pickles of one file. `nested` is what reads a whole checkpoint that one of them holds as bytes."""

    def __init__(self, tensors: Tensors, context: OpenContext, depth: int = 0) -> None:
        self.tensors = tensors
        self.code: list[NamedCode] = []
        self.limitations: list[str] = []
        self.oddities: list[str] = []
        self._context = context
        self._depth = depth
        self._nested_room = context.memory

    def read(
        self, data: bytes | mmap, start: int = 0, *, file: str = "", persistent: Callable[[Any], Any] | None = None
    ) -> Unpickled:
        """The pickle at `start`, which stands in the member `file`. Raises ArtifactError when it cannot be read."""
        from avreview.load.pickles.builders import BUILDERS

        known = Globals(self.tensors, file)
        builders = {**BUILDERS, **known.builders, ("torch.storage", "_load_from_bytes"): self._storage}
        limits = PickleLimits(memory=self._context.memory)
        try:
            found = unpickle(data, start, file=file, persistent=persistent, builders=builders, limits=limits)
        except PickleError as error:
            raise ArtifactError(self.tensors.source.path, str(error), "save the checkpoint again") from None
        self.code += [*found.code, *known.code]
        return found

    def _storage(self, raw: Any) -> Any:
        """What plain `pickle` makes of a storage: a checkpoint of its own."""
        from avreview.load.pytorch.file import read_torch

        if not isinstance(raw, bytes):
            raise ValueError("no bytes")
        room = min(64 * len(raw) + _NESTED_ROOM, self._nested_room)
        self._nested_room -= room
        if self._depth == _DEEPEST or room <= 0:
            raise ValueError("checkpoints inside one another")
        source = MemorySource(self.tensors.source.path, raw)
        inner = read_torch(source, self._context._replace(memory=room), self._depth + 1)
        self.code += inner.code
        self.limitations += inner.limitations
        self.oddities += inner.oddities
        return inner.value

    def file(self, value: Any, form: str, oddities: Sequence[str], details: Mapping[str, Any]) -> TorchFile:
        """What was read, with all that was noted on the way."""
        limitations = [*self.limitations, *self.tensors.limitations]
        return TorchFile(value, form, self.code, [*oddities, *self.oddities], limitations, details)


def protocol(pickle: bytes) -> int:
    """The pickle protocol that its first opcode names; 1 stands for 0 as well, which names none."""
    return pickle[1] if pickle[:1] == b"\x80" and len(pickle) > 1 else 1
