"""Dropout and every other source of randomness in a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.resolve import fact
from avreview.engine.review import Location
from avreview.facts.graphs import the_graph
from avreview.facts.modules import locate, module_path
from avreview.facts.shapes import Shapes
from avreview.facts.weights import Constants

_GENERATORS = frozenset({
    "Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
})  # fmt: skip
_MASKING = frozenset({
    "Add", "Cast", "Div", "Expand", "Floor", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Mul",
    "Not", "Reshape", "Sub", "Unsqueeze",
})  # fmt: skip


class Dropout(NamedTuple):
    """A dropout: an operator, or a random mask and a multiplication.

    `rate` is the share of units dropped, None where the file does not fix it. `active` when it drops at inference.
    `per_sample` when one draw decides for a whole sample: stochastic depth. `scaled` when what is kept is divided
    by the keep probability.
    """

    node: Node
    module: str | None
    input: str
    output: str
    rate: float | None
    active: bool
    form: str  # `operator` or `mask`
    evidence: str
    per_sample: bool = False
    scaled: bool = True

    def location(self, artifact: str) -> Location:
        return locate(artifact, self.node, self.module)


class RandomNode(NamedTuple):
    """A random generator that is no part of a dropout: noise, sampling."""

    node: Node
    module: str | None
    input: str = ""

    def location(self, artifact: str) -> Location:
        return locate(artifact, self.node, self.module)


class Randomness(NamedTuple):
    """Every dropout and every other random operator, in data-flow order."""

    artifact: str
    dropouts: Sequence[Dropout]
    others: Sequence[RandomNode]

    @property
    def active(self) -> list[Dropout]:
        return [dropout for dropout in self.dropouts if dropout.active]


@fact
def randomness(artifact: Artifact, constants: Constants, shapes: Shapes) -> Randomness:
    """Finds dropout operators, masks drawn at random, and generators that are neither."""
    graph = the_graph(artifact)
    finder = _Finder(graph, constants, shapes)
    dropouts, others = [], []
    for node in graph.nodes:
        if node.op == "Dropout":
            dropouts.append(finder.operator(node))
        elif node.op in _GENERATORS:
            mask = finder.mask(node)
            if mask is not None:
                dropouts.append(mask)
            else:
                others.append(RandomNode(node, module_path(node), node.input(0)))
    dropouts.sort(key=lambda dropout: dropout.node.index)
    return Randomness(artifact.provenance.path, dropouts, others)


class _Finder:
    def __init__(self, graph: Graph, constants: Constants, shapes: Shapes) -> None:
        self._graph = graph
        self._constants = constants
        self._shapes = shapes

    def operator(self, node: Node) -> Dropout:
        """A Dropout operator, read by the rules of its own opset."""
        rate, active, evidence = self._by_opset(node)
        return Dropout(
            node, module_path(node), node.input(0), node.outputs[0], rate, active and rate != 0, "operator", evidence
        )

    def _by_opset(self, node: Node) -> tuple[float | None, bool, str]:
        if node.version and node.version < 12:
            rate = float(node.attributes.get("ratio", 0.5))
            training = node.version < 7 and node.attributes.get("is_test") == 0
            return rate, training, "is_test=0" if training else ""
        rate = self._constants.scalar(node.input(1)) if node.input(1) else 0.5
        if not node.input(2):
            return rate, False, ""
        mode = self._constants.scalar(node.input(2))
        if mode is None:
            return rate, True, "its training_mode is not constant"
        return rate, bool(mode), "training_mode=true" if mode else ""

    def mask(self, generator: Node) -> Dropout | None:
        """The dropout that a generator's draws end in: a comparison or a floor, then a product with data."""
        key, rate, scaled, cut = generator.outputs[0], None, False, generator.op == "Bernoulli"
        if generator.op == "Bernoulli":
            rate = self._complement(self._constants.scalar(generator.input(0)))
        for _ in range(10):
            node = self._next(key)
            if node is None:
                return None
            other = next((name for name in node.inputs if name and name != key), "")
            number = self._constants.scalar(other) if other else None
            if node.op == "Where" and cut:
                return self._dropout(generator, node, node.input(1), rate, scaled)
            if node.op in ("Mul", "Div", "And") and other and number is None:
                return self._dropout(generator, node, other, rate, scaled) if cut else None
            if node.op in ("Less", "LessOrEqual"):
                cut, rate = True, self._complement(number) if node.input(0) == key else number
            elif node.op in ("Greater", "GreaterOrEqual"):
                cut, rate = True, number if node.input(0) == key else self._complement(number)
            elif node.op == "Floor":
                cut = True
            elif node.op == "Add" and number is not None and not cut:
                rate = self._complement(number)  # floor(keep + u): the old Swin form
            elif node.op == "Not":
                rate = self._complement(rate)
            elif node.op in ("Div", "Mul") and number is not None:
                scaled = scaled or self._undoes(node.op, number, rate)
            elif node.op not in _MASKING:
                return None
            key = node.outputs[0]
        return None

    def _next(self, key: str) -> Node | None:
        readers = [node for node in self._graph.consumers.get(key, ()) if node.op != "Shape"]
        return readers[0] if readers else None

    @staticmethod
    def _complement(number: float | None) -> float | None:
        return None if number is None else 1.0 - number

    @staticmethod
    def _undoes(op: str, number: float, rate: float | None) -> bool:
        """A constant that makes up for what was dropped: a division by the keep probability."""
        keep = number if op == "Div" else 1 / number if number else 0.0
        return 0 < keep < 1 and (rate is None or abs(keep - (1 - rate)) < 0.01 * keep + 1e-6)

    def _dropout(self, generator: Node, node: Node, data: str, rate: float | None, scaled: bool) -> Dropout:
        scaled = scaled or self._scaled_nearby(node.outputs[0], data, rate)
        return Dropout(
            node, module_path(node) or module_path(generator), data, node.outputs[0], rate,
            active=rate != 0, form="mask", evidence=f"a mask from {generator.op}",
            per_sample=self._per_sample(generator.outputs[0], data), scaled=scaled,
        )  # fmt: skip

    def _scaled_nearby(self, result: str, data: str, rate: float | None) -> bool:
        """The division may stand behind the product (result) or in front of it (data)."""
        near = [*self._graph.consumers.get(result, ())[:1]]
        if (before := self._graph.producer.get(data)) is not None:
            near.append(before)
        for node in near:
            if node.op in ("Mul", "Div"):
                numbers = [n for key in node.inputs if key and (n := self._constants.scalar(key)) is not None]
                if any(self._undoes(node.op, number, rate) for number in numbers):
                    return True
        return False

    def _per_sample(self, mask: str, data: str) -> bool:
        """One draw for a whole sample: the mask has extent 1 in every axis but the first, the data has not."""
        mask_dims, data_dims = self._shapes.dims(mask), self._shapes.dims(data)
        if not mask_dims or len(mask_dims) < 2:
            return False
        wide = data_dims is None or any(extent != 1 for extent in data_dims[1:])
        return wide and all(extent == 1 for extent in mask_dims[1:])
