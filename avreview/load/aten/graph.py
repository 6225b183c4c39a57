"""Building a graph in ONNX's terms from the operator calls of a PyTorch program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.artifact import Graph, Node, Tensor, ValueInfo
from avreview.load.onnx.order import consumers, producers
from avreview.load.storage import ValueStorage

OPSET = 20  # the rules of ONNX by which the nodes are to be read
DOMAIN = "torch"  # of an operator that has no counterpart
SCOPES = "pkg.torch.onnx.name_scopes"  # what PyTorch's own exporter calls the modules around a node
FX_NODE = "pkg.torch.onnx.fx_node"
SIGNATURE = "pkg.torch.export.ExportedProgram.graph_signature"


class Value:
    """A tensor, or a number that is known at run time only: the key of a value of the graph."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key


class Call(NamedTuple):
    """One operator call: `aten::batch_norm` with its arguments by name, defaults filled in.

    `outputs` are the keys of its results; a result that is a list of tensors has a tuple of keys. `modules` are the
    paths of the modules around it, outermost first; `scope` is the control-flow node that it stands in.
    """

    op: str
    overload: str
    arguments: Mapping[str, Any]
    outputs: tuple[str | tuple[str, ...], ...]
    name: str
    modules: tuple[str, ...] = ()
    scope: str = ""

    @property
    def target(self) -> str:
        """The operator as torch names it."""
        return f"torch.ops.{self.op.replace('::', '.')}.{self.overload or 'default'}"


class GraphBuilder:
    """Collects nodes. Between `begin` and `end` they belong to one call of the program."""

    def __init__(self, values: dict[str, ValueInfo], constants: dict[str, Tensor]) -> None:
        self.values = values
        self.constants = constants
        self.nodes: list[Node] = []
        self.producer: dict[str, Node] = {}
        self._numbers: dict[Any, str] = {}
        self._fresh = 0
        self._first = 0
        self.call = Call("", "", {}, (), "")
        self._metadata: dict[tuple[str, ...], dict[str, str]] = {}

    def begin(self, call: Call) -> None:
        self.call = call
        self._first = len(self.nodes)

    def undo(self) -> None:
        """Takes back the nodes of the present call."""
        for key in self.made():
            del self.producer[key]
        del self.nodes[self._first :]

    def end(self) -> None:
        """Names the nodes of the present call: the last one as the program does, those before it by their place."""
        for place, node in enumerate(self.nodes[self._first : -1]):
            node.name = f"{self.call.name}_{place}"

    def made(self) -> set[str]:
        """The values that the present call made."""
        return {key for node in self.nodes[self._first :] for key in node.outputs}

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives values of the present call the names that the program has for them."""
        for node in self.nodes[self._first :]:
            node.inputs = tuple(names.get(key, key) for key in node.inputs)
            node.outputs = tuple(names.get(key, key) for key in node.outputs)
            self.producer.update(dict.fromkeys(node.outputs, node))

    def node(self, op: str, *inputs: Any, domain: str = "", **attributes: Any) -> str:
        """A node with one result, whose key is returned."""
        return self.nodes_result(op, inputs, 1, domain, attributes)[0]

    def several(self, op: str, *inputs: Any, count: int, **attributes: Any) -> tuple[str, ...]:
        """A node with `count` results."""
        return self.nodes_result(op, inputs, count, "", attributes)

    def nodes_result(
        self, op: str, inputs: Sequence[Any], count: int, domain: str, attributes: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """A node of any kind; inputs may be keys, Values, numbers and None."""
        call = self.call
        keys = tuple(self.key(entry) for entry in inputs)
        outputs = tuple(self._new_key() for _ in range(count))
        present = {name: value for name, value in attributes.items() if value is not None}
        node = Node(
            op, domain, call.name, keys, outputs, present, version=OPSET if not domain else 0, scope=call.scope,
            metadata=self._metadata_of(call),
        )  # fmt: skip
        self.nodes.append(node)
        self.producer.update(dict.fromkeys(outputs, node))
        return outputs

    def _new_key(self) -> str:
        self._fresh += 1
        return f"{self.call.name}\x1f{self._fresh}"  # no program writes such a name

    def _metadata_of(self, call: Call) -> dict[str, str]:
        """The record that PyTorch's exporter leaves with a node. Calls of one operator in one module share it."""
        place = (call.target, *call.modules)
        known = self._metadata.get(place)
        if known is None:
            known = {FX_NODE: call.target}
            if call.modules:
                known[SCOPES] = repr([*call.modules, call.op])
            self._metadata[place] = known
        return known

    def key(self, entry: Any) -> str:
        """The key of an input: "" for one left out; a number becomes a constant."""
        if entry is None:
            return ""
        if isinstance(entry, Value):
            return entry.key
        if isinstance(entry, (bool, int, float)):
            return self.number(entry)
        if isinstance(entry, str):
            return entry
        raise TypeError(f"{type(entry).__name__} is no input")

    def number(self, value: bool | int | float) -> str:
        """A constant that holds one number."""
        dtype = "bool" if isinstance(value, bool) else "int64" if isinstance(value, int) else "float32"
        return self._constant((value,), (), dtype)

    def integers(self, numbers: Sequence[Any]) -> str:
        """A list of integers; one that holds run-time numbers is computed from them."""
        if all(isinstance(entry, int) for entry in numbers):
            return self._constant(tuple(numbers), (len(numbers),), "int64")
        parts = [
            self.node("Unsqueeze", entry, self.integers([0])) if isinstance(entry, Value) else self.integers([entry])
            for entry in numbers
        ]
        return self.node("Concat", *parts, axis=0)

    def filled(self, shape: str, value: float) -> str:
        """A tensor of a computed shape that holds one number throughout."""
        number = Tensor("", (1,), "float32", ValueStorage((value,), "float32"))
        return self.node("ConstantOfShape", shape, value=number)

    def _constant(self, values: tuple[Any, ...], shape: tuple[int, ...], dtype: str) -> str:
        identity = (repr(values), shape, dtype)
        key = self._numbers.get(identity)
        if key is None:
            key = self._numbers[identity] = f"constant\x1f{len(self._numbers)}"
            if dtype == "int64" and any(abs(value) >= 1 << 63 for value in values):
                raise ValueError("an integer of more than 64 bits")
            name = f"constant {len(self._numbers)}"
            self.constants[key] = Tensor(name, shape, dtype, ValueStorage(values, dtype))
        return key

    def dims(self, entry: Any) -> tuple[int | str | None, ...] | None:
        """The declared dimensions of a value, or None."""
        key = entry.key if isinstance(entry, Value) else entry
        info = self.values.get(key)
        if info is not None:
            return info.dims
        tensor = self.constants.get(key)
        return tensor.shape if tensor is not None else None

    def rank(self, entry: Any) -> int | None:
        dims = self.dims(entry)
        return None if dims is None else len(dims)

    def graph(self, inputs: list[ValueInfo], outputs: list[ValueInfo], metadata: Mapping[str, str]) -> Graph:
        """What was built. The program's order is one in which data flows forward."""
        for index, node in enumerate(self.nodes):
            node.index = index
        return Graph(
            nodes=self.nodes,
            inputs=inputs,
            outputs=outputs,
            constants=self.constants,
            overridable=frozenset(),
            opsets={"": OPSET},
            values=self.values,
            metadata=metadata,
            producer=producers(self.nodes),  # `self.producer` has the keys from before they were renamed as well
            consumers=consumers(self.nodes),
        )
