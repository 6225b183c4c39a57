"""How far a live module's outputs move between eval() and train(), and which of its parts move them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, combinations, takewhile
from typing import Any, NamedTuple

import numpy as np

from avreview.probes.child.compare import Array, drift, equal
from avreview.probes.child.inputs import Inputs
from avreview.probes.child.layer_walk import is_program, run_synced_norms_alone, tensors
from avreview.probes.child.leaves import leaves, to_array
from avreview.probes.child.live import Live, guarded, open_live
from avreview.probes.child.live_inputs import Arguments, settle
from avreview.probes.child.refusal import Refused
from avreview.probes.child.runtime import Runtime
from avreview.probes.child.sensitive import kind, norms_and_dropouts, sensitive_parts

Outputs = Mapping[str, Array]
_TRIALS = 48  # runs with some parts in train()
_GROUPS = 8  # into which many parts are divided
_SHOWN = 8  # parts that are named
_SEEDS = (0, 1, 2)


class Group(NamedTuple):
    """Some parts by path, and the gap that they cause alone."""

    paths: Sequence[str]
    gap: float

    @property
    def name(self) -> str:
        """The path of a single part, or what the paths of several have in common."""
        return self.paths[0] if len(self.paths) == 1 else ".".join(_common(self.paths))


class Modes:
    """Runs a module with some of its parts in train() and all others in eval(), each time from the same state."""

    def __init__(self, live: Live, parts: Mapping[str, Any]) -> None:
        self._live = live
        self._parts = parts
        self._buffers = {name: buffer.clone() for name, buffer in live.module.named_buffers()}
        self.trials = 0

    def still(self, arguments: Arguments, seed: int = 0) -> Outputs:
        """The floating-point outputs in eval()."""
        return self._run(arguments, seed)

    def trained(self, arguments: Arguments, seed: int) -> Outputs:
        """Those in train(), as the module itself understands it: some keep parts of themselves frozen."""
        with guarded("the reference, put into train(),"):
            self._live.module.train()
        return self._run(arguments, seed)

    def switched(self, arguments: Arguments, paths: Iterable[str], seed: int = 0) -> Outputs:
        """Those with the parts of these paths alone in train()."""
        self.trials += 1
        for path in paths:
            self._parts[path].training = True
        return self._run(arguments, seed)

    def follows(self) -> list[str]:
        """The parts that the module's own train() switches."""
        self._live.module.train()
        followed = [path for path, part in self._parts.items() if part.training]
        self._live.module.eval()
        return followed

    def _run(self, arguments: Arguments, seed: int) -> Outputs:
        import torch

        random.seed(seed)
        np.random.seed(seed)  # the generator that the module may draw from
        torch.manual_seed(seed)
        try:
            with torch.no_grad():
                returned = arguments.call(self._live.module)
            found = _leaves(returned)
        finally:
            self._restore()
        return {
            name or f"output {place}": array for place, (name, array) in enumerate(found) if array.dtype.kind in "fc"
        }

    def _restore(self) -> None:
        import torch

        self._live.module.eval()
        with torch.no_grad():
            for name, buffer in self._live.module.named_buffers():
                if name in self._buffers and buffer.shape == self._buffers[name].shape:
                    buffer.copy_(self._buffers[name])


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """Runs the module in both modes on the same inputs, and then with some of its parts in train().

    `gap` is the largest |difference| / largest |output| between the modes, `chance` between runs in train().
    """
    live = open_live(job["reference"])
    _require_modes(live)
    run_synced_norms_alone(live.module)
    _run_parts_one_by_one()
    parts = sensitive_parts(live.module)
    modes = Modes(live, parts)
    arguments, still = settle(live, inputs, job, modes.still)
    if not still:
        raise Refused("the reference returns no floating-point numbers, so how far they move cannot be told")
    if _gap(still, modes.still(arguments, seed=1)):
        raise Refused("in eval() already the reference's outputs differ from run to run, so the modes cannot be told")
    runs, paths, scope = _in_training(modes, arguments, still, parts)
    gaps = [{name: drift(array, run[name]) for name, array in still.items()} for run in runs]
    groups = _contributions(modes, arguments, still, paths, lambda: runtime.is_late)
    return {
        "outputs": {name: max(gap[name] for gap in gaps) for name in still},
        "chance": max(_gap(one, other) for one, other in combinations(runs, 2)),
        "scope": scope,
        "parts": [_named(modes, arguments, parts, group) for group in groups if group.gap][:_SHOWN],
        "sensitive": len(paths),
        "inputs_used": arguments.as_json(),
    }


def _leaves(returned: Any) -> list[tuple[str, Array]]:
    """The arrays that were returned; beside what else is returned (a cache) they go without names."""
    with guarded("the reference's output"):
        try:
            return list(leaves(returned))
        except Refused:
            return [("", to_array(tensor)) for tensor in tensors(returned)]


def _require_modes(live: Live) -> None:
    import torch

    instead = "pass pkg.module:factory as reference"
    if is_program(live.module):
        raise Refused(f"an exported program has one mode, that of its export; {instead}")
    if isinstance(live.module, torch.jit.ScriptModule) and not sensitive_parts(live.module):
        raise Refused(f"this TorchScript reads no mode, as one that was traced or frozen; {instead}")


def _run_parts_one_by_one() -> None:
    """Keeps torch's transformer layers from computing in one step, which ignores the modes of what they hold."""
    import torch

    torch.backends.mha.set_fastpath_enabled(False)


def _in_training(
    modes: Modes, arguments: Arguments, still: Outputs, parts: Mapping[str, Any]
) -> tuple[list[Outputs], list[str], str]:
    """The outputs in train(), the paths of the parts that are switched, and which of them are.

    A module that wants targets in train(), or returns a loss or further outputs, is run with its norms and dropouts
    alone in train(). Raises Refused where that cannot be compared either.
    """
    try:
        runs = [modes.trained(arguments, seed) for seed in _SEEDS]
        if all(_comparable(still, run) for run in runs):
            return runs, modes.follows(), "all"
        why = "in train() the reference returns other outputs than in eval()"
    except Refused as refused:
        why = str(refused)
    known = [path for path in modes.follows() if path in norms_and_dropouts(parts)]
    if not known:
        raise Refused(f"{why}, and it has no norm or dropout that could be switched alone")
    runs = [modes.switched(arguments, known, seed) for seed in _SEEDS]
    if not all(_comparable(still, run) for run in runs):
        raise Refused("with its norms and dropouts in train() the reference returns outputs of other shapes")
    return runs, known, "norms and dropouts"


def _comparable(still: Outputs, run: Outputs) -> bool:
    return {name: array.shape for name, array in still.items()} == {name: array.shape for name, array in run.items()}


def _gap(one: Outputs, other: Outputs) -> float:
    return max((drift(array, other[name]) for name, array in one.items()), default=0.0)


def _contributions(
    modes: Modes, arguments: Arguments, still: Outputs, paths: Sequence[str], is_late: Callable[[], bool]
) -> list[Group]:
    """Parts, or groups of parts, with the gap that each causes alone, the largest first.

    Where there are many, the group with the largest gap is divided, along the module tree, until single parts are
    found or the number of runs is spent.
    """

    def measured(group: Sequence[str]) -> Group:
        run = modes.switched(arguments, group)
        return Group(group, _gap(still, run) if _comparable(still, run) else 0.0)

    groups = [measured(list(paths))] if paths else []
    while True:
        largest = sorted(groups, key=lambda group: -group.gap)[:_SHOWN]
        several = next((group for group in largest if len(group.paths) > 1 and group.gap), None)
        if several is None:
            break
        divided = _divided(several.paths)
        if modes.trials + len(divided) > _TRIALS or (is_late() and len(groups) > 1):
            break
        groups.remove(several)
        groups += map(measured, divided)
    return sorted(groups, key=lambda group: -group.gap)


def _divided(paths: Sequence[str]) -> list[list[str]]:
    """Paths by the next name behind what they have in common; many of them in a few groups of neighbours."""
    depth = len(_common(paths))
    found: dict[str, list[str]] = {}
    for path in paths:
        found.setdefault(".".join(path.split(".")[: depth + 1]), []).append(path)
    every = list(found.values())
    if len(every) == 1:
        every = [[path] for path in paths]
    size = -(-len(every) // _GROUPS)
    return [list(chain(*every[start : start + size])) for start in range(0, len(every), size)]


def _common(paths: Sequence[str]) -> list[str]:
    """The names that all paths begin with."""
    levels = zip(*(path.split(".") for path in paths), strict=False)
    return [names[0] for names in takewhile(lambda names: len(set(names)) == 1, levels)]


def _named(modes: Modes, arguments: Arguments, parts: Mapping[str, Any], group: Group) -> dict[str, Any]:
    """What the answer says of a group: also whether it moves outputs by chance."""
    runs = [modes.switched(arguments, group.paths, seed) for seed in _SEEDS[:2]]
    chance = any(not equal(array, runs[1][name]) for name, array in runs[0].items() if name in runs[1])
    kinds = sorted({kind(parts[path]) for path in group.paths})
    return {"path": group.name, "kinds": kinds, "number": len(group.paths), "gap": group.gap, "chance": chance}
