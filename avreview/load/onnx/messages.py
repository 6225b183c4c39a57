"""What the messages of an ONNX file say, as far as a review needs it. Weights are places in the file, never read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from avreview.artifact import ValueInfo
from avreview.load.wire import BYTES


class DataField(NamedTuple):
    """A field that holds a tensor's elements: how often it occurs, and its last occurrence, absolute in the file."""

    occurrences: int
    kind: int
    start: int
    end: int

    @property
    def is_empty(self) -> bool:
        """True for a field that is there and holds nothing, which is as good as none."""
        return self.kind == BYTES and self.start == self.end and self.occurrences == 1


@dataclass(slots=True, eq=False)
class RawTensor:
    """A TensorProto: its header, and where its elements are. `span` is the message itself, absolute in the file."""

    span: tuple[int, int]
    name: str = ""
    dims: tuple[int, ...] = ()
    data_type: int = 0
    data: dict[int, DataField] = field(default_factory=dict)  # by field number
    external: dict[str, str] | None = None
    is_external: bool = False


@dataclass(slots=True, eq=False)
class RawSparseTensor:
    values: RawTensor
    indices: RawTensor
    dims: tuple[int, ...]


@dataclass(slots=True, eq=False)
class RawGraph:
    """A GraphProto. The declared types of inner values stay in `spans` until somebody asks for them."""

    nodes: list[RawNode] = field(default_factory=list)
    initializers: list[RawTensor] = field(default_factory=list)
    sparse_initializers: list[RawSparseTensor] = field(default_factory=list)
    inputs: list[ValueInfo] = field(default_factory=list)
    outputs: list[ValueInfo] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)
    spans: list[tuple[int, int]] = field(default_factory=list)


class AttributeReference(NamedTuple):
    """An attribute of a function's node that takes its value from the call."""

    name: str


class RawNode(NamedTuple):
    """A NodeProto. `unresolved` names the attributes that hold tensors, graphs or references to a call's."""

    op: str
    domain: str
    name: str
    overload: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    unresolved: tuple[str, ...]
    metadata: Mapping[str, str] | None


@dataclass(slots=True, eq=False)
class RawFunction:
    name: str = ""
    domain: str = ""
    overload: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[RawNode] = field(default_factory=list)
    opsets: dict[str, int] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    pieces: int = 0  # nodes, names and attributes: what one call of it costs

    @property
    def identity(self) -> tuple[str, str, str]:
        return self.domain, self.name, self.overload


@dataclass(slots=True, eq=False)
class RawModel:
    ir_version: int = 0
    producer: str = ""
    producer_version: str = ""
    graph: RawGraph | None = None
    opsets: dict[str, int] = field(default_factory=dict)
    functions: list[RawFunction] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


class LazyMapping(Mapping[str, Any]):
    """A mapping that is read from the file when it is first asked for anything."""

    __slots__ = ("_entries", "_read")

    def __init__(self, read: Callable[[], Mapping[str, Any]]) -> None:
        self._read = read
        self._entries: Mapping[str, Any] | None = None

    def _known(self) -> Mapping[str, Any]:
        if self._entries is None:
            self._entries = self._read()
        return self._entries

    def __getitem__(self, key: str) -> Any:
        return self._known()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())
