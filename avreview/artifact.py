"""The artifact model: what a loader hands on, whatever the format of the file was.

Nothing here knows a file format; nothing here runs code from a file. Tensors are views that read on demand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np

    from avreview.checkpoint import Checkpoint

CHUNK_ELEMENTS = 65_536  # stays in the second-level cache while several reductions pass over it


class Storage(Protocol):
    """Where a tensor's bytes are."""

    def array(self) -> np.ndarray[Any, Any]:
        """All elements, flat; mapped rather than copied where the file allows it."""
        ...

    def chunks(self, elements: int) -> Iterator[np.ndarray[Any, Any]]:
        """The elements in order, at most `elements` at a time, through one reused buffer: copy what you keep."""
        ...

    def part(self, start: int, count: int) -> np.ndarray[Any, Any]:
        """`count` elements from `start` on, flat, as a copy that leaves no mapped pages behind."""
        ...

    def heads(self, rows: int, length: int) -> np.ndarray[Any, Any]:
        """The first `length` elements of each of `rows` equal rows, [rows, length], as such a copy."""
        ...


class Quantization(NamedTuple):
    """How the integers of a quantized tensor stand for numbers: (integer − zero point) × scale.

    `scale` and `zero_point` hold one number, or one a slice along `axis`.
    """

    scale: tuple[float, ...]
    zero_point: tuple[float, ...]
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Tensor:
    """A named array in the file.

    `dtype` is numpy's or ml_dtypes' name (`float32`, `bfloat16`, `float8_e4m3fn`, `int4`), or `string`; a tensor
    with `quantization` holds integers.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    storage: Storage
    quantization: Quantization | None = None

    @property
    def size(self) -> int:
        """The number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def is_floating(self) -> bool:
        return self.dtype.startswith(("float", "bfloat"))

    def read(self) -> np.ndarray[Any, Any]:
        """The whole array in its shape, on a memory map where the file allows it."""
        return self.storage.array().reshape(self.shape)

    def chunks(self, elements: int = CHUNK_ELEMENTS) -> Iterator[np.ndarray[Any, Any]]:
        """The elements, flat and in order, through one reused buffer: copy what you keep."""
        return self.storage.chunks(elements)

    def part(self, start: int, count: int) -> np.ndarray[Any, Any]:
        """`count` elements from `start` on, flat, as a copy that leaves no mapped pages behind."""
        return self.storage.part(start, count)

    def heads(self, rows: int, length: int) -> np.ndarray[Any, Any]:
        """The first `length` elements of each of `rows` equal rows, [rows, length], as such a copy."""
        return self.storage.heads(rows, length)

    def copy(self) -> np.ndarray[Any, Any]:
        """The whole array in its shape, as a copy: what a mapped view touches stays resident, a copy is freed."""
        return self.part(0, self.size).reshape(self.shape)


class ValueInfo(NamedTuple):
    """The declared type of a value: `dims` holds an int, a symbol, or None where nothing is declared.

    `dims` itself is None when not even the rank is declared; `dtype` is None for what is not a tensor.
    """

    name: str
    dtype: str | None
    dims: tuple[int | str | None, ...] | None


class Node:
    """One operator application. Values are named by keys that are unique over all scopes of the graph.

    A node of a subgraph or a local function stands in the same list as every other; `scope` tells where it is
    written. A control-flow node lists the results of its branches behind its own inputs (`branch_results`), so
    that data can be followed out of them.
    """

    __slots__ = (
        "_metadata", "attributes", "branch_results", "domain", "index", "inputs", "name", "op", "outputs", "scope",
        "version",
    )  # fmt: skip

    def __init__(
        self,
        op: str,
        domain: str,
        name: str,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        attributes: Mapping[str, Any],
        *,
        version: int,
        scope: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self.op = op
        self.domain = domain  # "" is the ONNX standard's own
        self.name = name
        self.inputs = inputs
        self.outputs = outputs
        self.attributes = attributes
        self.version = version  # the opset in force for the node's domain
        self.scope = scope
        self._metadata = metadata
        self.branch_results: tuple[str, ...] = ()
        self.index = -1  # place in the graph's order

    def __repr__(self) -> str:
        return f"<{self.op} {self.name or self.outputs[:1]}>"

    @property
    def metadata(self) -> Mapping[str, str]:
        return self._metadata or {}

    def input(self, place: int) -> str:
        """The key of an input, or "" where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""

    @property
    def label(self) -> str:
        """The node's name; for a nameless one its operator and what it produces."""
        own = self.name or f"{self.op}({next((o for o in self.outputs if o), '')})"
        return f"{self.scope}/{own}" if self.scope and not own.startswith(self.scope) else own


@dataclass(slots=True)
class Graph:
    """An ONNX graph with its subgraphs and local functions laid flat, in an order in which data flows forward.

    `constants` are the values the file fixes: initializers and Constant nodes. `overridable` are those that are
    also inputs, so that a caller may replace them.
    """

    nodes: list[Node]
    inputs: list[ValueInfo]
    outputs: list[ValueInfo]
    constants: dict[str, Tensor]
    overridable: frozenset[str]
    opsets: dict[str, int]
    values: Mapping[str, ValueInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    producer: dict[str, Node] = field(default_factory=dict)
    consumers: dict[str, list[Node]] = field(default_factory=dict)


class Provenance(NamedTuple):
    """Where an artifact comes from, as its file says."""

    path: str
    format: str  # `onnx`, `pytorch-zip`, `pytorch-legacy`, `torchscript`, `pt2`, `safetensors`, `huggingface`, `dcp`
    bytes: int
    producer: str | None = None
    details: Mapping[str, Any] = {}
    files: Sequence[str] = ()  # further files that were read: external data, shards, what stands in a folder


class Digest(Protocol):
    """A file's sha256, being computed."""

    @property
    def size(self) -> int:
        """The file's size in bytes."""
        ...

    def hexdigest(self) -> str:
        """Waits for it."""
        ...


@dataclass(slots=True)
class Artifact:
    """One reviewed file or folder."""

    provenance: Provenance
    tensors: Mapping[str, Tensor]
    graph: Graph | None = None
    checkpoint: Checkpoint | None = None
    limitations: list[str] = field(default_factory=list)  # what could not be seen in the file, and why
    digests: Mapping[str, Digest] = field(default_factory=dict)  # by path
