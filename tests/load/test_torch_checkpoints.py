"""Every tensor of a checkpoint equals what `torch.load` gives, bit for bit, in both of torch's formats."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch: Any = pytest.importorskip("torch")

from torch_files import Called, Stored, bits, legacy_checkpoint, saved, view, zip_bytes, zip_checkpoint  # noqa: E402

from avreview.artifact import Artifact, Tensor  # noqa: E402
from avreview.load import open_artifact  # noqa: E402
from avreview.load.storage import RawStorage  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, about quantized and sparse tensors

Open = Callable[[bytes], Artifact]
TYPES = (
    "float64", "float32", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool", "complex64",
    "complex128", "uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz",
    "float8_e8m0fnu",
)  # fmt: skip
LEGACY_TYPES = TYPES[:12]  # torch itself cannot load the later ones from a legacy file


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    path = tmp_path / "checkpoint"

    def open_bytes(content: bytes) -> Artifact:
        path.write_bytes(content)
        return open_artifact(path)

    return open_bytes


def assert_same(found: Tensor, tensor: Any) -> None:
    assert found.shape == tuple(tensor.shape)
    wanted = bits(tensor)
    assert found.read().tobytes() == wanted
    assert b"".join(chunk.tobytes() for chunk in found.chunks(7)) == wanted
    assert found.part(0, found.size).tobytes() == wanted


def values(dtype: str, *shape: int) -> Any:
    """Random bits of a type."""
    count, width = torch.Size(shape).numel(), torch.zeros((), dtype=getattr(torch, dtype)).element_size()
    raw = torch.randint(0, 2 if dtype == "bool" else 256, (count * width,), dtype=torch.uint8)
    return raw.view(getattr(torch, dtype)).reshape(shape)


@pytest.mark.parametrize("legacy", [False, True])
def test_every_element_type(opened: Open, legacy: bool) -> None:
    wanted = {dtype: values(dtype, 3, 5) for dtype in (LEGACY_TYPES if legacy else TYPES)}
    artifact = opened(saved(wanted, legacy=legacy))
    assert artifact.provenance.format == ("pytorch-legacy" if legacy else "pytorch-zip")
    assert artifact.limitations == []
    for name, tensor in wanted.items():
        assert artifact.tensors[name].dtype == name
        assert_same(artifact.tensors[name], tensor)


@st.composite
def operations(draw: st.DrawFn) -> list[Any]:
    """What is done to a tensor of shape [4, 3, 5] to get the view that is saved."""
    return [
        draw(st.sampled_from([
            ("permute", tuple(draw(st.permutations([0, 1, 2])))), ("slice", draw(st.integers(1, 3))),
            ("select", 0), ("expand", 3), ("narrow", 1), ("empty", 0), ("unfold", 2), ("diagonal", 0),
        ]))
        for _ in range(draw(st.integers(1, 3)))
    ]  # fmt: skip


def viewed(tensor: Any, steps: list[Any]) -> Any:
    for kind, by in steps:
        if kind == "permute" and tensor.ndim == 3:
            tensor = tensor.permute(*by)
        elif kind == "slice" and tensor.ndim:
            tensor = tensor[..., ::by]
        elif kind == "select" and tensor.ndim and tensor.shape[0]:
            tensor = tensor[tensor.shape[0] - 1]
        elif kind == "expand":
            tensor = tensor.unsqueeze(0).expand(by, *tensor.shape)
        elif kind == "narrow" and tensor.ndim and tensor.shape[-1] > 1:
            tensor = tensor.narrow(-1, 1, tensor.shape[-1] - 1)
        elif kind == "empty" and tensor.ndim:
            tensor = tensor[:0]
        elif kind == "unfold" and tensor.ndim and tensor.shape[-1] > 2:
            tensor = tensor.unfold(-1, by, 1)
        elif kind == "diagonal" and tensor.ndim > 1:
            tensor = tensor.diagonal()
    return tensor


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["float32", "bfloat16", "bool", "complex64"]), st.lists(operations(), min_size=1, max_size=4),
       st.booleans())  # fmt: skip
def test_every_view(opened: Open, dtype: str, all_steps: list[Any], legacy: bool) -> None:
    base = values(dtype, 4, 3, 5)
    wanted = {
        "weight": torch.ones(2),
        "base": base,
        **{f"view{n}": viewed(base, steps) for n, steps in enumerate(all_steps)},
    }
    artifact = opened(saved(wanted, legacy=legacy))
    for name, tensor in wanted.items():
        assert_same(artifact.tensors[name], tensor)


def test_views_that_are_the_same_share_their_storage(opened: Open) -> None:
    base = torch.randn(4, 4)
    artifact = opened(saved({"a": base, "b": base, "t": base.t(), "u": base.t(), "c": base.clone()}))
    storages = {name: tensor.storage for name, tensor in artifact.tensors.items()}
    assert storages["a"] is storages["b"]
    assert storages["t"] is storages["u"]
    assert len({id(storage) for storage in storages.values()}) == 3
    assert isinstance(storages["a"], RawStorage)  # mapped, not gathered


@pytest.mark.parametrize("legacy", [False, True])
def test_quantized_tensors(opened: Open, legacy: bool) -> None:
    scales, points = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64), torch.tensor([1, 2, 3])
    wanted = {
        "tensor": torch.quantize_per_tensor(torch.randn(4, 5).t(), 0.25, 3, torch.quint8),
        "channel": torch.quantize_per_channel(torch.randn(3, 4), scales, points, 0, torch.qint8),
        "wide": torch.quantize_per_tensor(torch.randn(6), 0.5, 0, torch.qint32),
    }
    artifact = opened(saved(wanted, legacy=legacy))
    for name, tensor in wanted.items():
        assert_same(artifact.tensors[name], tensor)
    whole, channel = (artifact.tensors[name].quantization for name in ("tensor", "channel"))
    assert whole is not None
    assert (whole.scale, whole.zero_point, whole.axis) == ((0.25,), (3,), None)
    assert channel is not None
    assert (channel.scale, channel.zero_point, channel.axis) == ((0.1, 0.2, 0.3), (1, 2, 3), 0)


def test_quantized_to_four_bits(opened: Open) -> None:
    wanted = torch.quantize_per_channel(torch.rand(3, 5) * 15, torch.ones(3), torch.zeros(3), 0, torch.quint4x2)
    found = opened(saved({"packed": wanted})).tensors["packed"]
    assert found.dtype == "uint4"
    assert (found.read().astype("float32") == wanted.dequantize().numpy()).all()


@pytest.mark.parametrize("legacy", [False, True])
def test_sparse_tensors(opened: Open, legacy: bool) -> None:
    dense = torch.randn(4, 6) * (torch.rand(4, 6) > 0.5)
    wanted = {
        "coo": dense.to_sparse(),
        "hybrid": torch.sparse_coo_tensor([[0, 2]], torch.randn(2, 3), (4, 3)),
        "twice": torch.sparse_coo_tensor([[0, 0, 1]], torch.tensor([1.0, 2.0, 3.0]), (4,)),
        "csr": dense.to_sparse_csr(),
        "csc": dense.to_sparse_csc(),
        "bsr": dense.to_sparse_bsr((2, 3)),
        "bsc": dense.to_sparse_bsc((2, 3)),
        "batch": torch.stack([torch.eye(3), torch.eye(3).flip(0)]).to_sparse_csr(),
        "empty": torch.zeros(3, 0).to_sparse(),
    }
    artifact = opened(saved(wanted, legacy=legacy))
    for name, tensor in wanted.items():
        assert_same(artifact.tensors[name], tensor)


def test_tensors_with_something_beside_their_elements(opened: Open) -> None:
    attributed, parameter = torch.randn(3), torch.nn.Parameter(torch.randn(2))
    attributed.note = parameter.note = "text"
    wanted = {
        "conjugate": torch.randn(4, dtype=torch.complex64).conj(),
        "negative": torch.randn(4, dtype=torch.complex64).conj().imag,
        "attributed": attributed,
        "parameter": parameter,
        "frozen": torch.nn.Parameter(torch.randn(2), requires_grad=False),
        "buffer": torch.nn.Buffer(torch.randn(2)),
    }
    artifact = opened(saved(wanted))
    assert artifact.limitations == []
    for name, tensor in wanted.items():
        assert_same(artifact.tensors[name], tensor)


def test_what_cannot_be_seen_is_said(opened: Open) -> None:
    artifact = opened(saved({
        "half": torch.randn(3, 2).to(torch.complex32), "meta": torch.zeros(2, device="meta"), "seen": torch.ones(2),
        "bits": values("uint8", 4).view(torch.bits8), "four": values("uint8", 4).view(torch.float4_e2m1fn_x2),
        "nested": torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
    }))  # fmt: skip
    assert set(artifact.tensors) == {"half", "seen", "bits", "four"}
    assert artifact.tensors["half"].shape == (3, 2, 2)
    for said in ("complex32", "meta device", "bits8", "float4_e2m1fn_x2", "nested"):
        assert sum(said in limitation for limitation in artifact.limitations) == 1


def test_a_pickle_that_nobody_wrapped(opened: Open) -> None:
    weight = torch.randn(3, 4)
    wanted = {"weight": weight, "tied": weight.t(), "channel": torch.quantize_per_channel(
        weight, torch.ones(3), torch.zeros(3), 0, torch.qint8)}  # fmt: skip
    for protocol in range(6):
        artifact = opened(pickle.dumps(wanted, protocol))
        assert artifact.provenance.format == "pickle"
        assert artifact.checkpoint is not None
        assert artifact.checkpoint.code == ()
        for name, tensor in wanted.items():
            assert_same(artifact.tensors[name], tensor)


def test_arrays_in_a_pickle(opened: Open) -> None:
    wanted = {"weight": torch.randn(3, 4).numpy(), "bias": torch.randn(3).numpy()}
    artifact = opened(pickle.dumps({"model": wanted, "__author__": "somebody"}, 2))
    for name, array in wanted.items():
        assert artifact.tensors[name].read().tobytes() == array.tobytes()


def test_tensors_of_other_devices(opened: Open) -> None:
    weight = torch.randn(3, 4)
    utils = torch._utils
    value = {
        "xla": Called(utils._rebuild_device_tensor_from_numpy, weight.numpy(), torch.float32, "xla:0", False),
        "mtia": Called(utils._rebuild_device_tensor_from_cpu_tensor, weight, torch.float32, "mtia:0", False),
    }
    artifact = opened(saved(value))
    for name in value:
        assert_same(artifact.tensors[name], weight)
    assert artifact.limitations == []
    other = {**value, "half": Called(utils._rebuild_device_tensor_from_numpy, weight.numpy(), torch.half, "xla", False)}
    assert opened(saved(other)).limitations == ["1 tensor saved in another type than they are used in"]


def distributed(size: tuple[int, ...], local: Any, **state: Any) -> Called:
    """A DTensor as torch 2.13 pickles it, without what it says of its mesh."""
    made = (torch.distributed.tensor.DTensor, torch.float32, size, (1,), 0, torch.strided, "cpu", False)
    function = torch._utils._rebuild_wrapper_subclass
    return Called(torch._tensor._rebuild_from_type_v2, function, made[0], made, (state, {"_local_tensor": local}))


def test_tensors_that_were_distributed(opened: Open) -> None:
    pytest.importorskip("torch.distributed.tensor")
    weight = torch.randn(4)
    artifact = opened(saved({
        "all": distributed((4,), weight), "part": distributed((8,), weight.clone()), "plain": torch.ones(2),
        "parameter": distributed((4,), weight, _is_param=True),
    }))  # fmt: skip
    assert set(artifact.tensors) == {"all", "parameter", "plain"}
    assert_same(artifact.tensors["all"], weight)
    assert_same(artifact.tensors["parameter"], weight)
    assert len(artifact.limitations) == 1
    assert "DTensor" in artifact.limitations[0]


def test_a_whole_module(opened: Open) -> None:
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.25))
    for legacy in (False, True):
        artifact = opened(saved(module, legacy=legacy))
        assert list(artifact.tensors) == list(module.state_dict())
        for name, tensor in module.state_dict().items():
            assert_same(artifact.tensors[name], tensor)


def test_files_of_other_times_and_machines(opened: Open) -> None:
    weight = torch.arange(6, dtype=torch.float32)
    raw = bits(weight)
    value = {"weight": view(Stored("0", 6), 0, (2, 3), (3, 1))}
    assert_same(opened(zip_checkpoint(value, {"0": raw})).tensors["weight"], weight.reshape(2, 3))
    swapped = weight.numpy().byteswap().tobytes()
    big = opened(zip_checkpoint(value, {"0": swapped}, {"byteorder": b"big"}))
    assert_same(big.tensors["weight"], weight.reshape(2, 3))
    cuda = {"weight": view(Stored("0", 6, torch.cuda.FloatStorage), 0, (6,), (1,))}
    assert_same(opened(zip_checkpoint(cuda, {"0": raw})).tensors["weight"], weight)
    # before torch 0.4 a storage could be part of another one
    part = {"weight": view(Stored("1", 6, part=("2", 2, 3)), 1, (2,), (1,))}
    assert_same(opened(legacy_checkpoint(part, {"1": (6, raw)})).tensors["weight"], weight[3:5])


@pytest.mark.parametrize("top", ["archive/", "epoch 24 (best)/", "Übung/", "...a/", "a\u202eb/", "[red]/"])
def test_the_top_folder_may_have_any_name(opened: Open, top: str) -> None:
    value = {"data.pkl": pickle.dumps({"a": torch.ones(2)}, 2), "version": b"3\n"}
    artifact = opened(zip_bytes(value, top=top, packed=("data.pkl",)))
    assert_same(artifact.tensors["a"], torch.ones(2))
