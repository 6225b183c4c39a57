"""TorchScript archives: every tensor equals what `torch.jit.load` gives, the tree and what modules do are read."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch")

from program_networks import Detector, Mixed, Residual  # noqa: E402
from torch import nn  # noqa: E402
from torch_files import Called, bits, pickled, zip_bytes  # noqa: E402

from avreview.artifact import Artifact  # noqa: E402
from avreview.checkpoint import Call, Module  # noqa: E402
from avreview.errors import ArtifactError  # noqa: E402
from avreview.load import open_artifact  # noqa: E402

IMAGE = (2, 3, 16, 16)
Saved = Callable[[Any], Path]


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    def save(module: Any) -> Path:
        path = tmp_path / "module.pt"
        module.save(path)
        return path

    return save


def scripted(module: Any) -> Any:
    return torch.jit.script(module)


def traced(module: Any) -> Any:
    shape = (2, 6) if isinstance(module, Mixed) else IMAGE
    return torch.jit.trace(module, torch.randn(*shape), check_trace=False)


def modules(artifact: Artifact) -> dict[str, Module]:
    assert artifact.checkpoint is not None
    assert artifact.checkpoint.modules is not None
    return dict(artifact.checkpoint.modules)


def call(module: Module, target: str) -> Call:
    (found,) = (call for call in module.calls if call.target == target)
    return found


@pytest.mark.parametrize(("make", "network"), [(scripted, Detector), (traced, Detector), (traced, Mixed)])
def test_tensors_are_torchs(saved: Saved, make: Callable[[Any], Any], network: type[Any]) -> None:
    path = saved(make(network().eval()))
    wanted = torch.jit.load(path).state_dict()
    artifact = open_artifact(path)
    assert set(artifact.tensors) == set(wanted)
    for name, tensor in wanted.items():
        found = artifact.tensors[name]
        assert (found.name, found.shape) == (name, tuple(tensor.shape))
        assert found.copy().tobytes() == bits(tensor)
    assert artifact.provenance.format == "torchscript"
    assert artifact.limitations == []
    assert artifact.checkpoint is not None
    assert (list(artifact.checkpoint.code), list(artifact.checkpoint.oddities)) == ([], [])


@pytest.mark.parametrize("make", [scripted, traced])
def test_tree_is_the_models(saved: Saved, make: Callable[[Any], Any]) -> None:
    model = Detector().eval()
    model.drop.train()
    path = saved(make(model))
    found = modules(open_artifact(path))
    assert list(found) == [name for name, _ in model.named_modules()]
    for name, module in model.named_modules():
        kept = found[name]
        assert kept.kind == type(module).__qualname__
        assert kept.package in (type(module).__module__, "program_networks", "")
        assert kept.children == tuple(name for name, _ in module.named_children())
        assert kept.parameters == tuple(name for name, _ in module.named_parameters(recurse=False))
        assert kept.buffers == tuple(name for name, _ in module.named_buffers(recurse=False))
        assert kept.attributes["training"] is module.training
    assert found["block.bn1"].attributes["eps"] == 1e-3
    assert found["block.bn1"].attributes["momentum"] == 0.03
    assert found["drop"].attributes["p"] == 0.3
    assert found["block.conv2"].attributes["groups"] == 2
    assert found["stem.0"].attributes["stride"] == (2, 2)


def test_what_is_frozen_and_tied(saved: Saved) -> None:
    artifact = open_artifact(saved(traced(Mixed())))
    assert modules(artifact)[""].frozen == {"frozen"}
    assert artifact.tensors["first.weight"].storage is artifact.tensors["second.weight"].storage


def test_forward_is_followed(saved: Saved) -> None:
    found = modules(open_artifact(saved(scripted(Residual(4).train()))))
    root = found[""]
    assert root.inputs == ("x",)
    assert [call.target for call in root.calls] == ["conv1", "bn1", "act", "conv2", "bn2", "aten::add", "act"]
    assert [call.is_child for call in root.calls] == [True] * 5 + [False, True]
    first, second = root.calls[0], root.calls[1]
    assert first.inputs == ("x",)
    assert second.inputs == first.outputs
    add = call(root, "aten::add")
    assert add.inputs == ("x", *root.calls[4].outputs)
    assert root.calls[6].inputs == add.outputs
    norm = call(found["bn1"], "aten::batch_norm")
    assert norm.inputs == ("input", "self.weight", "self.bias", "self.running_mean", "self.running_var")
    assert (norm.arguments["training"], norm.arguments["eps"], norm.arguments["momentum"]) == (True, 1e-3, 0.03)
    assert call(found["act"], "aten::relu_").inputs == ("input",)
    convolution = call(found["conv2"], "aten::conv2d")
    assert (convolution.arguments["groups"], convolution.arguments["padding"]) == (2, (1, 1))


def test_mode_decides_the_branch(saved: Saved) -> None:
    class Modal(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.training:
                return torch.tanh(x)
            return torch.relu(x)

    for training, target in ((True, "aten::tanh"), (False, "aten::relu")):
        found = modules(open_artifact(saved(scripted(Modal().train(training)))))
        assert [call.target for call in found[""].calls] == [target]


def test_data_leaves_both_branches_open(saved: Saved) -> None:
    class Either(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if bool(x.sum() > 0):  # noqa: SIM108 - what is tested
                x = torch.tanh(x)
            else:
                x = torch.relu(x)
            return torch.sigmoid(x)

    calls = modules(open_artifact(saved(scripted(Either()))))[""].calls
    assert [call.target for call in calls] == ["aten::tanh", "aten::relu", "prim::If", "aten::sigmoid"]
    assert calls[2].inputs == (*calls[0].outputs, *calls[1].outputs)
    assert calls[3].inputs == calls[2].outputs


def test_a_trace_keeps_the_mode_it_was_made_in(saved: Saved) -> None:
    network = traced(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.4)).train()).eval()
    found = modules(open_artifact(saved(network)))
    assert found["2"].attributes["training"] is False
    dropout = call(found["2"], "aten::dropout")
    assert (dropout.arguments["p"], dropout.arguments["train"]) == (0.4, True)
    assert found["2"].attributes["p"] == 0.4
    assert call(found["1"], "aten::batch_norm").arguments["training"] is True


def test_lists_and_further_methods(saved: Saved) -> None:
    class Listed(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([nn.Linear(3, 3), nn.ReLU()])

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            for part in self.parts:
                x = part(x)
            return x

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            kept = [x]
            kept.append(self.encode(x))
            return torch.cat(kept, 1)

    calls = modules(open_artifact(saved(scripted(Listed()))))[""].calls
    assert [call.target for call in calls] == ["parts.0", "parts.1", "aten::cat"]
    assert calls[2].inputs == ("x", *calls[1].outputs)
    assert calls[2].arguments == {"dim": 1}


def test_frozen_module(saved: Saved) -> None:
    path = saved(torch.jit.freeze(scripted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval())))
    artifact = open_artifact(path)
    graph = torch.jit.load(path).graph
    held = [node.output().toIValue() for node in graph.findAllNodes("prim::Constant")]
    constants = [constant for constant in held if isinstance(constant, torch.Tensor)]
    assert {tensor.copy().tobytes() for tensor in artifact.tensors.values()} == set(map(bits, constants))
    assert any("frozen" in limitation for limitation in artifact.limitations)
    calls = modules(artifact)[""].calls
    assert [call.target for call in calls] == ["aten::conv2d", "aten::relu"]
    assert set(calls[0].inputs[1:]) == set(artifact.tensors)


def test_one_set_of_weights(saved: Saved) -> None:
    with pytest.raises(ArtifactError, match="has no weight set 'ema'"):
        open_artifact(saved(scripted(nn.Linear(2, 2))), weights="ema")


# What somebody else wrote


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    path = tmp_path_factory.mktemp("module") / "module.pt"
    scripted(Residual(4).train()).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def changed(folder: Path, members: dict[str, bytes], changes: dict[str, bytes | None]) -> Artifact:
    kept = {name: data for name, data in {**members, **changes}.items() if data is not None}
    (folder / "changed.pt").write_bytes(zip_bytes(kept, top="module/"))
    return open_artifact(folder / "changed.pt")


def test_other_code_in_the_pickle_is_listed(tmp_path: Path, members: dict[str, bytes]) -> None:
    data = members["data.pkl"]
    called = pickled(Called(eval, "1"))[2:-1]  # without its protocol and its STOP
    artifact = changed(tmp_path, members, {"data.pkl": data[:2] + called + b"0" + data[2:]})
    assert artifact.checkpoint is not None
    assert [(code.name, code.use) for code in artifact.checkpoint.code] == [("__builtin__.eval", "called")]
    assert artifact.tensors


def code_of(members: dict[str, bytes], kind: bytes) -> str:
    """The file with the class: torch numbers its files by what else was scripted before."""
    return next(name for name, data in members.items() if name.endswith(".py") and b"class " + kind + b"(" in data)


def test_code_that_touches_files_is_odd(tmp_path: Path, members: dict[str, bytes]) -> None:
    name = code_of(members, b"ReLU")
    more = b'def other(x: Tensor) -> Tensor:\n  return torch.from_file("/etc/passwd")\n'
    artifact = changed(tmp_path, members, {name: members[name] + more})
    assert artifact.checkpoint is not None
    assert list(artifact.checkpoint.oddities) == ["code that reads or writes files: torch.from_file"]


@pytest.mark.parametrize(
    "code",
    [
        b"def f(:", b"\xff\xfe", b"x = " + b"(" * 5_000, b"x = " + b"-" * 100_000 + b"1", b"x = a" + b".a" * 100_000,
        b"if a:\n  pass\n" + b"elif a:\n  pass\n" * 50_000, b"x = " + b"1+" * 100_000 + b"1", b'x = """' + b"(" * 9_999,
        b"x = [" + b"not " * 100_000 + b"1]", b"x = \\\n" * 1_000 + b"1", b"\0",
    ],
)  # fmt: skip
def test_code_that_is_none(tmp_path: Path, members: dict[str, bytes], code: bytes) -> None:
    name = code_of(members, b"BatchNorm2d")
    artifact = changed(tmp_path, members, {name: code})
    assert any("could not be parsed" in limitation for limitation in artifact.limitations)
    assert artifact.tensors


@pytest.mark.parametrize(
    "body",
    [
        "    return (self).forward((self).forward(input, ), )\n",
        "    x = [input, input]\n" + "    x = [x, x]\n" * 60 + "    return torch.cat(x)\n",
        "".join(f"    if torch.gt(input, {n}):\n      input = torch.relu(input)\n" for n in range(2_000)),
    ],
)
def test_code_that_grows_without_bound(tmp_path: Path, members: dict[str, bytes], body: str) -> None:
    head = "class ReLU(Module):\n  __parameters__ = []\n  __buffers__ = []\n"
    code = f"{head}  def forward(self: ReLU,\n    input: Tensor) -> Tensor:\n{body}"
    artifact = changed(tmp_path, members, {code_of(members, b"ReLU"): code.encode()})
    assert len(modules(artifact)["act"].calls) < 5_000
    if "self" in body:
        assert modules(artifact)["act"].calls == ()
        assert any("too long" in limitation for limitation in artifact.limitations)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_open_or_are_refused(members: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in members if name.endswith((".pkl", ".py"))]))
    content = bytearray(members[name])
    for _ in range(data.draw(st.integers(1, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        artifact = changed(tmp_path, members, {name: bytes(content)})
    except ArtifactError as failure:
        assert "\n" not in str(failure)  # noqa: PT017 - both ends are right
    else:
        for tensor in artifact.tensors.values():
            assert tensor.copy().shape == tensor.shape


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data.pkl": None}, "has no member 'data.pkl'"),
        ({"data.pkl": pickled([1])}, "holds no module"),
        ({"data/0": None}, "has no member"),
        ({"data/0": b"12"}, "2 bytes"),
    ],
)
def test_damage_is_said_in_one_line(
    tmp_path: Path, members: dict[str, bytes], changes: dict[str, bytes | None], words: str
) -> None:
    with pytest.raises(ArtifactError, match=words) as failure:
        changed(tmp_path, members, changes)
    assert "\n" not in str(failure.value)
