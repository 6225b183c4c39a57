"""Which part of a checkpoint is what, for the layouts of every framework, and for layouts that nobody writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inert_values import instance, module, scalar, tensor

from avreview.checkpoint import ParamGroup
from avreview.errors import ArtifactError
from avreview.load.layouts.layout import Layout, lay_out
from avreview.load.pickles.inert import Global, Instance
from avreview.load.pytorch.globals import Parameter

NAMES = ("conv.weight", "conv.bias", "bn.weight", "bn.running_mean")


def state(prefix: str = "", start: float = 0.0, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """A state dict of four tensors, told from others by where it starts to count."""
    return {prefix + name: tensor(4, start=start + 10 * place) for place, name in enumerate(names)}


def adam(*slots: Any, decay: float = 0.01) -> dict[str, Any]:
    """The state_dict() of an Adam with one group."""
    return {
        "state": {
            slot: {"step": scalar(3, "float32"), "exp_avg": tensor(4), "exp_avg_sq": tensor(4)} for slot in slots
        },
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": decay, "params": list(slots)}],
    }


def laid_out(value: Any, weights: str | None = None) -> Layout:
    return lay_out(value, path="x.pt", weights=weights)


def sets(found: Layout) -> dict[str, tuple[str, str]]:
    """The place and the prefix of every set."""
    return {name: (one.where, one.prefix) for name, one in found.checkpoint.sets.items()}


def starts(found: Layout, name: str) -> float:
    """What tells a set of `state` from others."""
    return float(found.checkpoint.sets[name].tensors["conv.weight"].copy()[0])


# Weights


def test_a_plain_state_dict() -> None:
    found = laid_out(state())
    assert (found.checkpoint.layout, found.checkpoint.primary) == ("state_dict", "model")
    assert sets(found) == {"model": ("", "")}
    assert tuple(found.tensors) == NAMES
    assert [one.name for one in found.tensors.values()] == list(NAMES)
    assert found.limitations == []


@pytest.mark.parametrize("key", ["state_dict", "model", "net", "model_state_dict", "weights", "params", "network"])
def test_a_state_dict_under_a_key(key: str) -> None:
    found = laid_out({key: state(), "epoch": 3})
    assert sets(found) == {"model": (key, "")}
    assert found.checkpoint.metadata == {"epoch": 3}


@pytest.mark.parametrize(
    ("prefix", "kept"),
    [
        ("module.", ""), ("model.", ""), ("_orig_mod.module.", ""), ("module._orig_mod.model.", ""),
        ("backbone.", "backbone."),
        ("_forward_module.", ""), ("_fsdp_wrapped_module.", ""), ("ema_model.", ""), ("module.net.", "net."),
    ],
)  # fmt: skip
def test_prefixes_that_every_key_carries(prefix: str, kept: str) -> None:
    found = laid_out(state(prefix))
    assert list(found.tensors) == [kept + name for name in NAMES]
    assert found.checkpoint.sets["model"].prefix + kept == prefix
    assert found.tensors[kept + "conv.weight"].name == prefix + "conv.weight"


def test_a_prefix_that_some_keys_lack_stays() -> None:
    found = laid_out({**state("module."), "head.weight": tensor(2)})
    assert "module.conv.weight" in found.tensors
    assert found.checkpoint.sets["model"].prefix == ""


def test_inner_wrappers_are_removed_anywhere() -> None:
    keys = ("model._orig_mod.conv.weight", "model.blocks._fsdp_wrapped_module.0._checkpoint_wrapped_module.w", "scale")
    assert list(laid_out(state(names=keys)).tensors) == ["model.conv.weight", "model.blocks.0.w", "scale"]


def test_inner_wrappers_stay_where_two_keys_would_be_one() -> None:
    keys = ("a._orig_mod.weight", "a.weight")
    assert list(laid_out(state(names=keys)).tensors) == list(keys)


def test_nested_state_dicts_are_parts_of_one_model() -> None:
    found = laid_out({"encoder": {"conv": {"weight": tensor(4)}}, "decoder": {"weight": tensor(2)}, "epoch": 1})
    assert list(found.tensors) == ["encoder.conv.weight", "decoder.weight"]
    assert found.tensors["decoder.weight"].name == "decoder.weight"
    assert found.limitations == []


def test_further_weights_are_named() -> None:
    found = laid_out({"model": state(), "criterion": {"centers": tensor(3)}})
    assert list(found.checkpoint.sets) == ["model", "criterion"]
    assert found.limitations == [
        "further weights were not reviewed: 'criterion' (1 tensors); choose them with --weights"
    ]
    assert list(laid_out({"model": state(), "criterion": {"centers": tensor(3)}}, "criterion").tensors) == ["centers"]


def test_tensors_without_names_are_named_by_their_place() -> None:
    shadows = {"decay": 0.99, "num_updates": 3, "shadow_params": [tensor(4), tensor(4)], "collected_params": None}
    (said,) = laid_out({"model": state(), "ema": shadows, "anchors": tensor(3)}).limitations
    assert "'ema', 'anchors'" in said


def test_parameters_and_ties() -> None:
    shared = tensor(4)
    found = laid_out({"a": Parameter(shared, True), "b": shared, "c": tensor(4)})
    assert found.tensors["a"].storage is found.tensors["b"].storage is not found.tensors["c"].storage


def test_a_tensor_alone() -> None:
    assert list(laid_out(tensor(3)).tensors) == ["tensor"]


def test_a_set_that_is_not_there() -> None:
    with pytest.raises(ArtifactError, match=r"no weight set 'swa'; choose one .*: 'model', 'ema'"):
        laid_out({"model": state(), "model_ema": state()}, "swa")


@pytest.mark.parametrize(
    "value", [{}, [], None, "text", 3, {"epoch": 3}, {"a": [1, 2]}, {"rng": tensor(3, dtype="uint8")}]
)
def test_no_weights(value: Any) -> None:
    with pytest.raises(ArtifactError, match="holds no weights"):
        laid_out(value)


def test_an_optimizer_alone() -> None:
    with pytest.raises(ArtifactError, match="holds an optimizer's state and no weights"):
        laid_out(adam(0, 1))


# Averages


def test_mmengine_swaps_the_average_into_the_state_dict() -> None:
    found = laid_out(
        {
            "meta": {"epoch": 2, "mmengine_version": "0.10.7", "cfg": "lr = 1"},
            "state_dict": state(start=500.0),
            "ema_state_dict": {"steps": scalar(12), **state("module.")},
            "message_hub": {"log_scalars": {"loss": instance("mmengine.logging.HistoryBuffer", {"_log_history": [1]})}},
            "optimizer": {
                **adam(0, 1),
                "loss_scaler": {"scale": 1.0},
                "base_param_settings": {"lr": 0.1, "params": [1]},
            },
        }
    )
    assert (found.checkpoint.layout, found.checkpoint.primary) == ("mmengine", "ema")
    assert sets(found) == {"ema": ("state_dict", ""), "model": ("ema_state_dict", "module.")}
    assert (starts(found, "ema"), starts(found, "model")) == (500.0, 0.0)
    assert found.checkpoint.metadata["averaging"] == {"ema_state_dict": {"steps": 12}}
    assert found.checkpoint.metadata["meta"] == {"epoch": 2, "mmengine_version": "0.10.7", "cfg": "lr = 1"}
    assert len(found.checkpoint.optimizers) == 1


def test_mmcv_1_keeps_the_raw_weights_as_buffers() -> None:
    raw = {f"ema_{name.replace('.', '_')}": tensor(4) for name in NAMES}
    found = laid_out({"meta": {"mmcv_version": "1.7.0"}, "state_dict": {**state(start=500.0), **raw}})
    assert found.checkpoint.primary == "ema"
    assert (starts(found, "ema"), starts(found, "model")) == (500.0, 0.0)
    assert set(found.checkpoint.sets["model"].tensors) == set(found.tensors) == set(NAMES)


@pytest.mark.parametrize(
    ("callback", "kind"), [("EMAWeightAveraging", "ema"), ("WeightAveraging", "swa"), ("MyOwn", "ema")]
)
def test_lightning_puts_the_average_into_the_state_dict(callback: str, kind: str) -> None:
    found = laid_out(
        {
            "pytorch-lightning_version": "2.6.6", "epoch": 2, "callbacks": {callback: {"latest_update_step": 3}},
            "state_dict": state("model.", 500.0), "current_model_state": state("model."),
            "averaging_state": {"n_averaged": scalar(9)}, "optimizer_states": [adam(0), adam(0, 1)],
            "hyper_parameters": instance("lightning.fabric.utilities.data.AttributeDict", {"lr": 0.1}),
        }
    )  # fmt: skip
    assert found.checkpoint.primary == kind
    assert sets(found) == {kind: ("state_dict", "model."), "model": ("current_model_state", "model.")}
    assert (starts(found, kind), starts(found, "model")) == (500.0, 0.0)
    assert [one.where for one in found.checkpoint.optimizers] == ["optimizer_states[0]", "optimizer_states[1]"]
    assert found.checkpoint.metadata["hyper_parameters"] == {"lr": 0.1}


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema", "teacher"])
def test_an_average_beside_the_raw_weights_is_what_is_used(key: str) -> None:
    found = laid_out({"model": state(), key: state(start=500.0)})
    assert found.checkpoint.primary == "ema"
    assert (starts(found, "ema"), starts(found, "model")) == (500.0, 0.0)
    assert laid_out({"model": state(), key: state(start=500.0)}, "model").checkpoint.primary == "model"


def test_an_average_in_a_dictionary_of_its_own() -> None:
    found = laid_out({"model": state(), "ema": {"module": state(start=500.0), "updates": 7, "warmups": 0}})
    assert sets(found) == {"model": ("model", ""), "ema": ("ema.module", "")}
    assert found.checkpoint.metadata == {"ema.updates": 7, "ema.warmups": 0}


def test_an_averaged_model_of_torch() -> None:
    found = laid_out({"n_averaged": scalar(5), **state("module.")})
    assert found.checkpoint.primary == "swa"
    assert sets(found) == {"swa": ("", "module.")}
    assert found.checkpoint.metadata == {"averaging": {"": {"n_averaged": 5}}}


def test_ema_pytorch_holds_both() -> None:
    both = {**state("online_model."), **state("ema_model.", 500.0), "initted": scalar(1), "step": scalar(4)}
    found = laid_out(both)
    assert found.checkpoint.primary == "ema"
    assert (starts(found, "ema"), found.tensors["conv.weight"].name) == (500.0, "ema_model.conv.weight")


def test_an_average_inside_a_state_dict() -> None:
    found = laid_out({"state_dict": {**state("model."), **state("model_ema.", 500.0), "loss.weight": tensor(2)}})
    average = found.checkpoint.sets["ema"].tensors
    assert float(average["model.conv.weight"].copy()[0]) == 500.0
    assert "loss.weight" in average
    assert list(found.checkpoint.sets["model"].tensors) == [*("model." + name for name in NAMES), "loss.weight"]


def test_litema_writes_names_without_dots() -> None:
    copies = {f"model_ema.{name.replace('.', '')}": tensor(4, start=500.0) for name in NAMES}
    found = laid_out({"state_dict": {**state("model."), **copies, "model_ema.decay": scalar(1, "float32")}})
    assert float(found.checkpoint.sets["ema"].tensors["conv.weight"].copy()[0]) == 500.0


def test_a_part_that_is_only_named_like_an_average_is_none() -> None:
    found = laid_out({**state("backbone."), "ema.weight": tensor(3), "ema.bias": tensor(3)})
    assert list(found.checkpoint.sets) == ["model"]


# Frameworks


def test_ultralytics_in_training_and_stripped() -> None:
    net = module("ultralytics.nn.tasks.DetectionModel", _parameters={"w": Parameter(tensor(4), False)}, training=False)
    common = {"train_args": {"optimizer": "SGD"}, "version": "8.4.0", "license": "AGPL-3.0"}
    training = laid_out({"epoch": 3, "model": None, "ema": net, "updates": 9, "optimizer": adam(0), **common})
    stripped = laid_out({"epoch": -1, "model": net, "ema": None, "optimizer": None, **common})
    saved = laid_out({"model": net, **common})
    for found, name, where in ((training, "ema", "ema"), (stripped, "ema", "model"), (saved, "model", "model")):
        assert found.checkpoint.layout == "ultralytics"
        assert sets(found) == {name: (where, "")}
        assert found.checkpoint.sets[name].training is False
        assert found.checkpoint.modules is not None
        assert found.checkpoint.modules[""].kind == "DetectionModel"


def test_yolox_does_not_tell_which_weights_it_holds() -> None:
    found = laid_out({"start_epoch": 3, "model": state(), "optimizer": adam(0), "best_ap": 0.3, "curr_ap": None})
    assert found.checkpoint.layout == "yolox"
    assert "may be either" in found.limitations[0]


def test_openpcdet() -> None:
    value = {"epoch": 3, "it": 9, "model_state": state(), "optimizer_state": adam(0), "version": "pcdet+0.6.0"}
    found = laid_out(value)
    assert found.checkpoint.layout == "openpcdet"
    assert sets(found) == {"model": ("model_state", "")}
    assert [one.where for one in found.checkpoint.optimizers] == ["optimizer_state"]
    assert found.checkpoint.metadata == {"epoch": 3, "it": 9, "version": "pcdet+0.6.0"}


def test_detectron2_in_both_forms() -> None:
    from avreview.load.pickles.arrays import NumpyArray, NumpyType

    array = NumpyArray((2, 3), NumpyType(">f4"), np.arange(6, dtype=">f4").tobytes())
    zoo = laid_out({"model": {"backbone.w": array}, "__author__": "Caffe2", "matching_heuristics": True})
    assert zoo.checkpoint.layout == "detectron2"
    np.testing.assert_array_equal(zoo.tensors["backbone.w"].copy(), np.arange(6, dtype="f4").reshape(2, 3))
    value = {"model": state(), "optimizer": adam(0), "scheduler": {"last_epoch": 4}, "iteration": 4}
    assert laid_out(value).checkpoint.layout == "detectron2"


def test_timm() -> None:
    args = instance("argparse.Namespace", {"opt": "adamw", "lr": 0.1})
    found = laid_out({"epoch": 1, "arch": "resnet", "state_dict": state(), "version": 2, "args": args})
    assert found.checkpoint.layout == "timm"
    assert found.checkpoint.metadata["args"] == {"opt": "adamw", "lr": 0.1}


def deepspeed(vectors: Any, shapes: Any, params: list[int]) -> Layout:
    inner = {"state": {0: {"exp_avg": vectors}}, "param_groups": [{"lr": 0.1, "weight_decay": 0.1, "params": params}]}
    return laid_out(
        {
            "module": {"a.weight": tensor(2, 3), "a.bias": tensor(3)}, "ds_version": "0.16", "param_shapes": shapes,
            "optimizer": {"optimizer_state_dict": inner, "fp32_groups_flat": [tensor(9)], "clip_grad": 0.0},
        }
    )  # fmt: skip


def test_deepspeeds_vectors_are_taken_apart_by_param_shapes() -> None:
    found = deepspeed(tensor(12, start=100.0), [{"a.weight": (2, 3), "a.bias": (3,)}], [0])
    assert found.checkpoint.layout == "deepspeed"
    (optimizer,) = found.checkpoint.optimizers
    assert optimizer.where == "optimizer.optimizer_state_dict"
    assert optimizer.groups[0].names == optimizer.groups[0].slots == ("a.weight", "a.bias")
    bias = optimizer.state["a.bias"]["exp_avg"]
    assert bias.shape == (3,)
    np.testing.assert_array_equal(bias.copy(), [106.0, 107.0, 108.0])
    np.testing.assert_array_equal(np.concatenate(list(bias.chunks(2))), [106.0, 107.0, 108.0])
    np.testing.assert_array_equal(optimizer.state["a.weight"]["exp_avg"].heads(2, 1), [[100.0], [103.0]])


@pytest.mark.parametrize("shapes", [None, [{"a.weight": (2, 3)}, {"a.bias": (3,)}], [{"a.weight": (1 << 20, 3)}], 7])
def test_deepspeeds_vectors_that_cannot_be_taken_apart(shapes: Any) -> None:
    found = deepspeed(tensor(12), shapes, [0])
    assert any("without the parameters' names" in said for said in found.limitations)
    assert found.checkpoint.optimizers[0].groups == ()


def test_weights_that_deepspeed_divided() -> None:
    value = {"module": {"a": tensor(3), "b": tensor(0)}, "ds_version": "1", "param_shapes": [{"a": (3,), "b": (4, 4)}]}
    assert any(said.startswith("1 parameters were not reviewed") for said in laid_out(value).limitations)


# Optimizers


def test_an_optimizers_options_slots_and_state() -> None:
    found = laid_out({"model": state(), "optimizer": adam(0, 1)})
    (optimizer,) = found.checkpoint.optimizers
    assert optimizer.groups == (ParamGroup({"lr": 0.1, "betas": [0.9, 0.99], "weight_decay": 0.01}, (0, 1)),)
    assert optimizer.state[1]["exp_avg"].name == "optimizer.state.1.exp_avg"
    assert (optimizer.where, optimizer.kind) == ("optimizer", None)


def test_old_slots_are_the_parameters_addresses() -> None:
    (optimizer,) = laid_out({"model": state(), "optimizer": adam(140_733_001, 140_733_002)}).checkpoint.optimizers
    assert optimizer.groups[0].slots == (140_733_001, 140_733_002)
    assert set(optimizer.state) == {140_733_001, 140_733_002}


def test_recorded_names_lose_the_prefix_that_the_weights_lose() -> None:
    value = adam(0, 1)
    value["param_groups"][0]["param_names"] = ["module.conv.weight", "module.conv.bias"]
    (optimizer,) = laid_out({"model": state("module."), "optimizer": value}).checkpoint.optimizers
    assert optimizer.groups[0].names == ("conv.weight", "conv.bias")
    assert "param_names" not in optimizer.groups[0].options


def test_names_as_slots() -> None:
    (optimizer,) = laid_out({"model": state(), "optim": adam("conv.weight", "conv.bias")}).checkpoint.optimizers
    assert optimizer.groups[0].names == optimizer.groups[0].slots == ("conv.weight", "conv.bias")


def test_a_flattened_optimizer() -> None:
    flat: dict[str, Any] = {}
    for name, decay in (("conv.weight", 0.1), ("bn.weight", 0.0), ("head.weight", 0.1)):
        flat[f"state.{name}.exp_avg"] = tensor(4)
        flat[f"param_groups.{name}.lr"] = 0.1
        flat[f"param_groups.{name}.betas"] = (0.9, 0.99)
        flat[f"param_groups.{name}.step"] = 3
        flat[f"param_groups.{name}.weight_decay"] = decay
    (optimizer,) = laid_out({"model": state(), "optimizer": flat}).checkpoint.optimizers
    assert [group.names for group in optimizer.groups] == [("conv.weight", "head.weight"), ("bn.weight",)]
    assert [group.options["weight_decay"] for group in optimizer.groups] == [0.1, 0.0]
    assert optimizer.state["bn.weight"]["exp_avg"].name == "optimizer.state.bn.weight.exp_avg"


def test_several_optimizers_by_name() -> None:
    found = laid_out({"state_dict": state(), "optimizer": {"generator": adam(0), "critic": adam(0, 1)}})
    assert [one.where for one in found.checkpoint.optimizers] == ["optimizer.generator", "optimizer.critic"]


def test_one_optimizer_a_parameter() -> None:
    each = {name: adam(0, decay=0.1) for name in NAMES[:3]}
    (optimizer,) = laid_out({"model": state(), "optimizer": each}).checkpoint.optimizers
    assert [group.names for group in optimizer.groups] == [(name,) for name in NAMES[:3]]
    assert set(optimizer.state["conv.weight"]) == {"step", "exp_avg", "exp_avg_sq"}


def test_wrong_optimizers_do_no_harm() -> None:
    for wrong in ({"state": 3, "param_groups": [7, {"params": 3}]}, {"state": {(1, 2): {}}, "param_groups": []}):
        (optimizer,) = laid_out({"model": state(), "optimizer": wrong}).checkpoint.optimizers
        assert optimizer.state == {}


# Metadata


def test_metadata_is_plain() -> None:
    enum = Instance(Global("trainer.Kind", "Kind"), ("steps",))
    config = instance(
        "omegaconf.dictconfig.DictConfig", {"_content": {"lr": instance("omegaconf.nodes.AnyNode", {"_val": 3})}}
    )
    said = laid_out(
        {
            "model": state(), "epoch": 3, "name": "x" * 1000, "none": None, "set": {1}, "class": Global("a.b", "C"),
            "enum": enum, "config": config, "huge": 1 << 100_000, "bytes": b"x", "deep": {"a": {"b": [1, (2, 3)]}},
            "loss": tensor(1), "step": scalar(3),
        }
    ).checkpoint.metadata  # fmt: skip
    assert said == {
        "epoch": 3, "name": "x" * 1000, "none": None, "set": [1], "class": "a.b.C", "enum": "steps",
        "config": {"lr": 3}, "deep": {"a": {"b": [1, [2, 3]]}},
    }  # fmt: skip


# Hostile values


def test_a_dictionary_that_holds_itself() -> None:
    value: dict[str, Any] = {"model": state(), "list": []}
    value["self"] = value
    value["list"].append(value["list"])
    value["model"]["again"] = value["model"]
    assert list(laid_out(value).tensors) == list(NAMES)


def test_an_optimizer_that_holds_itself() -> None:
    value = adam(0)
    value["state"][0]["exp_avg"] = value
    value["state"]["x"] = value["state"]
    value["param_groups"].append(value)
    assert len(laid_out({"model": state(), "optimizer": value}).checkpoint.optimizers) == 1


def test_a_state_dict_of_ever_the_same_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avreview.load.layouts.values._MOST_ENTRIES", 10_000)
    inner: Any = {"weight": tensor(4)}
    for _ in range(60):
        inner = {"a": inner, "b": inner, "weight": tensor(4)}
    with pytest.raises(ArtifactError, match="more entries than any checkpoint"):
        laid_out({"model": inner})


@pytest.mark.parametrize("around", [lambda inner: {"a": inner, "b": inner}, lambda inner: [inner, inner]])
def test_settings_that_share_their_parts_are_left_out(around: Any) -> None:
    inner: Any = {"lr": 0.1}
    for _ in range(60):
        inner = around(inner)
    group = {"params": [0], "lr": 0.1, "wild": inner}
    found = laid_out({"model": state(), "args": inner, "optimizer": {"state": {}, "param_groups": [group]}})
    (said,) = found.limitations
    assert said.endswith("left out as too long or too deep: parts of 'args', 'wild'")
    assert found.checkpoint.optimizers[0].groups[0].options["lr"] == 0.1


@pytest.mark.parametrize("key", ["model", "optimizer", "license", "version", "callbacks", "meta", "train_args"])
def test_texts_of_values_are_never_written_out(key: str) -> None:
    """The text of a nested list is a recursion; that of a huge integer takes for ever, and Python refuses it."""
    deep: Any = []
    for _ in range(450):
        deep = [deep, deep]
    huge = 1 << 100_000
    for value in (deep, huge, {huge: deep, "param_groups": deep, "state": {huge: {}}, "x": tensor(3)}):
        found = laid_out({"state_dict": state(), huge: value, key: value})
        assert found.checkpoint.sets["model"].tensors


def test_very_deep_dictionaries_end() -> None:
    inner: Any = {"weight": tensor(4)}
    for _ in range(400):
        inner = {"model": inner}
    with pytest.raises(ArtifactError, match="no weights"):
        laid_out(inner)


leaves = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=3), st.builds(tensor, st.just(3)),
    st.builds(scalar, st.just(1)), st.builds(Parameter, st.builds(tensor, st.just(2)), st.booleans()),
    st.just(Global("torch", "float32")), st.builds(Instance, st.just(Global("a", "B"))),
)  # fmt: skip
KEYS = st.sampled_from(
    ["model", "ema", "state_dict", "optimizer", "state", "param_groups", "params", "module", "meta", "0", "steps",
     "_modules", "_parameters", "callbacks", "param_shapes", "ds_version", "train_args", "w.weight", "module.w", "x"]
) | st.integers(0, 3)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(KEYS, inner, max_size=5),
        st.builds(instance, st.sampled_from(["nets.Net", "torch.nn.DataParallel"]), inner),
        st.builds(lambda kept: module(**kept), st.fixed_dictionaries({}, optional={
            "_modules": inner, "_parameters": inner, "_buffers": inner, "_non_persistent_buffers_set": inner,
        })),
    ),
    max_leaves=25,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(values, st.sampled_from([None, "model", "ema"]))
def test_any_value_ends_in_a_layout_or_a_clear_error(value: Any, weights: str | None) -> None:
    try:
        found = laid_out(value, weights)
    except ArtifactError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are right
        return
    assert found.tensors is found.checkpoint.sets[found.checkpoint.primary].tensors
    assert found.tensors
    for one in found.checkpoint.sets.values():
        for name, held in one.tensors.items():
            assert isinstance(name, str)
            assert one.where or held.name or name == held.name
