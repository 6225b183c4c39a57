"""How two artifacts correspond: their tensors, their nodes, their modules. What every section builds on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

from avreview.artifact import Node
from avreview.compare.alignment import Alignment, align
from avreview.compare.held import Held, held
from avreview.compare.pairing import ModuleNames, Paired, Pairs
from avreview.compare.sides import Side

_LAYERS = frozenset({
    "Conv", "FusedConv", "ConvInteger", "QLinearConv", "Gemm", "FusedGemm", "QGemm", "MatMul", "FusedMatMul",
    "MatMulInteger", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul",
})  # fmt: skip


class Match:
    """Two sides, and what belongs together in them."""

    def __init__(self, old: Side, new: Side) -> None:
        self.old, self.new = old, new
        self._pairs = Pairs(held(old), held(new))
        self._pairs.by_name()
        names = ModuleNames(self._pairs.all)
        self.alignment: Alignment | None = None
        if old.graph is not None and new.graph is not None:
            self.alignment = align(old.graph, new.graph, self._seeds(), names.new)
            self._pairs.by_place(list(self._by_nodes(self.alignment)))
        self._pairs.by_name_alone(self._may_be_one)
        self._pairs.by_direction()
        if self.alignment is not None:
            for pair in self._seeds():
                self.alignment.join(*pair)
        self.names = ModuleNames(self._pairs.all)

    @property
    def tensors(self) -> Sequence[Paired]:
        return self._pairs.all

    @cached_property
    def old_left(self) -> list[Held]:
        """The old side's tensors that nothing was paired with."""
        return self._pairs.old_left

    @cached_property
    def new_left(self) -> list[Held]:
        return self._pairs.new_left

    def new_node(self, node: Node) -> Node | None:
        """The new side's node for an old one; None without a graph on both sides."""
        return None if self.alignment is None else self.alignment.new_of.get(node.index)

    def _may_be_one(self, old: Held, new: Held) -> bool:
        """Whether tensors of one name and two shapes may belong together: exporters number names anew."""
        if self.alignment is None or old.node is None or new.node is None:
            return True
        aligned = old.node.index in self.alignment.new_of or new.node.index in self.alignment.old_of
        return not aligned and old.label == new.label and old.node.op == new.node.op and old.module == new.module

    def _seeds(self) -> Iterator[tuple[Node, Node]]:
        """The nodes that take paired tensors in the same role."""
        for old, new, _ in self._pairs.all:
            if old.node is None or new.node is None or old.role != new.role:
                continue
            if old.node.op == new.node.op or (old.node.op in _LAYERS and new.node.op in _LAYERS):
                yield old.node, new.node

    def _by_nodes(self, alignment: Alignment) -> Iterator[tuple[Held, Held]]:
        """Tensors that aligned nodes take in the same role; several factors of one node in their order."""
        takers = _by_taker(self._pairs.new_left)
        for (index, role), own in _by_taker(self._pairs.old_left).items():
            partner = alignment.new_of.get(index)
            others = takers.get((partner.index, role), ()) if partner is not None else ()
            if len(own) == len(others):
                yield from zip(own, others, strict=True)


def _by_taker(entries: Sequence[Held]) -> dict[tuple[int, str], list[Held]]:
    """Tensors by the node that takes them and their role in it."""
    found: dict[tuple[int, str], list[Held]] = {}
    for entry in entries:
        if entry.node is not None:
            role = f"{entry.role} {entry.leaf}" if entry.role in ("weight", "bias") else entry.role
            found.setdefault((entry.node.index, role), []).append(entry)
    return found
