"""How large the gradient arrives at each weight layer of a live module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from avreview.probes.child.inputs import Inputs
from avreview.probes.child.layer_walk import (
    WeightLayer,
    batch_norms,
    is_program,
    program_layer,
    run_synced_norms_alone,
    tensors,
    weight_layers,
)
from avreview.probes.child.live import RUNNING, Live, guarded, open_live
from avreview.probes.child.live_inputs import Arguments, settle
from avreview.probes.child.refusal import Refused
from avreview.probes.child.runtime import Runtime
from avreview.stages import stage

BACKWARD = "running the reference backward"


class Observed:
    """The squares of dL/dh at the output h of one layer, summed over samples and positions, by unit.

    A layer that is called several times (a head on each level, a cell in each step) has the sum of all calls.
    """

    def __init__(self, layer: WeightLayer) -> None:
        self.layer = layer
        self.squares: Any = None

    def watch(self, output: Any) -> None:
        """Notes the gradient at a call's output as it comes by."""
        found = next(tensors(output), None)
        if found is not None and found.requires_grad:
            found.register_hook(self._add)

    def _add(self, gradient: Any) -> None:
        axis = self.layer.unit_axis
        place = gradient.ndim + axis if gradient.ndim >= -axis else 0
        others = [number for number in range(gradient.ndim) if number != place]
        squares = gradient.detach().double() ** 2
        squares = squares.sum(others) if others else squares
        self.squares = squares if self.squares is None else self.squares + squares

    @property
    def units(self) -> int:
        return int(self.squares.numel()) if self.squares is not None else 0

    def variance(self, samples: int) -> float | None:
        """Of the median unit; None where no gradient came by."""
        return float(self.squares.median()) / samples if self.squares is not None else None


def probe(runtime: Runtime, inputs: Inputs, job: Mapping[str, Any]) -> dict[str, Any]:
    """One pass forward, and one backward from random numbers at the outputs. Layers are in the order of their calls.

    The numbers have mean 0 and do not depend on the inputs, so the mean of every gradient is 0 and its variance is the
    mean of its square. Batch norms use the statistics of the batch, as they do in training; dropout is off.
    """
    live = open_live(job["reference"])
    _require_open(live)
    frozen = [path for path, parameter in live.module.named_parameters() if not parameter.requires_grad]
    for parameter in live.module.parameters():
        parameter.requires_grad_(parameter.is_floating_point() or parameter.is_complex())
    statistics = _own_statistics(live.module)
    seed = int(job["plan"]["seed"])
    arguments, observed = settle(live, inputs, job, lambda found: _pass(live, found, seed))
    return {
        "layers": [
            {
                "path": entry.layer.path,
                "kind": entry.layer.kind,
                "variance": entry.variance(arguments.samples or 1),
                "units": entry.units,
                "recurrent": entry.layer.recurrent,
            }
            for entry in observed
        ],
        "statistics": statistics,
        "frozen": frozen,
        "unused": [
            path
            for path, parameter in live.module.named_parameters()
            if parameter.requires_grad and parameter.grad is None
        ],
        "inputs_used": arguments.as_json(),
    }


def _require_open(live: Live) -> None:
    import torch

    if isinstance(live.module, torch.jit.ScriptModule):
        raise Refused("TorchScript shows nothing of its inner layers' gradients; pass pkg.module:factory as reference")


def _own_statistics(module: Any) -> str:
    """Lets batch norms use the batch's statistics, except in an exported program, which has the ones it was given."""
    if is_program(module):
        return "running"
    run_synced_norms_alone(module)
    norms = batch_norms(module)
    for norm in norms:
        norm.train()
    return "batch" if norms else "none"


def _pass(live: Live, arguments: Arguments, seed: int) -> list[Observed]:
    """Raises Refused where the module raises, or nothing that it returns has a gradient."""
    import torch

    live.module.zero_grad(set_to_none=True)
    program = is_program(live.module)
    layers = [] if program else weight_layers(live.module)
    with _watched(layers) as observed, torch.enable_grad():
        returned = _interpreted(live.module, arguments, observed) if program else arguments.call(live.module)
        ends = [tensor for tensor in tensors(returned) if tensor.requires_grad]
        if not ends:
            raise Refused("nothing that the reference returns has a gradient; give a factory whose outputs keep theirs")
        random = torch.Generator().manual_seed(seed)
        starts = [_noise(tensor, random) for tensor in ends]
        stage(BACKWARD)
        with guarded("the reference's backward pass"):
            torch.autograd.backward(ends, starts)
    return list(observed.values())


def _interpreted(module: Any, arguments: Arguments, observed: dict[str, Observed]) -> Any:
    """What an exported program returns, run node by node: it has no modules to hook, but its nodes name theirs."""
    import torch

    class Watching(torch.fx.Interpreter):  # type: ignore[misc]
        def run_node(self, node: Any) -> Any:
            if node.op == "call_module":
                return None  # the guards, which insist on the example's batch size
            result = super().run_node(node)
            layer = program_layer(node, result)
            if layer is not None:
                observed.setdefault(layer.path, Observed(layer)).watch(result)
            return result

    stage(RUNNING)
    with guarded("the reference"):
        return Watching(module).run(*arguments.positional, *arguments.keywords.values())


def _noise(tensor: Any, random: Any) -> Any:
    import torch

    return torch.randn(tensor.shape, generator=random).to(tensor.dtype)


@contextmanager
def _watched(layers: Sequence[WeightLayer]) -> Iterator[dict[str, Observed]]:
    """What each layer sees of the gradient, in the order in which the layers are called first."""
    observed: dict[str, Observed] = {}

    def hook(layer: WeightLayer) -> Any:
        def after(module: Any, arguments: Any, output: Any) -> None:
            observed.setdefault(layer.path, Observed(layer)).watch(output)

        return after

    handles = [layer.module.register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield observed
    finally:
        for handle in handles:
            handle.remove()
