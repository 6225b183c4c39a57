"""Which nodes of two graphs belong together.

Tensors that were paired tell for the nodes that take them. From there the pairs spread along the data: the producers
of the same input of two such nodes belong together where they are the same operator. What is left is aligned by
module path and operator in the order of the graph, and at last by operator alone. Names of nodes are not trusted:
exporters number them anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from avreview.artifact import Graph, Node
from avreview.compare.sequence import aligned, increasing
from avreview.facts.modules import module_path

COMMUTATIVE = frozenset({"Add", "And", "Max", "Mean", "Min", "Mul", "Or", "Sum", "Xor", "Equal"})


class Alignment:
    """The pairs of nodes of two graphs, by their indices."""

    def __init__(self, old: Graph, new: Graph) -> None:
        self.old, self.new = old, new
        self.new_of: dict[int, Node] = {}
        self.old_of: dict[int, Node] = {}

    def join(self, old: Node, new: Node) -> bool:
        """Pairs two nodes, where neither has a partner yet."""
        if old.index in self.new_of or new.index in self.old_of:
            return False
        self.new_of[old.index], self.old_of[new.index] = new, old
        return True

    @property
    def pairs(self) -> list[tuple[Node, Node]]:
        """The pairs, in the order of the new graph."""
        return [(self.old_of[node.index], node) for node in self.new.nodes if node.index in self.old_of]

    @property
    def old_left(self) -> list[Node]:
        return [node for node in self.old.nodes if node.index not in self.new_of]

    @property
    def new_left(self) -> list[Node]:
        return [node for node in self.new.nodes if node.index not in self.old_of]


def align(
    old: Graph, new: Graph, seeds: Iterable[tuple[Node, Node]], renamed: Callable[[str | None], str]
) -> Alignment:
    """The alignment of two graphs. `seeds` are known pairs, `renamed` gives an old module's path in the new graph."""
    return _Aligner(old, new, renamed).run(seeds)


class _Aligner:
    def __init__(self, old: Graph, new: Graph, renamed: Callable[[str | None], str]) -> None:
        self._found = Alignment(old, new)
        self._modules: tuple[list[str], list[str]] = (
            [renamed(module_path(node)) for node in old.nodes],
            [module_path(node) or "" for node in new.nodes],
        )

    def run(self, seeds: Iterable[tuple[Node, Node]]) -> Alignment:
        found = self._found
        started = [pair for pair in seeds if found.join(*pair)]
        started += self._ends()
        self._spread(started, strictly=True)
        self._spread(self._in_order(self._strong_key), strictly=True)
        self._spread(found.pairs, strictly=False)
        self._spread(self._in_order(lambda node, side: node.op), strictly=False)
        return found

    def _ends(self) -> list[tuple[Node, Node]]:
        """The nodes that give outputs of one name."""
        found = self._found
        names = {info.name for info in found.new.outputs}
        ends = []
        for info in found.old.outputs:
            old, new = found.old.producer.get(info.name), found.new.producer.get(info.name)
            if info.name in names and old is not None and new is not None and old.op == new.op:
                ends += [(old, new)] if found.join(old, new) else []
        return ends

    def _spread(self, waiting: Sequence[tuple[Node, Node]], *, strictly: bool) -> None:
        """Follows the data from pairs, both ways; `strictly` within modules of one path."""
        queue = list(waiting)
        place = 0
        while place < len(queue):
            old, new = queue[place]
            place += 1
            for left, right in (*self._producers(old, new), *self._consumers(old, new)):
                if left.op != right.op or left.domain != right.domain or (strictly and not self._together(left, right)):
                    continue
                if self._found.join(left, right):
                    queue.append((left, right))

    def _together(self, old: Node, new: Node) -> bool:
        return self._modules[0][old.index] == self._modules[1][new.index]

    def _producers(self, old: Node, new: Node) -> Iterator[tuple[Node, Node]]:
        found = self._found
        for left, right in zip(old.inputs, new.inputs, strict=False):
            own, other = found.old.producer.get(left), found.new.producer.get(right)
            if own is not None and other is not None:
                yield own, other
        if old.op in COMMUTATIVE and len(old.inputs) == len(new.inputs) == 2:
            yield from zip(
                (node for key in old.inputs if (node := found.old.producer.get(key)) is not None),
                (node for key in reversed(new.inputs) if (node := found.new.producer.get(key)) is not None),
                strict=False,
            )
        for left, right in zip(old.branch_results, new.branch_results, strict=False):
            own, other = found.old.producer.get(left), found.new.producer.get(right)
            if own is not None and other is not None:
                yield own, other

    def _consumers(self, old: Node, new: Node) -> Iterator[tuple[Node, Node]]:
        """Readers of the same output, where there is one of the operator at most in a module."""
        found = self._found
        for left, right in zip(old.outputs, new.outputs, strict=False):
            if not left or not right:
                continue
            own: dict[tuple[str, str], list[Node]] = {}
            other: dict[tuple[str, str], list[Node]] = {}
            for readers, taken, kept, modules in (
                (found.old.consumers.get(left, ()), found.new_of, own, self._modules[0]),
                (found.new.consumers.get(right, ()), found.old_of, other, self._modules[1]),
            ):
                for node in readers:
                    if node.index not in taken:
                        kept.setdefault((node.op, modules[node.index]), []).append(node)
                        kept.setdefault((node.op, ""), []).append(node)
            for key, nodes in own.items():
                others = other.get(key, ())
                if len(nodes) == 1 and len(others) == 1:
                    yield nodes[0], others[0]

    def _strong_key(self, node: Node, side: int) -> tuple[str, str]:
        return node.op, self._modules[side][node.index]

    def _in_order(self, key: Callable[[Node, int], object]) -> list[tuple[Node, Node]]:
        """Aligns what is left between pairs that stand in the same order."""
        found = self._found
        anchors = increasing([(left, right.index) for left, right in found.new_of.items()])
        joined = []
        start = (0, 0)
        for end in [*anchors, (len(found.old.nodes), len(found.new.nodes))]:
            left = [node for node in found.old.nodes[start[0] : end[0]] if node.index not in found.new_of]
            right = [node for node in found.new.nodes[start[1] : end[1]] if node.index not in found.old_of]
            if left and right:
                for a, b in aligned([key(node, 0) for node in left], [key(node, 1) for node in right]):
                    if found.join(left[a], right[b]):
                        joined.append((left[a], right[b]))
            start = end[0] + 1, end[1] + 1
        return joined
