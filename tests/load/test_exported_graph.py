"""An exported program's graph: what the facts say of it is what they say of the same model as ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from program_networks import (  # noqa: E402
    ACTIVATIONS,
    Detector,
    DropPath,
    Residual,
    batch_statistics,
    chain_of_activations,
    dropouts,
    layer_facts,
    mutated,
    norm_facts,
    resolver,
)
from torch import nn  # noqa: E402

from avreview.artifact import Artifact  # noqa: E402
from avreview.facts.randomness import Randomness  # noqa: E402
from avreview.facts.sequences import Sequences  # noqa: E402
from avreview.load import open_artifact  # noqa: E402

IMAGE = (2, 3, 16, 16)
Export = Callable[..., Artifact]


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    torch.set_num_threads(1)
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
    logging.disable(before)


@pytest.fixture
def exported(tmp_path: Path) -> Export:
    """Exports a network, `decomposed` to torch's core operators or as it is, and opens it."""

    def export(network: Any, *inputs: Any, decomposed: bool = False, **options: Any) -> Artifact:
        program = torch.export.export(network, inputs, **options)
        path = tmp_path / "program.pt2"
        torch.export.save(program.run_decompositions() if decomposed else program, path)
        return open_artifact(path)

    return export


def operators(artifact: Artifact, domain: str = "torch") -> list[str]:
    assert artifact.graph is not None
    return [node.op for node in artifact.graph.nodes if node.domain == domain]


Detected = Callable[..., Artifact]


@pytest.fixture(scope="module")
def detected(tmp_path_factory: pytest.TempPathFactory) -> Detected:
    """The detector, exported once in each mode."""
    folder = tmp_path_factory.mktemp("detector")
    programs: dict[bool, Any] = {}

    def export(*, training: bool, decomposed: bool) -> Artifact:
        path = folder / f"{training}{decomposed}.pt2"
        if training not in programs:
            programs[training] = torch.export.export(Detector().train(training), (torch.randn(*IMAGE),))
        if not path.exists():
            program = programs[training]
            torch.export.save(program.run_decompositions() if decomposed else program, path)
        return open_artifact(path)

    return export


@pytest.fixture(scope="module")
def as_onnx(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The detector as PyTorch's ONNX exporter writes it, nothing folded."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    network = Detector().eval()
    torch.onnx.export(network, (torch.randn(*IMAGE),), path, dynamo=True, optimize=False, external_data=False)
    return open_artifact(path)


@pytest.mark.parametrize("decomposed", [False, True])
def test_facts_are_those_of_the_onnx_export(detected: Detected, as_onnx: Artifact, decomposed: bool) -> None:
    artifact = detected(training=False, decomposed=decomposed)
    assert operators(artifact) == []
    # The ONNX exporter writes a group norm as an instance norm between reshapes, whose scale it puts behind.
    expected = [fact for fact in norm_facts(as_onnx) if fact[1] != "stem.1"]
    assert [fact for fact in norm_facts(artifact) if fact[1] != "stem.1"] == expected
    assert norm_facts(artifact)[0][:2] == ("GroupNorm", "stem.1")
    layers = layer_facts(artifact)
    assert [layer for layer in layers if layer[0] != "stem.0"] == [
        layer for layer in layer_facts(as_onnx) if layer[0] != "stem.0"
    ]
    assert layers[0] == ("stem.0", "Conv", [3, 3, 3, 8], True, 8, 27, 1, "GroupNorm", "silu", False)
    assert batch_statistics(artifact) == []
    assert dropouts(artifact, active=True) == []
    assert mutated(artifact) == []


@pytest.mark.parametrize("decomposed", [False, True])
def test_training_mode_is_seen(detected: Detected, decomposed: bool) -> None:
    artifact = detected(training=True, decomposed=decomposed)
    assert batch_statistics(artifact) == ["block.bn1", "block.bn2"]
    assert mutated(artifact) == ["block.bn1", "block.bn2"]
    names = ["encoder.self_attn", "encoder.dropout1", "encoder.dropout", "encoder.dropout2"]
    assert dropouts(artifact, active=True) == [*((name, 0.2) for name in names), ("drop", 0.3)]


def test_dropout_out_of_use_is_listed(exported: Export) -> None:
    artifact = exported(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.4)).eval(), torch.randn(2, 3))
    assert dropouts(artifact, active=False) == [("1", 0.4)]
    assert dropouts(artifact, active=True) == []


def test_every_activation_is_recognised(exported: Export) -> None:
    artifact = exported(chain_of_activations().eval(), torch.randn(2, 3, 4, 4))
    assert operators(artifact) == []
    assert [layer[8] for layer in layer_facts(artifact)] == list(ACTIVATIONS)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrence(exported: Export, kind: type[nn.Module]) -> None:
    network = kind(8, 6, num_layers=2, bidirectional=True, dropout=0.25, batch_first=True)
    artifact = exported(network.train(), torch.randn(2, 5, 8))
    assert artifact.graph is not None
    nodes = [node for node in artifact.graph.nodes if node.op == kind.__name__]
    assert [node.attributes["direction"] for node in nodes] == ["forward", "reverse"] * 2
    assert [fan_in for *_, fan_in, _, _, _, _ in layer_facts(artifact)] == [8, 8, 12, 12]
    assert dropouts(artifact, active=True) == [(None, 0.25)]
    assert operators(artifact) == []
    assert len(resolver(artifact).get(Sequences).operators) == 4


def test_stochastic_depth(exported: Export) -> None:
    artifact = exported(nn.Sequential(nn.Conv2d(3, 3, 1), DropPath(0.2)).train(), torch.randn(*IMAGE))
    (found,) = resolver(artifact).get(Randomness).dropouts
    assert (found.module, round(found.rate or 0, 4), found.per_sample, found.scaled) == ("1", 0.2, True, True)


def test_every_batch_size(exported: Export) -> None:
    """Dimensions that are not fixed are symbols, and what is computed from them is followed."""

    class Flat(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.block = Residual(4)
            self.head = nn.Linear(4 * 36, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.block(x).reshape(x.shape[0], -1)).view(x.shape[0] * 3)

    dynamic = {"x": {0: torch.export.Dim("batch", min=2)}}
    artifact = exported(Flat().eval(), torch.randn(4, 4, 6, 6), dynamic_shapes=dynamic)
    assert artifact.graph is not None
    (given,) = artifact.graph.inputs
    assert isinstance((given.dims or ())[0], str)
    assert [layer[:2] for layer in layer_facts(artifact)][-1] == ("head", "Linear")
    assert operators(artifact) == []


def test_writing_in_place_is_followed(exported: Export) -> None:
    """Whoever reads a value behind an in-place operator reads what that one made."""

    class Writes(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 3, 1)
            self.second = nn.Conv2d(3, 3, 1)
            self.third = nn.Conv2d(3, 3, 1)

        def forward(self, x: Any) -> Any:
            x = self.first(x)
            x.relu_()
            x = self.second(x)
            x[:, 0].sigmoid_()
            return self.third(x)

    artifact = exported(Writes(), torch.randn(*IMAGE))
    assert artifact.graph is not None
    by_module = {layer[0]: layer[8] for layer in layer_facts(artifact)}
    assert by_module["first"] == "relu"
    second = next(node for node in artifact.graph.nodes if node.name == "conv2d_1")
    assert artifact.graph.producer[second.input(0)].op == "Relu"
    third = next(node for node in artifact.graph.nodes if node.name == "conv2d_2")
    whole = artifact.graph.producer[third.input(0)]
    assert whole.op == "aten::slice_scatter"
    assert [artifact.graph.producer[key].op for key in whole.inputs] == ["Conv", "Sigmoid"]


def test_branches_and_wrapped_graphs(exported: Export) -> None:
    class Branches(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.second = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                x = self.first(x)
            return torch.cond(x.sum() > 0, lambda x: self.second(x).tanh(), lambda x: x + 1, (x,))

    artifact = exported(Branches(), torch.randn(2, 4))
    assert artifact.graph is not None
    assert operators(artifact) == []
    weights = [layer[0] for layer in layer_facts(artifact)]
    assert weights == ["first", "second"]
    (branch,) = (node for node in artifact.graph.nodes if node.op == "If")
    made = [artifact.graph.producer[key] for key in branch.branch_results]
    assert [node.op for node in made] == ["Tanh", "Add"]
    assert [node.scope for node in made] == [f"{branch.name}/then_branch", f"{branch.name}/else_branch"]
    assert {node.op for node in artifact.graph.consumers[made[0].outputs[0]]} == {"If"}


def test_unknown_operators_stay(exported: Export) -> None:
    class Unknown(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return torch.special.bessel_j0(x).relu()

    artifact = exported(Unknown(), torch.randn(2, 3))
    assert artifact.graph is not None
    assert operators(artifact) == ["aten::special_bessel_j0"]
    first, second = artifact.graph.nodes
    assert first.inputs == ("x",)
    assert second.inputs == first.outputs


@pytest.mark.parametrize("decomposed", [False, True])
def test_graph_is_whole(detected: Detected, decomposed: bool) -> None:
    """Every value comes from a node in front of the reader, from a constant or from the caller."""
    artifact = detected(training=True, decomposed=decomposed)
    graph = artifact.graph
    assert graph is not None
    known = {*graph.constants, *(info.name for info in graph.inputs)}
    for index, node in enumerate(graph.nodes):
        assert node.index == index
        assert set(node.inputs) - {""} <= known, node
        known.update(node.outputs)
    assert len(graph.outputs) == 1
    assert {info.name for info in graph.outputs} <= known
    assert {id(tensor) for tensor in artifact.tensors.values()} <= {id(t) for t in graph.constants.values()}
