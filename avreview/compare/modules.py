"""The structure of two checkpoints: modules that came, went, are of another class, or set otherwise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from avreview.checkpoint import Module
from avreview.compare.grouping import grouped
from avreview.compare.match import Match
from avreview.compare.result import ADDED, CHANGED, REMOVED, Change, Section
from avreview.compare.sides import Side
from avreview.compare.structure import TITLE
from avreview.facts.state_names import named_modules

# Attributes of which the sections on norms and dropout tell.
_NORM = frozenset({"eps", "momentum", "track_running_stats", "affine", "num_groups", "norm"})
_DROPOUT = frozenset({"p"})
_IGNORED = frozenset({"inplace"})


class Modules(NamedTuple):
    """The section on modules, and the paths of modules that one side alone has."""

    section: Section
    gone: tuple[frozenset[str], frozenset[str]]


def compare_modules(match: Match) -> Modules:
    """Compares two module trees; of state dicts what names and shapes tell of them."""
    old, new = _tree(match.old), _tree(match.new)
    taken: dict[str, str] = {}
    used: set[str] = set()
    for path in old:
        there = match.names.new(path)
        if there in new and there not in used:
            taken[path] = there
            used.add(there)
    gone = [path for path in old if path not in taken]
    came = [path for path in new if path not in used]
    changes = [*_outermost(REMOVED, gone, old, match.old), *_outermost(ADDED, came, new, match.new)]
    changes += grouped(_changed(old, new, taken))
    renamed = [(path, there) for path, there in taken.items() if path != there and not old[path].children]
    notes = ["a state dict shows modules with parameters alone"] if match.old.only_names or match.new.only_names else []
    if renamed:
        notes.append(f"{len(renamed)} modules are called otherwise: {renamed[0][0]} is {renamed[0][1]} now")
    words = f"{len(old)} modules before, {len(new)} now; {len(taken)} of them belong together"
    section = Section("structure", TITLE, words, changes, notes=notes)
    return Modules(section, (frozenset(gone), frozenset(came)))


def _tree(side: Side) -> Mapping[str, Module]:
    checkpoint = side.artifact.checkpoint
    tree = checkpoint.modules if checkpoint is not None else None
    return tree or named_modules(side.artifact.tensors)


def _outermost(kind: str, paths: list[str], tree: Mapping[str, Module], side: Side) -> Iterator[Change]:
    """One change for a module with all that it holds, unless sections of their own tell of all of it."""
    alone = set(paths)
    inside: dict[str, list[Module]] = {}
    roots: dict[str, str] = {}
    for path in sorted(paths, key=lambda path: path.count(".")):
        parent = path.rpartition(".")[0]
        while parent and parent not in alone:
            parent = parent.rpartition(".")[0]
        roots[path] = roots.get(parent, path) if parent else path
        inside.setdefault(roots[path], []).append(tree[path])
    sizes: Counter[str] = Counter()
    for name, tensor in side.artifact.tensors.items():
        module = name.rpartition(".")[0]
        if module in roots and tensor.is_floating:
            sizes[roots[module]] += tensor.size
    for root in (path for path in paths if path in inside):
        told = [module for module in inside[root] if not _is_told_elsewhere(module)]
        if told:
            amount = f" of {len(inside[root])} modules" if len(inside[root]) > 1 else ""
            yield Change(kind, root, f"{tree[root].kind or 'module'}{amount} with {sizes[root]:,} parameters")


def _is_told_elsewhere(module: Module) -> bool:
    return "Norm" in module.kind or "Dropout" in module.kind or "running_mean" in module.buffers


def _changed(old: Mapping[str, Module], new: Mapping[str, Module], taken: Mapping[str, str]) -> Iterator[Change]:
    for path, there in taken.items():
        before, after = old[path], new[there]
        if before.kind != after.kind:
            if not (_is_told_elsewhere(before) and _is_told_elsewhere(after)):
                yield Change(CHANGED, there or "(root)", "class", before.kind, after.kind)
            continue
        found = _differences(before, after)
        if found:
            was, now = ({name: values[side] for name, values in found.items()} for side in (0, 1))
            yield Change(CHANGED, there or "(root)", f"{after.kind}: {', '.join(found)}", was, now)


def _differences(before: Module, after: Module) -> dict[str, tuple[Any, Any]]:
    left_out = set(_IGNORED)
    if "Norm" in after.kind:
        left_out |= _NORM
    if "Dropout" in after.kind:
        left_out |= _DROPOUT
    # What one side alone records, another format or version leaves out.
    names = [name for name in before.attributes if name in after.attributes and name not in left_out]
    found: dict[str, tuple[Any, Any]] = {name: (before.attributes[name], after.attributes[name]) for name in names}
    if before.frozen != after.frozen:
        found["requires_grad=False"] = (sorted(before.frozen), sorted(after.frozen))
    return {name: pair for name, pair in found.items() if not _same(*pair)}


def _same(one: Any, other: Any) -> bool:
    """Whether two settings mean the same: 3 is (3, 3) in another format."""
    for left, right in ((one, other), (other, one)):
        if isinstance(left, tuple) and left and not isinstance(right, tuple):
            return all(entry == right for entry in left)
    return bool(one == other)
