"""Dropout and every other source of randomness in a graph."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import NamedTuple

from avreview.artifact import Artifact, Graph, Node
from avreview.engine.cards import catalogue
from avreview.engine.resolve import fact
from avreview.engine.review import Location
from avreview.facts.drawing import Drawing
from avreview.facts.flow import MOVES, only_consumer
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
_KEEPING = MOVES | {"Div", "Mul"}  # what the mask's scale may stand behind, around the product
_MOST_VALUES = 32  # that are followed from one generator on
_MOST_PROBABILITIES = 1 << 20


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
    drawing: Drawing

    @property
    def active(self) -> list[Dropout]:
        return [dropout for dropout in self.dropouts if dropout.active]


class _Draw(NamedTuple):
    """A random value on its way to a mask: `cut` once it is one, with the share of units it drops."""

    key: str
    rate: float | None
    scaled: bool
    cut: bool


@fact
def randomness(artifact: Artifact, drawing: Drawing, constants: Constants, shapes: Shapes) -> Randomness:
    """Finds dropout operators, masks drawn at random, and generators that are neither. Limits are AV704's."""
    graph = drawing.graph
    finder = _Finder(graph, constants, shapes)
    live: frozenset[int] | None = None
    dropouts, others = [], []
    for node in graph.nodes:
        if node.op == "Dropout":
            dropouts.append(finder.operator(node))
        elif node.op in _GENERATORS:
            live = _live(graph) if live is None else live
            if node.index not in live:
                continue
            mask = finder.mask(node)
            if mask is not None:
                dropouts.append(mask)
            else:
                others.append(RandomNode(node, module_path(node), node.input(0)))
    dropouts.sort(key=lambda dropout: dropout.node.index)
    return Randomness(artifact.provenance.path, dropouts, others, drawing)


def _live(graph: Graph) -> frozenset[int]:
    """The indices of the nodes from which an output can be reached."""
    found: set[int] = set()
    waiting = [info.name for info in graph.outputs]
    while waiting:
        node = graph.producer.get(waiting.pop())
        if node is not None and node.index not in found:
            found.add(node.index)
            waiting += [key for key in (*node.inputs, *node.branch_results) if key]
    return frozenset(found)


def _is_uniform(generator: Node) -> bool:
    """True for draws from 0 to 1, and for those that are masks already."""
    if generator.op.startswith("RandomUniform"):
        return (generator.attributes.get("low", 0.0), generator.attributes.get("high", 1.0)) == (0.0, 1.0)
    return generator.op == "Bernoulli"


class _Finder:
    def __init__(self, graph: Graph, constants: Constants, shapes: Shapes) -> None:
        self._limits = catalogue()["AV704"].limits
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
            training = node.version < 7 and not node.attributes.get("is_test", 0)
            return float(node.attributes.get("ratio", 0.5)), training, "is_test=0" if training else ""
        rate = self._constants.scalar(node.input(1)) if node.input(1) else 0.5
        if not node.input(2):
            return rate, False, ""
        mode = self._constants.scalar(node.input(2))
        if mode is None:
            return rate, True, "its training_mode is not constant"
        return rate, bool(mode), "training_mode=true" if mode else ""

    def mask(self, generator: Node) -> Dropout | None:
        """The dropout that a generator's draws end in: a comparison or a floor, then a product with data."""
        rate = self._complement(self._probability(generator)) if generator.op == "Bernoulli" else None
        waiting = [_Draw(generator.outputs[0], rate, scaled=False, cut=generator.op == "Bernoulli")]
        reached: set[str] = set()
        product: tuple[Node, str, _Draw] | None = None
        while waiting and len(reached) < _MOST_VALUES:
            draw = waiting.pop(0)
            if draw.key in reached:
                continue
            reached.add(draw.key)
            for node in self._graph.consumers.get(draw.key, ()):
                if (masked := self._masked(node, draw)) is not None:
                    product = product or (node, *masked)
                elif (after := self._after(node, draw)) is not None:
                    waiting.append(after)
        if product is None:
            return None
        node, data, draw = product
        if not _is_uniform(generator):
            draw = draw._replace(rate=None)  # its share depends on another distribution
        return self._dropout(generator, node, data, draw, reached)

    def _masked(self, node: Node, draw: _Draw) -> tuple[str, _Draw] | None:
        """What a mask is multiplied onto or chosen from, and the mask as it is used there."""
        if not draw.cut:
            return None
        if node.op == "Where" and node.input(0) == draw.key:
            if self._constants.weight(node.input(1)) is None:
                return node.input(1), draw
            return node.input(2), draw._replace(rate=self._complement(draw.rate))  # a constant where the mask is set
        other = self._other(node, draw.key)
        is_data = bool(other) and self._constants.scalar(other) is None
        return (other, draw) if node.op in ("Mul", "Div", "And") and is_data else None

    def _after(self, node: Node, draw: _Draw) -> _Draw | None:
        """The draw as a further operator leaves it, or None where it stops being a mask in the making."""
        other = self._other(node, draw.key)
        number = self._constants.scalar(other) if other else None
        draw = draw._replace(key=node.outputs[0])
        if node.op in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual"):
            kept_below = node.op.startswith("Less") == (node.input(1) == other)
            return draw._replace(cut=True, rate=self._complement(number) if kept_below else number)
        if node.op == "Floor":
            return draw._replace(cut=True)
        if node.op == "Not":
            return draw._replace(rate=self._complement(draw.rate))
        if node.op == "Add" and number is not None and not draw.cut:
            return draw._replace(rate=self._complement(number))  # floor(keep + u): the old Swin form
        if node.op == "Sub" and draw.cut and node.input(0) == other and number == 1:
            return draw._replace(rate=self._complement(draw.rate))
        if node.op in ("Div", "Mul"):
            scaled = draw.scaled or (number is not None and self._undoes(node, number, draw.rate))
            return None if number is None else draw._replace(scaled=scaled)
        return draw if node.op in _MASKING else None

    @staticmethod
    def _other(node: Node, key: str) -> str:
        return next((name for name in node.inputs if name and name != key), "")

    def _probability(self, generator: Node) -> float | None:
        """What a Bernoulli draws with, where it is one number for all elements."""
        values = self._constants.values(generator.input(0)) if generator.input(0) else None
        if values is None or not 0 < values.size <= _MOST_PROBABILITIES or values.min() != values.max():
            return None
        return float(values.min())

    @staticmethod
    def _complement(number: float | None) -> float | None:
        return None if number is None else 1.0 - number

    def _undoes(self, node: Node, number: float, rate: float | None) -> bool:
        """A constant that makes up for what was dropped: a division by the keep probability."""
        keep = number if node.op == "Div" else 1 / number if number else 0.0
        return 0 < keep < 1 and (rate is None or abs(keep - (1 - rate)) < self._limits.scale_tolerance * keep + 1e-6)

    def _dropout(self, generator: Node, node: Node, data: str, draw: _Draw, reached: Container[str]) -> Dropout:
        rate = draw.rate
        scaled = draw.scaled or self._shifted(node, reached) or self._scaled_nearby(node.outputs[0], data, rate)
        return Dropout(
            node, module_path(node) or module_path(generator), data, node.outputs[0], rate,
            active=rate != 0, form="mask", evidence=f"a mask from {generator.op}",
            per_sample=self._per_sample(draw.key, data), scaled=scaled,
        )  # fmt: skip

    def _shifted(self, product: Node, reached: Container[str]) -> bool:
        """Alpha dropout adds the mask, too, and so keeps mean and variance by a formula of its own."""
        readers = self._graph.consumers.get(product.outputs[0], ())
        sums = [node for node in readers if node.op in ("Add", "Sub")]
        return any(key in reached for node in sums for key in node.inputs)

    def _scaled_nearby(self, result: str, data: str, rate: float | None) -> bool:
        """The division may stand a few nodes behind the product (result) or in front of it (data)."""
        for _ in range(int(self._limits.max_nodes_around)):
            after = only_consumer(self._graph, result)
            before = self._graph.producer.get(data)
            for node in (after, before):
                if node is not None and node.op in ("Mul", "Div"):
                    numbers = [n for key in node.inputs if key and (n := self._constants.scalar(key)) is not None]
                    if any(self._undoes(node, number, rate) for number in numbers):
                        return True
            result = after.outputs[0] if after is not None and after.op in _KEEPING else ""
            data = self._data(before) if before is not None and before.op in _KEEPING else ""
        return False

    def _data(self, node: Node) -> str:
        """The first input of a node that is no constant."""
        return next((key for key in node.inputs if key and self._constants.weight(key) is None), "")

    def _per_sample(self, mask: str, data: str) -> bool:
        """One draw for a whole sample: the mask has extent 1 in every axis but the first, the data has not."""
        mask_dims, data_dims = self._shapes.dims(mask), self._shapes.dims(data)
        if not mask_dims or len(mask_dims) < 2:
            return False
        wide = data_dims is None or any(extent != 1 for extent in data_dims[1:])
        return wide and all(extent == 1 for extent in mask_dims[1:])
