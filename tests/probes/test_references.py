"""What a reference may be, and what is said of one that cannot be used."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from models import ModelBuilder

from avreview.probes.child.outputs import matched
from avreview.probes.child.recorded import Recorded
from avreview.probes.child.references import OnnxReference, open_reference
from avreview.probes.child.refusal import Refused

Factory = Callable[[str], str]
IMAGE = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)

_NETWORK = """
import dataclasses, sys, torch
class Net(torch.nn.Module):
    def __init__(self, returned=lambda y: y):
        super().__init__()
        self.fc, self.drop, self.returned = torch.nn.Linear(3, 4), torch.nn.Dropout(0.5), returned
    def forward(self, image):
        return self.returned(self.drop(self.fc(image)))
@dataclasses.dataclass
class Found:
    boxes: torch.Tensor
    scores: torch.Tensor
class States(torch.nn.Module):
    def forward(self, image, states):
        h, (c, d) = states
        return image + h + c + d
class Odd(torch.nn.Module):
    def forward(self, image, first, second):
        raise ValueError("no\\nsuch thing")
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Factory]:
    """Writes a module whose `make` is the given body, and gives its reference."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)

    def write(body: str) -> str:
        name = f"written_{len(list(tmp_path.glob('written_*.py')))}_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(f"{_NETWORK}\ndef make():\n    {body}\n")
        return f"{name}:make"

    yield write
    for name in set(sys.modules) - known:
        if name.startswith("written_"):
            del sys.modules[name]


def run(reference: str, names: tuple[str, ...] = ("image",), **more: Any) -> Any:
    return open_reference(reference, names, ["scores"]).run({"image": IMAGE, **more})


def refused(reference: str, names: tuple[str, ...] = ("image",), **more: Any) -> str:
    with pytest.raises(Refused) as caught:
        run(reference, names, **more)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_factory_is_put_into_eval_mode(factory: Factory) -> None:
    reference = open_reference(factory("return Net()"), ["image"], ["scores"])
    (one,), (other,) = (reference.run({"image": IMAGE}) for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_a_factory_may_give_inputs(factory: Factory) -> None:
    reference = open_reference(factory("return Net(), (torch.ones(5, 3),)"), ["image"], ["scores"])
    (feed,) = reference.feeds()
    assert feed["image"].shape == (5, 3)
    nested = factory("return States(), (torch.ones(2, 3), (torch.ones(2, 3), (torch.ones(2, 3), torch.ones(2, 3))))")
    (found,) = run(nested, ("image", "h", "c", "d"), h=IMAGE, c=IMAGE, d=IMAGE)
    np.testing.assert_allclose(found, 4 * IMAGE, rtol=1e-6)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("return Net(lambda y: dict(boxes=y, scores=y + 1))", ["boxes", "scores"]),
        ("return Net(lambda y: Found(y, y + 1))", ["boxes", "scores"]),
        ("return Net(lambda y: (y, (y + 1, None)))", None),
        ("return Net(lambda y: [y, y.sum().item()])", None),
    ],
)
def test_outputs_of_any_form_become_arrays(factory: Factory, body: str, names: list[str] | None) -> None:
    found = run(factory(body))
    assert len(found) == 2
    assert (list(found) if isinstance(found, dict) else None) == names


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("return Net(lambda y: None)", "returned no tensor, but None"),
        ("return Net(lambda y: 'car')", "returned a value of type str"),
        ("return Net(lambda y: sys.exit(3))", "called sys.exit(3)"),
        ("return Net(lambda y: y @ y)", "the reference raised RuntimeError: mat1 and mat2"),
        ("return Odd()", "the reference takes 3 inputs"),
        ("return None", "returned None; a factory returns a torch.nn.Module"),
        ("return dict(model=Net())", "returned a dict"),
        ("return Net()()", "raised TypeError"),
        ("raise SystemExit", "called sys.exit()"),
        ("raise KeyError('a\\nb')", "raised KeyError"),
    ],
)
def test_user_code_that_goes_wrong_is_said_in_one_line(factory: Factory, body: str, reason: str) -> None:
    names = ("image",) if "Odd" not in body else ("a", "b", "c", "d")
    more = dict.fromkeys(names, IMAGE) if "Odd" in body else {}
    assert reason in refused(factory(body), names, **more)


def test_names_that_lead_nowhere(factory: Factory) -> None:
    known = factory("return Net()").removesuffix(":make")
    assert "has nothing called build" in refused(f"{known}:build")
    assert "there is no Python module no_such_module" in refused("no_such_module:build")
    assert "no file and not of the form pkg.module:factory" in refused("nowhere/model.pt")
    assert "is a dict" in refused(f"{known}:__dict__")


def test_files_of_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()).eval()
    image = torch.from_numpy(IMAGE)
    expected = network(image).detach().numpy()
    torch.jit.trace(network, image).save(str(tmp_path / "model.ts"))
    torch.export.save(torch.export.export(network, (image,)), tmp_path / "model.pt2")
    for name in ("model.ts", "model.pt2"):
        np.testing.assert_array_equal(run(str(tmp_path / name))[0], expected)
    torch.save(network, tmp_path / "whole.pt")
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    assert "a pickled module runs code of its own" in refused(str(tmp_path / "whole.pt"))
    assert "weights without the code" in refused(str(tmp_path / "weights.pt"))


@pytest.mark.parametrize(
    ("key", "text", "reason"),
    [
        ("target", "torch.os.system", "calls 'torch.os.system'"),
        ("target", "_operator.methodcaller", "which is no operator"),
        ("expr_str", "__import__('os').system('touch owned')", "more than a size"),
        ("path_name", "opaque_obj_0", "pickled objects"),
    ],
)
def test_an_exported_program_that_smuggles_code_is_not_loaded(tmp_path: Path, key: str, text: str, reason: str) -> None:
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(3, 4).eval()
    torch.export.save(torch.export.export(network, (torch.from_numpy(IMAGE),)), tmp_path / "model.pt2")
    with zipfile.ZipFile(tmp_path / "model.pt2") as archive, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as bad:
        for entry in archive.namelist():
            content = archive.read(entry)
            if entry.endswith("models/model.json"):
                program = json.loads(content)
                program["graph_module"]["graph"]["nodes"][0] |= {key: text}
                content = json.dumps(program).encode()
            bad.writestr(entry, content)
    from avreview.probes.child.programs import load_program

    with pytest.raises(Refused, match=reason):
        load_program(str(tmp_path / "bad.pt2"))


# Recorded arrays


def test_recorded_arrays_are_split_into_the_batches_that_the_graph_fixes(tmp_path: Path) -> None:
    file = tmp_path / "recorded.npz"
    np.savez(file, image=np.arange(12).reshape(6, 2), scores=np.arange(6), note=np.zeros(3))
    reference = Recorded(str(file), ["image"], ["scores"], 2)
    found = [(feed["image"].shape, reference.run(feed)["scores"].tolist()) for feed in reference.feeds()]
    assert found == [((2, 2), [0, 1]), ((2, 2), [2, 3]), ((2, 2), [4, 5])]


def test_recordings_that_lack_something(tmp_path: Path) -> None:
    file = tmp_path / "recorded.npz"
    np.savez(file, other=IMAGE)
    assert "no array for the input 'image'" in refused(str(file))
    np.savez(file, image=IMAGE)
    assert "no array for the output 'scores'" in refused(str(file))
    np.savez(file, image=np.array([{}], dtype=object), scores=IMAGE)
    assert "holds Python objects" in refused(str(file))


def test_another_onnx_file_is_fed_by_its_own_names(tmp_path: Path) -> None:
    path = ModelBuilder().input("picture", [2, 3]).gemm("fc", 4).output("out").save(tmp_path / "model.onnx")
    reference = open_reference(path, ["image"], ["scores"])
    assert isinstance(reference, OnnxReference)
    assert list(reference.run({"image": IMAGE.astype(np.float64)})) == ["out"]


# Which output is which


def test_outputs_are_matched_by_name_or_else_in_order() -> None:
    boxes, scores = np.zeros((2, 4)), np.zeros(2)
    outputs = {"boxes": boxes, "scores": scores}
    assert matched(outputs, {"scores": scores + 1, "boxes": boxes})["scores"][0] == 1
    assert list(matched(outputs, {"scores": scores + 1, "boxes": boxes})) == ["boxes", "scores"]
    assert matched(outputs, [boxes + 1, scores])["boxes"][0, 0] == 1
    assert list(matched(outputs, {"a": boxes, "b": scores, "c": scores})) == ["boxes", "scores"]
    assert list(matched(outputs, [boxes])) == ["boxes"]
    with pytest.raises(Refused, match="1 outputs and the export 2"):
        matched(outputs, [scores])
