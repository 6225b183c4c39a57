"""What the layers of an exported program take and give: it has no modules left to hook, but each of its nodes knows
the module that it was written for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from avreview.probes.child.leaves import to_tensor
from avreview.probes.child.live import Live
from avreview.probes.child.observed import Call, Sample, run_quietly, tensors

Array = np.ndarray[Any, Any]


def interpreted(live: Live, feed: Mapping[str, Array], names: Sequence[str]) -> list[Call]:
    """One call for each module path, in the order in which they end. Raises Refused."""
    import torch

    taken: dict[str, list[Sample]] = {}
    given: dict[str, tuple[int, list[Sample]]] = {}

    class Observer(torch.fx.Interpreter):  # type: ignore[misc]
        """Runs node by node and notes what each module takes and gives."""

        def run_node(self, node: Any) -> Any:
            paths = _paths(node)
            if any(path not in taken for path in paths):
                arguments = tensors(self.fetch_args_kwargs_from_env(node))
                for path in paths:
                    taken.setdefault(path, arguments)
            result = super().run_node(node)
            found = tensors(result) if paths else []
            for path in paths if found else ():
                given[path] = (len(given) + place[0], found)
            place[0] += 1
            return result

    place = [0]
    tensors_in = [to_tensor(feed[name]) for name in names]
    run_quietly("the reference", lambda: Observer(live.module).run(*tensors_in))
    order = sorted(given, key=lambda path: given[path][0])
    inner = {path for path in order if not any(other.startswith(f"{path}.") for other in order)}
    return [Call(path, taken.get(path, []), given[path][1], path in inner) for path in order]


def _paths(node: Any) -> list[str]:
    """The modules that a node belongs to, outermost first."""
    stack = node.meta.get("nn_module_stack") or {}
    return [str(entry[0]) for entry in stack.values() if entry and entry[0]]
