"""A program of ATen calls as a graph in ONNX's terms: names, writing in place, control flow.

What has no counterpart in ONNX stays in the graph under its own name in the domain `torch`, with everything that it
reads and writes, so that data can still be followed through it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avreview.artifact import Graph, Tensor, ValueInfo
from avreview.load.aten import elementwise, layers, shapes  # noqa: F401 - register their rules
from avreview.load.aten.graph import DOMAIN, SIGNATURE, Call, GraphBuilder, Value
from avreview.load.aten.rules import RULES, Result
from avreview.load.aten.schema import bound
from avreview.load.programs.exported_schema import (
    Named,
    SchemaError,
    Subgraph,
    argument,
    mapping,
    sequence,
    text,
    value_info,
)

_DEEPEST = 50  # graphs inside one another, and views of views that are written into
_WRONG = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)  # of arguments that no rule foresees
_VIEWS = frozenset({
    "alias", "chunk", "detach", "expand", "flatten", "narrow", "permute", "reshape", "select", "slice", "split",
    "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unflatten", "unsqueeze", "view",
})  # fmt: skip
_INLINED = frozenset({
    "hints_wrapper", "invoke_subgraph", "strict_mode", "tag_activation_checkpoint", "wrap",
    "wrap_activation_checkpoint", "wrap_with_autocast", "wrap_with_set_grad_enabled",
})  # fmt: skip
_LOOPS = {"while_loop": "Loop", "scan": "Scan", "map": "Scan", "map_impl": "Scan", "associative_scan": "Scan"}
_CHECKS = re.compile(r"aten::(_assert|sym_constrain)")  # operators that only look
CALL_NUMBER = re.compile(r"@\d+$")  # a module's second call is recorded as `head@1`
_IN_PLACE = re.compile(r"::[A-Za-z]\w*[A-Za-z0-9]_$")


class _Cell:
    """What one or several names stand for at present: writing in place changes it for all of them."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key


class _Frame:
    """The names of one graph of the program, and what they stand for."""

    def __init__(self, prefix: str, path: str, depth: int) -> None:
        self.prefix = prefix
        self.path = path  # the control-flow operators around it, as a person reads them
        self.depth = depth
        self.names: dict[str, _Cell] = {}

    def own_key(self, name: str) -> str:
        return self.prefix + name


class Translator:
    """Builds the graph of one exported program.

    `weights` are the tensors by the names of their placeholders; `buffers` those among them that are buffers.
    """

    def __init__(self, weights: Mapping[str, Tensor], buffers: frozenset[str]) -> None:
        self._build = GraphBuilder({}, {})
        self._weights = weights
        self._buffers = buffers
        self._cells: dict[str, _Cell] = {}  # by the key that is in them
        self._bases: dict[str, str] = {}  # the key of a view → the key of what it is a view of
        self._mutated: dict[str, None] = {}
        self._modules: dict[str, tuple[str, ...]] = {}
        self._frames = 0

    def graph(
        self, raw: Mapping[str, Any], inputs: Sequence[str], mutated: Sequence[str], results: Sequence[bool]
    ) -> Graph:
        """The whole program.

        `inputs` are what a caller passes; `mutated` the buffers that the signature names; `results` tells of each
        output whether the caller gets it, or it only replaces a buffer.

        Raises SchemaError for JSON that is no program.
        """
        top = _Frame("", "", 0)
        taken = mapping(raw.get("tensor_values"), "the values")
        for placeholder, tensor in self._weights.items():
            key = tensor.name if tensor.name not in taken else placeholder
            self._build.constants[key] = tensor
            self._set(top, placeholder, key)
        outputs = self._inside(raw, top)
        returned = [key for key, is_result in zip(outputs, results, strict=False) if key and is_result]
        values = self._build.values
        names = dict.fromkeys([*mutated, *self._mutated])
        signature = " ".join(f"BUFFER_MUTATION target='{name}'" for name in names)
        given, made = (
            [values.get(key) or ValueInfo(key, None, None) for key in keys]
            for keys in ([self._key(top, name) for name in inputs], returned)
        )
        return self._build.graph(given, made, {SIGNATURE: signature})

    def _inside(self, raw: Mapping[str, Any], frame: _Frame) -> list[str]:
        """Adds the nodes of a graph; the keys of its results."""
        values = self._build.values
        for name, meta in mapping(raw.get("tensor_values"), "the values").items():
            key = self._key(frame, name)
            if key not in values:
                values[key] = value_info(key, meta)
        for node in sequence(raw.get("nodes"), "the operators"):
            self._node(mapping(node, "an operator"), frame)
        outputs = [argument(entry) for entry in sequence(raw.get("outputs"), "the results")]
        return [self._key(frame, entry.name) if isinstance(entry, Named) else "" for entry in outputs]

    def _key(self, frame: _Frame, name: str) -> str:
        if name not in frame.names:
            self._set(frame, name, frame.own_key(name))
        return frame.names[name].key

    def _set(self, frame: _Frame, name: str, key: str) -> None:
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = _Cell(key)
        frame.names[name] = cell

    def _node(self, raw: Mapping[str, Any], frame: _Frame) -> None:
        op, overload = operator(text(raw.get("target"), "an operator's name"))
        outputs = [argument(entry) for entry in sequence(raw.get("outputs"), "the results")]
        if not outputs and _CHECKS.match(op):
            return
        names = [_names(output) for output in outputs]
        keys = tuple(
            tuple(frame.own_key(name) for name in entry) if isinstance(entry, tuple) else frame.own_key(entry)
            for entry in names
        )
        given = self._arguments(raw, frame, op, overload)
        label = raw.get("name") or next((entry for entry in names if isinstance(entry, str) and entry), op)
        call = Call(op, overload, given, keys, text(label, "a name"), self._around(raw), frame.path)
        self._build.begin(call)
        result: Result = None
        if any(isinstance(value, Subgraph) for value in given.values()):
            result = self._control_flow(call, frame)
        elif op.startswith(("aten::", "_operator::")):
            result = _ruled(self._build, call)
        self._bind(frame, names, keys, self._opaque(call) if result is None else result)
        self._build.end()
        self._follow_views(call, frame, names)

    def _arguments(self, raw: Mapping[str, Any], frame: _Frame, op: str, overload: str) -> dict[str, Any]:
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for entry in sequence(raw.get("inputs"), "the arguments"):
            given = mapping(entry, "an argument")
            value = self._resolved(frame, argument(given.get("arg")))
            name = given.get("name")
            if isinstance(name, str) and name and not op.startswith("_operator::"):
                keywords[name] = value
            else:
                positional.append(value)
        return bound(op.partition("::")[2], overload, positional, keywords)

    def _resolved(self, frame: _Frame, value: Any) -> Any:
        if isinstance(value, Named):
            return Value(self._key(frame, value.name))
        if isinstance(value, tuple):
            return tuple(self._resolved(frame, entry) for entry in value)
        return value

    def _around(self, raw: Mapping[str, Any]) -> tuple[str, ...]:
        """The paths of the modules around a node."""
        stack = mapping(raw.get("metadata", {}), "the metadata").get("nn_module_stack", "")
        if not isinstance(stack, str):
            return ()
        known = self._modules.get(stack)
        if known is None:
            known = self._modules[stack] = tuple(path for path, _ in module_stack(stack))
        return known

    def _opaque(self, call: Call) -> Result:
        """The call as it is, under its own name."""
        read = [value for given in call.arguments.values() for value in _values(given)]
        plain = {name: value for name, value in call.arguments.items() if _is_plain(value)}
        count = sum(len(output) if isinstance(output, tuple) else 1 for output in call.outputs)
        keys = iter(self._build.nodes_result(call.op, read, count, DOMAIN, plain))
        return tuple(
            tuple(next(keys) for _ in output) if isinstance(output, tuple) else next(keys) for output in call.outputs
        )

    def _bind(self, frame: _Frame, names: Sequence[Any], keys: Sequence[Any], result: Result) -> None:
        """Gives the results the program's names; what was there before gets a further name."""
        pairs: list[tuple[str, str, Any]] = []
        results = result if isinstance(result, tuple) else (result,)
        for name, key, found in zip(names, keys, results, strict=False):
            if isinstance(name, str):
                pairs.append((name, key, found))
            elif isinstance(found, tuple):
                pairs += zip(name, key, found, strict=False)
        renamed: dict[str, str] = {}
        made = self._build.made()
        for name, key, found in pairs:
            if not name or not isinstance(found, str) or not found:
                continue
            if found in made:
                self._set(frame, name, renamed.setdefault(found, key))
            else:
                self._set(frame, name, found)
        self._build.rename(renamed)

    # Views, and writing in place

    def _follow_views(self, call: Call, frame: _Frame, names: Sequence[Any]) -> None:
        """After an in-place operator its first argument stands for the result, and what it is a view of changes."""
        op = call.op.partition("::")[2]
        first = next(iter(call.arguments.values()), None)
        flat = [name for entry in names for name in ((entry,) if isinstance(entry, str) else entry) if name]
        made = [frame.names[name].key for name in flat if name in frame.names]
        if isinstance(first, Value) and op in _VIEWS:
            self._bases.update({key: first.key for key in made if key != first.key})
        if "batch_norm" in op and "functional" not in op and call.arguments.get("training") is True:
            for place in ("running_mean", "running_var"):
                self._note_buffer(call.arguments.get(place))
        if isinstance(first, Value) and made and _IN_PLACE.search(call.op):
            self._note_buffer(first)
            self._write(call, first.key, made[0])
            self._set(frame, flat[0], made[0])

    def _write(self, call: Call, old: str, new: str) -> None:
        for _ in range(_DEEPEST):
            if new == old:
                return
            cell = self._cells.pop(old, None)
            if cell is not None:
                cell.key = new
                self._cells[new] = cell
            base = self._bases.get(old)
            if base is None:
                return
            self._bases[new] = base
            whole = Call("aten::slice_scatter", "", {}, (), f"{call.name}_base", call.modules, call.scope)
            self._build.begin(whole)
            old, new = base, self._build.node(whole.op, base, new, domain=DOMAIN)

    def _note_buffer(self, value: Any) -> None:
        tensor = self._build.constants.get(value.key) if isinstance(value, Value) else None
        if tensor is not None and tensor.name in self._buffers:
            self._mutated[tensor.name] = None

    # Control flow

    def _control_flow(self, call: Call, frame: _Frame) -> Result:
        """Subgraphs laid flat: what only wraps disappears, branches and bodies get a scope. None where it is odd."""
        op = call.op.partition("::")[2]
        given = list(call.arguments.values())
        graphs = [value for value in given if isinstance(value, Subgraph)]
        last = max(place for place, value in enumerate(given) if isinstance(value, Subgraph))
        operands = [value for entry in given[last + 1 :] for value in _values(entry)]
        if frame.depth >= _DEEPEST:
            return None
        if op in _INLINED and len(graphs) == 1:
            return tuple(self._called(graphs[0], operands, frame, call.scope))
        kind = "If" if op == "cond" and len(graphs) == 2 else _LOOPS.get(op)
        if kind is None:
            return None
        scope = f"{call.scope}/{call.name}" if call.scope else call.name
        branches = [
            self._called(graph, operands, frame, f"{scope}/{part}" if kind == "If" else scope)
            for graph, part in zip(graphs, ("then_branch", "else_branch"), strict=False)
        ]
        self._build.begin(call)
        read = [*_values(given[0]), *operands] if kind == "If" else operands
        count = sum(len(output) if isinstance(output, tuple) else 1 for output in call.outputs)
        keys = self._build.nodes_result(kind, read[:1] if kind == "If" else read, count, "", {})
        self._build.nodes[-1].branch_results = tuple(key for branch in branches for key in branch if key)
        if len(call.outputs) == 1 and isinstance(call.outputs[0], tuple):
            return (keys,)
        return keys

    def _called(self, subgraph: Subgraph, operands: Sequence[Value], frame: _Frame, path: str) -> list[str]:
        """A subgraph whose inputs stand for the operands; the keys of its results."""
        self._frames += 1
        inner = _Frame(f"\x1f{self._frames}\x1f", path, frame.depth + 1)
        inputs = [argument(entry) for entry in sequence(subgraph.graph.get("inputs"), "the inputs")]
        if len(inputs) > len(operands):
            raise SchemaError("calls a subgraph with fewer operands than it takes")
        for given, operand in zip(inputs, operands, strict=False):
            if isinstance(given, Named):
                self._set(inner, given.name, operand.key)
        return self._inside(subgraph.graph, inner)


def operator(target: str) -> tuple[str, str]:
    """`torch.ops.aten.add.Tensor` as `aten::add` and its overload."""
    space, _, rest = target.removeprefix("torch.ops.").partition(".")
    op, _, overload = rest.partition(".")
    return f"{space}::{op}", "" if overload == "default" else overload


def _names(output: Any) -> str | tuple[str, ...]:
    if isinstance(output, tuple):
        return tuple(entry.name if isinstance(entry, Named) else "" for entry in output)
    return output.name if isinstance(output, Named) else ""


def _values(given: Any) -> Iterator[Value]:
    """The values among an argument and its parts."""
    if isinstance(given, Value):
        yield given
    elif isinstance(given, tuple):
        for entry in given:
            yield from _values(entry)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Value):
        return False
    if isinstance(value, tuple):
        return all(isinstance(entry, (bool, int, float, str)) for entry in value)
    return isinstance(value, (bool, int, float, str))


def _ruled(build: GraphBuilder, call: Call) -> Result:
    """What the operator's rule makes of it; None without a rule, or for arguments that it does not foresee."""
    op = call.op.partition("::")[2]
    rule = RULES.get(op) or (RULES.get(op[:-1]) if _IN_PLACE.search(call.op) else None)
    if rule is None:
        return None
    try:
        return rule(build, call.arguments)
    except _WRONG:
        build.undo()
        return None


def module_stack(stack: str) -> Iterator[tuple[str, str]]:
    """(path, class) of the modules in `key,path,class;key,path,class`, outermost first."""
    for entry in stack.split(";") if stack else ():
        _, _, rest = entry.partition(",")
        path, _, kind = rest.partition(",")
        yield CALL_NUMBER.sub("", path), kind
