"""A module that torch pickled whole, read without torch, against what torch itself says of it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inert_values import instance, module, tensor

from avreview.artifact import Artifact
from avreview.checkpoint import Module
from avreview.errors import ArtifactError
from avreview.load import open_artifact
from avreview.load.layouts.layout import lay_out

torch: Any = pytest.importorskip("torch")
nn: Any = torch.nn

Open = Callable[[Any], Artifact]


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Saves a value with torch in either format and opens it."""

    def save(value: Any) -> Artifact:
        path = tmp_path / "model.pt"
        torch.save(value, path, _use_new_zipfile_serialization=request.param)
        return open_artifact(path)

    return save


class Block(nn.Module):  # type: ignore[misc]
    """What there is in real models: norms, dropout, a frozen layer, buffers of both kinds, a tie, a plain function."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, (3, 5), stride=2, padding=1, groups=1, bias=False)
        self.bn = nn.BatchNorm2d(8, eps=1e-3, momentum=0.03)
        self.drop = nn.Dropout(0.25)
        self.act = nn.LeakyReLU(0.2, inplace=True)
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)
        self.embedding = nn.Embedding(10, 8)
        self.head = nn.Linear(8, 10, bias=False)
        self.head.weight = self.embedding.weight
        self.layers = nn.ModuleList([nn.LSTM(8, 4, bidirectional=True), nn.LayerNorm(8)])
        self.scale = nn.Parameter(torch.ones(3))
        self.register_parameter("absent", None)
        self.register_buffer("kept", torch.arange(3.0))
        self.register_buffer("temporary", torch.arange(4.0), persistent=False)
        self.function = nn.functional.gelu
        self.sizes = [(1, 2), (3, 4)]
        self.conv.requires_grad_(False)


def same_tensors(artifact: Artifact, expected: Any) -> None:
    assert list(artifact.tensors) == list(expected)
    for name, original in expected.items():
        np.testing.assert_array_equal(artifact.tensors[name].copy(), original.detach().numpy())


def tree(artifact: Artifact) -> dict[str, Module]:
    assert artifact.checkpoint is not None
    assert artifact.checkpoint.modules is not None
    return dict(artifact.checkpoint.modules)


def test_the_tree_is_torchs(opened: Open) -> None:
    model = Block().eval()
    model.bn.train()
    artifact = opened(model)
    same_tensors(artifact, model.state_dict())
    modules = tree(artifact)
    assert list(modules) == [path for path, _ in model.named_modules(remove_duplicate=False)]
    for path, original in model.named_modules(remove_duplicate=False):
        read = modules[path]
        assert read.kind == type(original).__name__
        assert read.package == type(original).__module__
        assert list(read.children) == [name for name, _ in original.named_children()]
        parameters = dict(original.named_parameters(recurse=False))
        assert list(read.parameters) == list(parameters)
        assert read.frozen == {name for name, one in parameters.items() if not one.requires_grad}
        assert list(read.buffers) == [name for name, _ in original.named_buffers(recurse=False)]
        assert read.attributes["training"] is original.training
    assert artifact.checkpoint
    assert artifact.checkpoint.sets["model"].training is False
    assert artifact.checkpoint.layout == "module"
    assert artifact.limitations == []


def test_plain_attributes_are_kept(opened: Open) -> None:
    modules = tree(opened(Block()))
    assert modules["bn"].attributes == {
        "training": True, "num_features": 8, "eps": 1e-3, "momentum": 0.03, "affine": True, "track_running_stats": True,
    } | {name: value for name, value in modules["bn"].attributes.items() if name == "bias"}  # fmt: skip
    conv = modules["conv"].attributes
    assert (conv["kernel_size"], conv["stride"], conv["padding"], conv["groups"]) == ((3, 5), (2, 2), (1, 1), 1)
    assert modules["drop"].attributes["p"] == 0.25
    assert (modules["act"].attributes["negative_slope"], modules["act"].attributes["inplace"]) == (0.2, True)
    attention = modules["attention"].attributes
    assert (attention["num_heads"], attention["batch_first"], attention["dropout"]) == (2, True, 0.1)
    assert modules["head"].attributes["in_features"] == 8
    assert modules[""].attributes["sizes"] == (1, 2, 3, 4)
    assert modules[""].attributes["function"] == "torch._C._nn.gelu"


def test_tied_weights_share_their_storage(opened: Open) -> None:
    tensors = opened(Block()).tensors
    assert tensors["head.weight"].storage is tensors["embedding.weight"].storage
    assert tensors["head.weight"].name == "head.weight"


def test_a_shared_module_stands_at_each_of_its_places(opened: Open) -> None:
    shared = nn.Linear(2, 2)
    modules = tree(opened(nn.ModuleDict({"a": shared, "b": nn.Sequential(shared)})))
    assert list(modules) == ["", "a", "b", "b.0"]
    assert modules["a"].kind == modules["b.0"].kind == "Linear"


def test_wrappers_around_the_model_are_its_prefix(opened: Open) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    artifact = opened(nn.DataParallel(model))
    assert list(artifact.tensors) == list(model.state_dict())
    assert tree(artifact)[""].kind == "Sequential"
    assert artifact.checkpoint
    assert artifact.checkpoint.sets["model"].prefix == "module."
    assert artifact.tensors["0.weight"].name == "module.0.weight"


def test_compiled_modules_are_the_modules_that_were_compiled(opened: Open) -> None:
    model = nn.Sequential(nn.Linear(2, 2), torch.compile(nn.Sequential(nn.BatchNorm1d(2))))
    for value, prefix in ((model, ""), (torch.compile(model), "_orig_mod.")):
        artifact = opened(value)
        assert list(artifact.tensors)[:3] == ["0.weight", "0.bias", "1.0.weight"]
        assert list(tree(artifact)) == ["", "0", "1", "1.0"]
        assert artifact.checkpoint
        assert artifact.checkpoint.sets["model"].prefix == prefix


def test_a_copy_for_inference_does_not_tell_what_was_frozen(opened: Open) -> None:
    artifact = opened(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).requires_grad_(False))
    assert not any(module.frozen for module in tree(artifact).values())
    (said,) = artifact.limitations
    assert "requires_grad False on every parameter" in said


def test_old_weight_norm_keeps_its_two_parameters(opened: Open) -> None:
    with pytest.warns(FutureWarning):
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)))
    artifact = opened(model)
    same_tensors(artifact, model.state_dict())
    assert tree(artifact)["0"].parameters == ("bias", "weight_g", "weight_v")


def test_a_lazy_module_that_never_saw_an_input_is_named(opened: Open) -> None:
    artifact = opened(nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2)))
    assert list(artifact.tensors) == ["0.weight", "0.bias"]
    assert tree(artifact)["1"].kind == "LazyLinear"
    assert any("'1.weight', '1.bias' hold no values" in said for said in artifact.limitations)


def test_a_quantized_module_is_in_the_tree(opened: Open) -> None:
    pytest.importorskip("torch.ao.nn.quantized")
    if "qnnpack" not in torch.backends.quantized.supported_engines:
        pytest.skip("this build of torch has no engine for quantized layers")
    torch.backends.quantized.engine = "qnnpack"
    model = nn.Sequential(nn.Linear(4, 4), torch.ao.nn.quantized.Quantize(0.1, 3, torch.quint8))
    artifact = opened(nn.Sequential(model, nn.ReLU()))
    assert tree(artifact)["0.1"].kind == "Quantize"
    assert artifact.tensors["0.1.scale"].copy() == np.float32(0.1)


def test_packed_weights_are_named(opened: Open) -> None:
    quantize: Any = torch.ao.quantization.quantize_dynamic
    with pytest.warns(DeprecationWarning, match="quantiz"):
        packed = quantize(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), {nn.Linear})
    artifact = opened(packed)
    assert tree(artifact)["0"].kind == "Linear"
    assert "1.weight" in artifact.tensors
    assert any("'0._packed_params (LinearPackedParams)' were not read" in said for said in artifact.limitations)
    with pytest.raises(ArtifactError, match=r"holds no weights that can be read: weights inside '0\._packed"):
        opened(packed[:1])


def test_a_pickled_average_is_one(opened: Open) -> None:
    average = torch.optim.swa_utils.AveragedModel(nn.Sequential(nn.Linear(2, 2)))
    artifact = opened(average)
    assert artifact.checkpoint
    assert (artifact.checkpoint.primary, artifact.checkpoint.sets["swa"].prefix) == ("swa", "module.")
    assert list(artifact.tensors) == ["0.weight", "0.bias"]


def test_a_checkpoint_of_a_module_with_its_optimizer(opened: Open) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW([{"params": [model[0].weight]}, {"params": [model[0].bias], "weight_decay": 0.0}])
    model(torch.randn(4, 2)).sum().backward()
    optimizer.step()
    checkpoint = opened({"model": model, "optimizer": optimizer}).checkpoint
    assert checkpoint
    assert checkpoint.modules
    (found,) = checkpoint.optimizers
    assert found.kind == "AdamW"
    assert [group.slots for group in found.groups] == [(0,), (1,)]
    assert [group.options["weight_decay"] for group in found.groups] == [0.01, 0.0]
    moments = found.state[1]["exp_avg"]
    np.testing.assert_array_equal(moments.copy(), optimizer.state[model[0].bias]["exp_avg"].numpy())


def test_modules_that_hold_themselves_are_cut() -> None:
    inner = module(_parameters={"weight": tensor()})
    root = module(_modules={"inner": inner})
    inner.state["_modules"] = {"root": root, "self": inner}
    found = lay_out(root, path="x.pt", weights=None)
    assert found.checkpoint.modules is not None
    assert list(found.checkpoint.modules) == ["", "inner"]
    assert any("'inner.root', 'inner.self' were not followed" in said for said in found.limitations)


def test_a_very_deep_tree_is_cut() -> None:
    root = module(_parameters={"weight": tensor()})
    for _ in range(sys.getrecursionlimit() * 2):
        root = module(_modules={"child": root}, _parameters={"weight": tensor()})
    found = lay_out(root, path="x.pt", weights=None)
    assert len(found.tensors) == 65
    assert any("levels deep" in said for said in found.limitations)


def test_a_tree_of_ever_the_same_modules_is_refused() -> None:
    root = module(_parameters={"weight": tensor()})
    for _ in range(50):
        root = module(_modules={"left": root, "right": root})
    with pytest.raises(ArtifactError, match="more entries than any checkpoint"):
        lay_out(root, path="x.pt", weights=None)


def test_a_child_without_a_modules_state_is_named() -> None:
    strange = instance("nets.Packed", (1, 2, 3))
    found = lay_out(module(_modules={"a": strange}, _parameters={"w": tensor()}), path="x.pt", weights=None)
    assert found.checkpoint.modules is not None
    assert found.checkpoint.modules["a"].kind == "Packed"
    assert any("weights inside 'a (Packed)' were not read" in said for said in found.limitations)
