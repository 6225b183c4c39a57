"""Exported programs: every tensor equals what `torch.export.load` gives, modules are those of the model."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch")

from program_networks import Detector, Mixed  # noqa: E402
from torch_files import Called, bits, zip_bytes, zip_checkpoint  # noqa: E402

from avreview.artifact import Artifact  # noqa: E402
from avreview.errors import ArtifactError  # noqa: E402
from avreview.load import open_artifact  # noqa: E402

Save = Callable[[Any, Path], None]


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(scope="module")
def detector() -> Any:
    return torch.export.export(Detector().train(), (torch.randn(2, 3, 16, 16),))


@pytest.fixture(scope="module")
def mixed() -> Any:
    return torch.export.export(Mixed(), (torch.randn(2, 6),))


def save(program: Any, path: Path) -> None:
    torch.export.save(program, path)


def save_old(program: Any, path: Path) -> None:
    """As torch 2.5 to 2.7 did: a plain zip archive of pickles."""
    from torch._export.serde.serialize import serialize

    parts = serialize(program)
    path.write_bytes(
        zip_bytes(
            {
                "version": b"8.2",
                "serialized_exported_program.json": parts.exported_program,
                "serialized_state_dict.pt": parts.state_dict,
                "serialized_constants.pt": parts.constants,
                "serialized_example_inputs.pt": parts.example_inputs,
            },
            top="",
        )
    )


def save_middle(program: Any, path: Path) -> None:
    """As torch 2.8 did: an archive of the present kind with pickled weights."""
    from torch._export.serde.serialize import serialize

    parts = serialize(program)
    path.write_bytes(
        zip_bytes(
            {
                "models/model.json": parts.exported_program,
                "data/weights/model.pt": parts.state_dict,
                "data/constants/model.pt": parts.constants,
                "data/sample_inputs/model.pt": parts.example_inputs,
                "archive_format": b"pt2",
                "archive_version": b"0",
                ".data/version": b"6\n",
            },
            top="model/",
        )
    )


@pytest.mark.parametrize("writer", [save, save_old, save_middle])
@pytest.mark.parametrize("which", ["detector", "mixed"])
def test_tensors_are_torchs(tmp_path: Path, request: pytest.FixtureRequest, writer: Save, which: str) -> None:
    path = tmp_path / "program.pt2"
    writer(request.getfixturevalue(which), path)
    wanted = torch.export.load(path).state_dict
    artifact = open_artifact(path)
    assert list(artifact.tensors) == list(wanted)
    for name, tensor in wanted.items():
        found = artifact.tensors[name]
        assert (found.name, found.shape) == (name, tuple(tensor.shape))
        assert found.copy().tobytes() == bits(tensor)
    assert artifact.provenance.format == "pt2"
    assert artifact.limitations == []
    assert artifact.checkpoint is not None
    assert not artifact.checkpoint.code


def test_modules_are_the_models(tmp_path: Path, detector: Any) -> None:
    save(detector, tmp_path / "program.pt2")
    found = opened(tmp_path / "program.pt2")
    model = Detector()
    assert found.checkpoint is not None
    modules = found.checkpoint.modules
    assert modules is not None
    called = {name: module for name, module in model.named_modules() if name in modules and modules[name].kind}
    assert {"stem.1", "block.bn1", "up.1", "encoder.norm1", "encoder.self_attn", "drop"} <= set(called)
    for name, module in called.items():
        assert (modules[name].package, modules[name].kind) == (type(module).__module__, type(module).__qualname__)
    assert set(modules) <= {name for name, _ in model.named_modules()}
    for path, kept in modules.items():
        module = model.get_submodule(path)
        assert kept.parameters == tuple(name for name, _ in module.named_parameters(recurse=False))
        assert kept.buffers == tuple(name for name, _ in module.named_buffers(recurse=False))
    assert dict(modules["block.bn1"].attributes) == {"eps": 1e-3, "momentum": 0.03, "training": True}
    assert dict(modules["drop"].attributes) == {"p": 0.3, "training": True}
    assert modules["stem.1"].attributes["num_groups"] == 2
    assert modules["stem.0"].attributes["stride"] == (2, 2)


def test_what_is_frozen_and_tied(tmp_path: Path, mixed: Any) -> None:
    save(mixed, tmp_path / "program.pt2")
    artifact = opened(tmp_path / "program.pt2")
    assert artifact.checkpoint is not None
    assert artifact.checkpoint.modules is not None
    root = artifact.checkpoint.modules[""]
    assert root.frozen == {"frozen"}
    assert "hidden" not in root.buffers
    assert artifact.tensors["first.weight"].storage is artifact.tensors["second.weight"].storage
    assert artifact.tensors["first.weight"].storage is not artifact.tensors["first.bias"].storage


def test_one_set_of_weights(tmp_path: Path, mixed: Any) -> None:
    save(mixed, tmp_path / "program.pt2")
    with pytest.raises(ArtifactError, match="has no weight set 'ema'"):
        open_artifact(tmp_path / "program.pt2", weights="ema")
    assert open_artifact(tmp_path / "program.pt2", weights="model").tensors


# What somebody else wrote


def opened(path: Path) -> Artifact:
    return open_artifact(path)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory, mixed: Any) -> dict[str, bytes]:
    """A program's archive, member by member."""
    path = tmp_path_factory.mktemp("program") / "program.pt2"
    save(mixed, path)
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


Rewrite = Callable[..., Artifact]


@pytest.fixture
def rewritten(tmp_path: Path, members: dict[str, bytes]) -> Rewrite:
    def rewrite(**changes: bytes | None) -> Artifact:
        """Opens the archive with other members; a name's slashes and dots are written as `__` and `_dot_`."""
        named = {name.replace("__", "/").replace("_dot_", "."): data for name, data in changes.items()}
        kept = {name: data for name, data in {**members, **named}.items() if data is not None}
        (tmp_path / "changed.pt2").write_bytes(zip_bytes(kept, top="program/"))
        return open_artifact(tmp_path / "changed.pt2")

    return rewrite


def test_code_in_the_sample_inputs_is_listed(rewritten: Rewrite) -> None:
    artifact = rewritten(data__sample_inputs__model_dot_pt=zip_checkpoint(Called(eval, "1")))
    assert artifact.checkpoint is not None
    (code,) = artifact.checkpoint.code
    assert (code.name, code.use) == ("__builtin__.eval", "called")
    assert "sample_inputs" in code.file


def test_unreadable_sample_inputs_are_said(rewritten: Rewrite) -> None:
    artifact = rewritten(data__sample_inputs__model_dot_pt=b"PK\x03\x04 cut off")
    assert any("sample_inputs" in limitation for limitation in artifact.limitations)


def test_compiled_code_is_said(rewritten: Rewrite) -> None:
    artifact = rewritten(data__aotinductor__model__model_dot_so=b"\x7fELF")
    assert any("compiled" in limitation for limitation in artifact.limitations)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models__model_dot_json": None}, "holds no program"),
        ({"models__model_dot_json": b"[" * 100_000}, "is not the JSON"),
        ({"models__model_dot_json": b"{}"}, "no object where the graph module should be"),
        ({"models__model_dot_json": b'{"a": ' + b"9" * 5_000 + b"}"}, "is not the JSON"),
        ({"data__weights__weight_0": None}, "no plain member"),
        ({"data__weights__weight_0": b"1234"}, "of a storage of 4"),
    ],
)
def test_damage_is_said_in_one_line(rewritten: Rewrite, changes: dict[str, bytes | None], words: str) -> None:
    with pytest.raises(ArtifactError, match=words) as failure:
        rewritten(**changes)
    assert "\n" not in str(failure.value)


def test_weights_that_were_not_saved(rewritten: Rewrite, members: dict[str, bytes]) -> None:
    """torch saves a program without its weights as empty files, and fills in zeros when it loads it."""
    config = json.loads(members["data/weights/model_weights_config.json"])["config"]
    file = "data__weights__" + config["first.bias"]["path_name"]
    artifact = rewritten(**{file: b""})
    assert "first.bias" not in artifact.tensors
    assert any("first.bias" in limitation for limitation in artifact.limitations)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), st.lists, max_leaves=4
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(inner, (*path, key))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_json_opens_or_is_refused(members: dict[str, bytes], tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["models/model.json", "data/weights/model_weights_config.json"]))
    program = json.loads(members[name])
    everywhere = list(places(program))[1:]
    for _ in range(data.draw(st.integers(1, 3))):
        *way, last = data.draw(st.sampled_from(everywhere))
        here = program
        try:
            for key in way:
                here = here[key]
            if data.draw(st.booleans()):
                here[last] = data.draw(JSON)
            else:
                del here[last]
        except (LookupError, TypeError):
            continue
    path = tmp_path / "changed.pt2"
    path.write_bytes(zip_bytes({**members, name: json.dumps(program).encode()}, top="program/"))
    try:
        artifact = open_artifact(path)
    except ArtifactError as failure:
        assert "\n" not in str(failure)  # noqa: PT017 - both ends are right
    else:
        for tensor in artifact.tensors.values():
            assert tensor.copy().shape == tensor.shape


def test_a_pickle_of_old_files_is_never_run(tmp_path: Path, mixed: Any) -> None:
    path = tmp_path / "old.pt2"
    save_old(mixed, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content["serialized_state_dict.pt"] = pickle.dumps(Called(exec, "raise SystemExit"), 2)
    path.write_bytes(zip_bytes(content, top=""))
    artifact = open_artifact(path)
    assert artifact.checkpoint is not None
    assert [code.name for code in artifact.checkpoint.code] == ["__builtin__.exec"]
    assert not artifact.tensors


def test_several_programs(tmp_path: Path, members: dict[str, bytes]) -> None:
    path = tmp_path / "two.pt2"
    path.write_bytes(zip_bytes({**members, "models/other.json": members["models/model.json"]}, top="program/"))
    assert any("'other'" in limitation for limitation in open_artifact(path).limitations)
