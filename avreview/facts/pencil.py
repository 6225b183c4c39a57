"""Drawing a module tree as a graph.

Data is followed where it is known to flow: through a Sequential, through blocks whose class is known, and through
forwards that were recorded. Everything else stands unconnected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from avreview.artifact import Graph, Node, Tensor, ValueInfo
from avreview.checkpoint import Call, Module
from avreview.engine.resolve import NotAvailable
from avreview.facts.function_nodes import function_node
from avreview.facts.module_nodes import Step, recurrent_steps, steps
from avreview.facts.modules import ModuleNode
from avreview.facts.state_names import kind_of
from avreview.facts.weights import number_tensor

# Blocks whose forward calls these children in this order and nothing else that changes a value: of ultralytics,
# YOLOv5, YOLOX and RTMDet, MMCV, torchvision and timm. A child that the block does not have is passed over; a block
# with a weighted child beside these has another forward.
_CHAINS: dict[str, tuple[str, ...]] = {
    "Conv": ("conv", "bn", "act"),
    "BaseConv": ("conv", "bn", "act"),
    "DWConv": ("conv", "bn", "act"),
    "ConvModule": ("conv", "bn", "norm", "gn", "ln", "activate"),
    "ConvNormAct": ("conv", "bn"),
    "ConvBnAct": ("conv", "bn1"),
    "BasicConv2d": ("conv", "bn"),
}
_DEEPEST = 200
_MOST_VISITS = 50_000  # of modules: forwards that call each other tenfold would unfold without end


class Pencil:
    """Draws one module tree."""

    def __init__(self, tree: Mapping[str, Module], tensors: Mapping[str, Tensor]) -> None:
        self._tree = tree
        self._nodes: list[Node] = []
        self._constants: dict[str, Tensor] = {}
        self._values = 0
        self._tensors = tensors
        self._own: dict[str, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            path, _, own = name.rpartition(".")
            self._own.setdefault(path, {})[own] = tensor
        self._drawn: set[str] = set()
        self._visits = 0

    def graph(self) -> Graph:
        """Every module, those first that the root leads to."""
        start = self._value("input")
        end = self._module("", start, 0)
        for path in self._tree:
            if path not in self._drawn and not self._tree[path].children:
                self._module(path, self._value(path), _DEEPEST)
        outputs = [ValueInfo(end, None, None)] if end in {o for node in self._nodes for o in node.outputs} else []
        return self._joined([ValueInfo(start, None, None)], outputs)

    def _joined(self, inputs: list[ValueInfo], outputs: list[ValueInfo]) -> Graph:
        graph = Graph(self._nodes, inputs, outputs, self._constants, frozenset(), {"": 20}, {})
        for index, node in enumerate(self._nodes):
            node.index = index
            graph.producer.update(dict.fromkeys(node.outputs, node))
            for key in dict.fromkeys(node.inputs):
                graph.consumers.setdefault(key, []).append(node)
        return graph

    def _value(self, hint: str) -> str:
        self._values += 1
        return f"{hint}:{self._values}"

    def _module(self, path: str, source: str, depth: int) -> str:
        """Draws a module that reads `source`; the value it gives, with no producer where that is not known."""
        module = self._tree[path]
        self._drawn.add(path)
        self._visits += 1
        if self._visits > _MOST_VISITS:
            raise NotAvailable(f"needs forwards that call each other less than {_MOST_VISITS:,} times")
        drawn = self._steps(module)
        if drawn and not module.children:
            return self._steps_from(path, drawn, source)
        self._steps_from(path, drawn, source)
        if depth < _DEEPEST and module.calls:
            return self._recorded(module, source, depth)
        if depth < _DEEPEST and (chain := self._chain(module)) is not None:
            for child in chain:
                source = self._module(child, source, depth + 1)
            return source
        if depth < _DEEPEST:
            for child in self._children(module):
                if child not in self._drawn:
                    self._module(child, self._value(child), depth + 1)
        return self._value(path)

    def _steps(self, module: Module) -> tuple[Step, ...]:
        """The operators of a module's own tensors; of an unknown class those that their names and shapes tell."""
        own = self._own.get(module.path, {})
        drawn = recurrent_steps(module, own) or steps(module, own)
        if drawn or not own or module.calls:
            return drawn
        kind = kind_of(module.path.rpartition(".")[2], own)
        return steps(module._replace(kind=kind), own) if kind else ()

    def _steps_from(self, path: str, drawn: Sequence[Step], source: str) -> str:
        for step in drawn:
            source = self._step(path, step, source)
        return source

    def _children(self, module: Module) -> Iterator[str]:
        for name in module.children:
            path = f"{module.path}.{name}" if module.path else name
            if path in self._tree:
                yield path

    def _chain(self, module: Module) -> list[str] | None:
        """The children that a module calls one after another, where its class tells."""
        children = {path.rpartition(".")[2] if module.path else path: path for path in self._children(module)}
        if module.kind == "Sequential" or module.kind.endswith("ConvNormActivation"):
            return list(children.values()) or None
        order = _CHAINS.get(module.kind)
        if order is None or not set(children) <= set(order):
            return None
        return [children[name] for name in order if name in children] or None

    def _step(self, path: str, step: Step, source: str) -> str:
        operands = [self._operand(path, operand) for operand in step.operands]
        while operands and not operands[-1]:
            operands.pop()
        output = self._value(path)
        self._nodes.append(ModuleNode(path, step.op, step.attributes, (source, *operands), output))
        return output

    def _operand(self, path: str, operand: Tensor | float | bool | None) -> str:
        if operand is None:
            return ""
        if isinstance(operand, Tensor):
            key = f"{operand.name}:{len(operand.shape)}"
            self._constants[key] = operand
            return key
        key = self._value(path)
        self._constants[key] = number_tensor(key, operand)
        return key

    def _recorded(self, module: Module, source: str, depth: int) -> str:
        """Draws a forward that the file holds. A child that is called twice is drawn twice, as an export would."""
        keys = dict.fromkeys(module.inputs[:1], source)
        last = ""
        for call in module.calls:
            taken = [keys[name] if name in keys else self._read(module, name) for name in call.inputs]
            last = self._call(module, call, taken, depth)
            keys.update(dict.fromkeys(call.outputs, last))
        return last or self._value(module.path)

    def _read(self, module: Module, name: str) -> str:
        """A tensor of the module or of the file that a call names, or else a value of which nothing is known."""
        own = name.removeprefix("self.")
        path = f"{module.path}.{own}" if module.path and own != name else own
        tensor = self._tensors.get(path)
        return self._value(module.path) if tensor is None else self._operand(path, tensor)

    def _call(self, module: Module, call: Call, taken: Sequence[str], depth: int) -> str:
        if call.is_child:
            path = f"{module.path}.{call.target}" if module.path else call.target
            if path in self._tree and taken:
                return self._module(path, taken[0], depth + 1)
            return self._value(path)
        drawn = function_node(call, module.attributes.get("training") is True, taken)
        if drawn is None:
            return self._value(module.path)
        if drawn.rate is not None:
            return self._step(module.path, Step("Dropout", {}, (drawn.rate, drawn.drops)), drawn.inputs[0])
        output = self._value(module.path)
        self._nodes.append(ModuleNode(module.path, drawn.op, drawn.attributes, drawn.inputs, output))
        return output
