"""What an export's outputs are compared with: a torch module, another ONNX file, or recorded arrays."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from avreview.errors import ArtifactError
from avreview.load import open_artifact
from avreview.probes.child.compare import arrays
from avreview.probes.child.live import Live, open_live
from avreview.probes.child.recorded import Recorded
from avreview.probes.child.refusal import Refused, reason
from avreview.probes.child.runtime import Runtime
from avreview.probes.compared import FULL, HALF
from avreview.probes.precision import precision_of

Array = np.ndarray[Any, Any]
Outputs = Mapping[str, Array] | Sequence[Array]
_HALVES = ("float16", "bfloat16")


class Reference(Protocol):
    """What computes, or has recorded, the outputs that an export should have.

    `kind` says what it is in words; `precision` is `full`, `half` or `quantized`.
    """

    kind: str
    precision: str

    def feeds(self) -> Iterator[dict[str, Array]]:
        """The inputs that come with it, by the graph's names; none where it takes any."""
        ...

    def run(self, feed: Mapping[str, Array]) -> Outputs:
        """Its outputs. Raises Refused."""
        ...


class LiveReference:
    """A torch module."""

    def __init__(self, live: Live, kind: str, names: Sequence[str]) -> None:
        self.live = live
        self.kind = kind
        self._names = names
        self.precision = FULL
        held = [str(tensor.dtype) for tensor in getattr(live.module, "parameters", list)()]
        if any(dtype.endswith(_HALVES) for dtype in held):
            self.precision = HALF

    def feeds(self) -> Iterator[dict[str, Array]]:
        """The factory's example, where it holds one array for each input."""
        from torch.utils import _pytree

        from avreview.probes.child.leaves import to_array

        held = _pytree.tree_leaves(self.live.example) if self.live.example is not None else []
        if self._names and len(held) == len(self._names):
            found = [to_array(value) if hasattr(value, "detach") else np.asarray(value) for value in held]
            if isinstance(self.live.example, dict) and set(self.live.example) == set(self._names):
                yield dict(zip(self.live.example, found, strict=True))
            else:
                yield dict(zip(self._names, found, strict=True))

    def run(self, feed: Mapping[str, Array]) -> Outputs:
        return self.live.call(feed, [name for name in self._names if name in feed])


class OnnxReference:
    """Another ONNX file."""

    kind = "an ONNX file"

    def __init__(self, path: str, names: Sequence[str]) -> None:
        self.runtime = Runtime(path, what="the reference")
        self.precision = precision_of(self.runtime.graph).kind
        inputs = [info.name for info in self.runtime.graph.inputs if info.name not in self.runtime.graph.overridable]
        if set(names) != set(inputs) and len(names) != len(inputs):
            raise Refused(f"the reference takes {len(inputs)} inputs, the export {len(names)}")
        order = names if set(names) == set(inputs) else inputs
        self.renamed = dict(zip(names, order, strict=True))
        self._dtypes = {info.name: info.dtype for info in self.runtime.graph.inputs}
        try:
            self._session = self.runtime.session()
        except MemoryError:
            raise
        except Exception as error:
            raise _told(error) from None

    def feeds(self) -> Iterator[dict[str, Array]]:
        return iter(())

    def own(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """A feed under the reference's own input names, floating-point numbers in its own types."""
        found = {}
        for name, array in feed.items():
            dtype = self._dtypes.get(self.renamed[name])
            different = dtype is not None and dtype != array.dtype.name and dtype in ("float16", "float32", "float64")
            is_float = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
            found[self.renamed[name]] = array.astype(dtype) if different and is_float else array
        return found

    def run(self, feed: Mapping[str, Array]) -> Outputs:
        try:
            return arrays(self._session.run(self.own(feed)))
        except MemoryError:
            raise
        except Exception as error:
            raise _told(error) from None


def _told(error: Exception) -> Exception:
    said = None if isinstance(error, Refused) else reason(error)
    return Refused(f"of the reference: {said}") if said is not None else error


def open_reference(reference: str, names: Sequence[str], outputs: Sequence[str], batch: int | None = None) -> Reference:
    """What `--reference` names; `names` are the graph's inputs in order, `outputs` its outputs. Raises Refused.

    `batch` is the number of samples that the graph fixes.
    """
    if not os.path.exists(reference):
        return LiveReference(open_live(reference), f"the module of {reference}", names)
    if _is_recorded(reference):
        return Recorded(reference, names, outputs, batch)
    try:
        found = open_artifact(reference)
    except ArtifactError:
        pass  # said below, in the words for references
    else:
        if found.provenance.format == "onnx":
            return OnnxReference(os.path.abspath(reference), names)
        if found.provenance.format in _KINDS:
            return LiveReference(open_live(reference), _KINDS[found.provenance.format], names)
    return LiveReference(open_live(reference), "", names)


_KINDS = {"torchscript": "a TorchScript file", "pt2": "an exported program"}


def _is_recorded(path: str) -> bool:
    """Whether a file is an .npz archive, by its content."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)
