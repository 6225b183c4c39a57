"""The model in ONNX Runtime: sessions with graph optimizations off or on, and with further values made outputs."""

from __future__ import annotations

import math
import mmap
import os
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from avreview.artifact import Graph
from avreview.probes.child.refusal import Refused
from avreview.stages import stage

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

# Types that numpy has not: TensorProto.DataType, and what holds their bits on the way into the runtime.
_SPECIAL = {
    "bfloat16": (16, "uint16"), "float8_e4m3fn": (17, "uint8"), "float8_e4m3fnuz": (18, "uint8"),
    "float8_e5m2": (19, "uint8"), "float8_e5m2fnuz": (20, "uint8"),
}  # fmt: skip
_ACTIVE_DROPOUT = "EliminateDropout"  # the optimization that deletes dropout, even one that drops


class Session:
    """A session on the CPU. `outputs` are the model's own, `taps` what was added to them."""

    def __init__(self, runtime: Runtime, session: Any, taps: Sequence[str]) -> None:
        self._runtime = runtime
        self._session = session
        self.taps = list(taps)
        self.outputs = [value.name for value in session.get_outputs() if value.name not in set(taps)]

    def run(self, feed: Mapping[str, Array], wanted: Sequence[str] | None = None) -> dict[str, Any]:
        """The outputs and taps by name, or the `wanted` ones alone. Raises what ONNX Runtime raises."""
        names = [*self.outputs, *self.taps] if wanted is None else list(wanted)
        self._runtime.says_running()
        handed = {name: _handed_over(array) for name, array in feed.items()}
        found = self._session.run(names, handed)
        self._runtime.has_run = True
        return dict(zip(names, found, strict=True))


class Runtime:
    """One ONNX file, and `seconds` for all that is done with it; `what` names it where the child says what it is at."""

    def __init__(self, path: str, seconds: float = math.inf, what: str = "the model") -> None:
        self.path = path
        self._what = what
        self.has_run = False
        self._half = time.monotonic() + seconds / 2

    @property
    def is_late(self) -> bool:
        """Whether half of the time is gone: what was found by then is worth more than a closer look at it."""
        return time.monotonic() > self._half

    def says_running(self) -> None:
        """Says that the child runs it: a first run that never ends is one that no probe gets past."""
        stage(f"running {self._what}{' again' if self.has_run else ''}")

    @cached_property
    def graph(self) -> Graph:
        """The flat graph, as the parent's facts see it."""
        from avreview.load import open_artifact

        graph = open_artifact(self.path).graph
        assert graph is not None
        return graph

    def tappable(self, key: str) -> bool:
        """Whether a value can be made an output: it stands at the top level and is none yet."""
        return bool(key) and "\x1f" not in key and key in self.graph.producer and key not in self._outputs

    @cached_property
    def _outputs(self) -> frozenset[str]:
        return frozenset(info.name for info in self.graph.outputs)

    def session(
        self,
        *,
        optimized: bool | str = False,
        without: Sequence[str] = (),
        taps: Sequence[str] = (),
        addition: bytes = b"",
        model: bytes | None = None,
    ) -> Session:
        """A session on the model (or on `model`, another form of it).

        `optimized` may name a level, `BASIC` or `EXTENDED`, and `without` names optimizations that stay off.
        `taps` are made outputs as well. `addition` is a serialized ModelProto whose graph's nodes and outputs are
        added: protobuf joins messages that are written one behind the other, so the weights need not be parsed for it.
        ONNX Runtime takes the last of the nodes that nothing reads first, and before it only what it needs: written
        against the data flow, each reduction runs right behind what it reduces, which is then freed.
        """
        stage(f"loading {self._what}")
        ort = _onnxruntime()
        options = ort.SessionOptions()
        level = f"ENABLE_{optimized}" if isinstance(optimized, str) else "ENABLE_ALL" if optimized else "DISABLE_ALL"
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
        options.log_severity_level = 4
        options.add_session_config_entry(
            "session.model_external_initializers_file_folder_path", os.path.dirname(self.path)
        )
        extra = addition + b"".join(map(_output, taps))
        content: str | bytes = self.path
        if extra or model is not None:
            content = (self._content() if model is None else model) + extra
        session = ort.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], disabled_optimizers=[_ACTIVE_DROPOUT, *without]
        )
        return Session(self, session, taps)

    def _content(self) -> bytes:
        with open(self.path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            return buffer[:]


def _handed_over(array: Array) -> Any:
    """An array as the runtime takes it."""
    if array.dtype.name not in _SPECIAL:
        return array
    kind, bits = _SPECIAL[array.dtype.name]
    return _onnxruntime().OrtValue.ortvalue_from_numpy_with_onnx_type(array.view(bits), kind)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise Refused(f"needs ONNX Runtime ({error}); pip install onnxruntime") from None
    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def _output(name: str) -> bytes:
    """A ModelProto that holds a graph with one output of that name and nothing else."""
    encoded = name.encode("utf-8", "surrogatepass")
    return _field(7, _field(12, _field(1, encoded)))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of the protobuf wire format."""
    length, size = bytearray(), len(content)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes((number << 3 | 2,)) + bytes(length) + content
