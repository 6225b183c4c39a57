"""A reference that was run elsewhere: an .npz file with arrays named as the graph's inputs and outputs."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from avreview.load.wording import one_line, quoted
from avreview.probes.child.refusal import Refused
from avreview.probes.compared import FULL, HALF

Array = np.ndarray[Any, Any]
_HOW = "record arrays named as the graph's inputs and outputs with numpy.savez"


class Recorded:
    """The arrays of an .npz file. Raises Refused where an input or every output is missing, with the names wanted."""

    kind = "the recorded outputs"

    def __init__(self, path: str, names: Sequence[str], outputs: Sequence[str], batch: int | None = None) -> None:
        held = _read(path, {*names, *outputs})
        label = quoted(os.path.basename(path))
        lacking = [name for name in names if name not in held]
        if lacking:
            raise Refused(f"{label} has no array for the input {quoted(lacking[0])}; {_HOW}")
        self._inputs = {name: held[name] for name in names}
        self._outputs = {name: held[name] for name in outputs if name in held}
        if not self._outputs:
            raise Refused(f"{label} has no array for the output {quoted(outputs[0])}; {_HOW}")
        halves = [array.dtype == np.float16 for array in self._outputs.values() if array.dtype.kind == "f"]
        self.precision = HALF if halves and all(halves) else FULL
        self._parts = self._split(batch)
        self._at = self._parts[0]

    def feeds(self) -> Iterator[dict[str, Array]]:
        """The recorded inputs, in parts of the batch that the graph fixes."""
        for part in self._parts:
            self._at = part
            yield {name: array[part] if array.ndim else array for name, array in self._inputs.items()}

    def run(self, feed: Mapping[str, Array]) -> Mapping[str, Array]:
        """What was recorded for the feed that was given last."""
        return {name: array[self._at] if array.ndim else array for name, array in self._outputs.items()}

    def _split(self, batch: int | None) -> list[slice]:
        """Parts of `batch` samples, where every array holds one and the same multiple of them."""
        held = [*self._inputs.values(), *self._outputs.values()]
        counts = {array.shape[0] if array.ndim else 0 for array in held}
        total = next(iter(counts))
        if batch is None or len(counts) > 1 or total <= batch or total % batch:
            return [slice(None)]
        return [slice(start, start + batch) for start in range(0, total, batch)]


def _read(path: str, wanted: set[str]) -> dict[str, Array]:
    label = quoted(os.path.basename(path))
    found: dict[str, Array] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in wanted & set(archive.files):
                found[name] = archive[name]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, KeyError, NotImplementedError) as error:
        if "Object arrays" in str(error):
            raise Refused(f"{label} holds Python objects, which are not read; save plain arrays") from None
        raise Refused(f"{label} cannot be read as an .npz file ({one_line(str(error), 120)})") from None
    return found
