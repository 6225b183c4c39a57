from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from checkpoints import checkpoint, tensors
from conftest import Assess
from models import Array, ModelBuilder

from avreview.artifact import Artifact
from avreview.checkpoint import Module, Optimizer, ParamGroup, Slot
from avreview.engine.review import Review, Severity, Verdict

ADAMW = {
    "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False, "foreach": None, "maximize": False, "capturable": False,
    "differentiable": False, "fused": None, "decoupled_weight_decay": True,
}  # fmt: skip
ADAM = {**ADAMW, "decoupled_weight_decay": False}
OLD_ADAM = {key: value for key, value in ADAMW.items() if key != "decoupled_weight_decay"}
SGD = {"momentum": 0.9, "dampening": 0, "nesterov": False, "maximize": False, "foreach": None}


def detector() -> dict[str, Array]:
    """A backbone of two convolutions with batch norms, queries, and a head of two layers; all shapes but the norms'
    differ."""
    random = np.random.default_rng(3)

    def draw(*shape: int) -> Array:
        values: Array = random.normal(0.3, 1, shape).astype(np.float32)
        return values

    held: dict[str, Array] = {}
    for place, (into, out) in enumerate(((3, 16), (16, 32))):
        held[f"backbone.{place}.conv.weight"] = draw(out, into, 3, 3)
        for name in ("weight", "bias", "running_mean", "running_var"):
            held[f"backbone.{place}.bn.{name}"] = draw(out) ** 2
        held[f"backbone.{place}.bn.num_batches_tracked"] = np.array(900)
    held["query_embed.weight"] = draw(20, 64)
    held["head.hidden.weight"] = draw(64, 32)
    held["head.hidden.bias"] = draw(64)
    held["head.out.weight"] = draw(7, 64)
    held["head.out.bias"] = draw(7)
    return held


def ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)


Chosen = Callable[[str], float | None]


def trained(
    decay: Chosen,
    options: Mapping[str, Any] = ADAMW,
    *,
    weights: Mapping[str, Array] | None = None,
    rate: float = 1e-4,
    steps: int = 900,
    modules: Sequence[Module] | None = None,
    metadata: Mapping[str, Any] | None = None,
    named: bool = False,
) -> Artifact:
    """A checkpoint: `decay` says which group holds a parameter (None: none does); the groups come by their decay."""
    held = dict(detector() if weights is None else weights)
    learned = [name for name in held if "running" not in name and "tracked" not in name]
    moments = tensors(held)
    groups: list[ParamGroup] = []
    state: dict[Slot, dict[str, Any]] = {}
    slot = 0
    for value in sorted({given for name in learned if (given := decay(name)) is not None}, reverse=True):
        own = [name for name in learned if decay(name) == value]
        for name in own:
            keys = ("momentum_buffer",) if "momentum" in options else ("exp_avg", "exp_avg_sq")
            state[slot + own.index(name)] = {**dict.fromkeys(keys, moments[name]), "step": float(steps)}
        slots = tuple(range(slot, slot + len(own)))
        names = tuple(own) if named else ()
        groups.append(ParamGroup({"lr": rate, "weight_decay": value, **options}, slots, names))
        slot += len(own)
    made = Optimizer("optimizer", tuple(groups), state)
    return checkpoint(held, path="epoch_24.pth", modules=modules, optimizers=[made], metadata=metadata)


def usual(name: str) -> float:
    """Weights of layers decay and nothing else does."""
    return 0.05 if name.endswith(("conv.weight", "hidden.weight", "out.weight")) else 0.0


def everything(name: str) -> float:
    return 0.05


def but(*endings: str, decay: float | None = 0.05) -> Chosen:
    """As usual, but for the parameters whose names end so."""
    return lambda name: decay if name.endswith(endings) else usual(name)


WEIGHTLESS = ModelBuilder().input("x", ["batch", 4]).op("Relu").output("y", ["batch", 4])
MAPPED = ("AV601", "AV602", "AV603", "AV605", "AV607")


@pytest.mark.parametrize("rule", [f"AV60{number}" for number in range(1, 9)])
def test_av60x_without_optimizer_state_nothing_is_assessed(assess: Assess, rule: str) -> None:
    outcome = assess(checkpoint(detector()), rule)
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "needs optimizer state" in (outcome.reason or "")
    outcome = assess(WEIGHTLESS, rule)
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "--checkpoint" in (outcome.reason or "")


@pytest.mark.parametrize("rule", ["AV601", "AV602", "AV603", "AV604", "AV605", "AV606", "AV608"])
def test_av60x_usual_groups_pass(assess: Assess, rule: str) -> None:
    assert assess(trained(usual), rule).passed


def test_av60x_a_checkpoint_beside_an_export_is_assessed_for_it(assess: Assess) -> None:
    finding = assess(WEIGHTLESS, "AV601", checkpoint=trained(everything)).only
    assert finding.location.artifact == "epoch_24.pth"


# AV601


def test_av601_biases_in_a_group_that_decays(assess: Assess) -> None:
    finding = assess(trained(everything), "AV601").found(Severity.WARNING, "head.hidden", "head.out")
    assert finding.location.tensor == "head.hidden.bias"
    assert finding.observed == {"weight_decay": 0.05, "groups": [0], "parameters": 2, "elements": 71}


def test_av601_names_the_one_bias_that_decays(assess: Assess) -> None:
    assert assess(trained(but("out.bias", decay=0.01)), "AV601").found(Severity.WARNING, "head.out")


def test_av601_recorded_names_are_believed(assess: Assess) -> None:
    model = trained(but("hidden.bias"), named=True)
    assert assess(model, "AV601").found(Severity.WARNING, "head.hidden")


def test_av601_is_not_assessed_where_shapes_leave_it_open(assess: Assess) -> None:
    weights = {"conv.weight": ones(32, 3, 3, 3), "conv.bias": ones(32), "bn.weight": ones(32), "bn.bias": ones(32)}
    model = trained(lambda name: 0.0 if name.endswith("bias") else 0.05, weights=weights)
    outcome = assess(model, "AV601")
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "needs to know the group of the bias" in (outcome.reason or "")


def test_av601_does_not_apply_without_biases(assess: Assess) -> None:
    weights = {name: value for name, value in detector().items() if "head" not in name}
    assert assess(trained(everything, weights=weights), "AV601").verdict is Verdict.NOT_APPLICABLE


# AV602


def test_av602_norms_in_a_group_that_decays(assess: Assess) -> None:
    model = trained(but("bn.weight", "bn.bias"))
    finding = assess(model, "AV602").found(Severity.WARNING, "backbone.0.bn", "backbone.1.bn")
    assert finding.observed["parameters"] == 4
    assert finding.expected == {"weight_decay": 0}


def test_av602_says_that_one_of_scale_and_shift_decays(assess: Assess) -> None:
    finding = assess(trained(but("bn.weight")), "AV602").found(Severity.WARNING, "backbone.0.bn", "backbone.1.bn")
    assert "which of the two" in finding.message
    named = assess(trained(but("bn.weight"), named=True), "AV602").only
    assert named.location.tensor == "backbone.0.bn.weight"
    assert "which of the two" not in named.message


def test_av602_knows_a_norm_by_its_class(assess: Assess) -> None:
    weights = {"a.weight": ones(8, 4), "scale.weight": ones(6), "act.weight": ones(5)}
    tree = [
        Module("", "Net", "nets", children=("a", "scale", "act")),
        Module("a", "Linear", "torch.nn", parameters=("weight",)),
        Module("scale", "RMSNorm", "torch.nn", parameters=("weight",)),
        Module("act", "PReLU", "torch.nn", parameters=("weight",)),
    ]
    assert assess(trained(everything, weights=weights, modules=tree), "AV602").found(Severity.WARNING, "scale")


def test_av602_does_not_apply_without_norms(assess: Assess) -> None:
    weights = {name: value for name, value in detector().items() if "bn" not in name}
    assert assess(trained(everything, weights=weights), "AV602").verdict is Verdict.NOT_APPLICABLE


# AV603


def test_av603_queries_in_a_group_that_decays(assess: Assess) -> None:
    finding = assess(trained(but("query_embed.weight")), "AV603").found(Severity.NOTE, "query_embed")
    assert finding.observed["elements"] == 1280


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pos_embed", (1, 17, 8)), ("cls_token", (1, 1, 8)), ("embed.weight", (30, 8)),
        ("reference_points.weight", (9, 3)),
        ("attn.relative_position_bias_table", (49, 3)), ("head.level_embed", (4, 8)),
        ("bev_embedding.weight", (100, 8)),
    ],
)  # fmt: skip
def test_av603_embeddings_by_name(assess: Assess, name: str, shape: tuple[int, ...]) -> None:
    weights = {"fc.weight": ones(8, 5), name: ones(*shape)}
    assert assess(trained(everything, weights=weights), "AV603").only.location.tensor == name


def test_av603_a_layer_by_such_a_name_is_none(assess: Assess) -> None:
    weights = {"reference_points.weight": ones(3, 8), "reference_points.bias": ones(3)}
    assert assess(trained(everything, weights=weights), "AV603").verdict is Verdict.NOT_APPLICABLE


# AV604


def test_av604_adam_with_coupled_decay(assess: Assess) -> None:
    finding = assess(trained(usual, ADAM), "AV604").only
    assert finding.severity is Severity.WARNING
    assert finding.observed == {"optimizer": "Adam", "weight_decay": 0.05, "groups": [0]}


def test_av604_adam_without_decay_passes(assess: Assess) -> None:
    assert assess(trained(lambda _: 0.0, ADAM), "AV604").passed


def test_av604_old_state_does_not_tell_adam_from_adamw(assess: Assess) -> None:
    assert assess(trained(usual, OLD_ADAM), "AV604").verdict is Verdict.NOT_ASSESSED
    said = {"meta": {"cfg": "optim_wrapper = dict(optimizer=dict(lr=2e-4, type='Adam', weight_decay=0.05))"}}
    assert assess(trained(usual, OLD_ADAM, metadata=said), "AV604").only.observed["optimizer"] == "Adam"
    assert assess(trained(usual, OLD_ADAM, metadata={"train_args": {"optimizer": "AdamW"}}), "AV604").passed


def test_av604_does_not_apply_to_sgd(assess: Assess) -> None:
    outcome = assess(trained(everything, SGD), "AV604")
    assert outcome.verdict is Verdict.NOT_APPLICABLE
    assert "SGD" in (outcome.reason or "")


# AV605


def test_av605_a_module_that_no_group_holds(assess: Assess) -> None:
    model = trained(but("hidden.weight", "hidden.bias", decay=None))
    finding = assess(model, "AV605").found(Severity.WARNING, "head.hidden")
    assert finding.observed["parameters"] == 2
    assert finding.observed["elements"] == 64 * 32 + 64


def test_av605_a_frozen_beginning_is_a_note(assess: Assess) -> None:
    model = trained(lambda name: None if name.startswith("backbone") else usual(name))
    finding = assess(model, "AV605").only
    assert finding.severity is Severity.NOTE
    assert "frozen on purpose" in finding.message


def tree(frozen: Sequence[str]) -> list[Module]:
    """Linear modules for the head alone."""
    parts = [Module("", "Head", "nets", children=("hidden", "out"))]
    for name in ("hidden", "out"):
        kept = frozenset(["weight", "bias"] if name in frozen else [])
        parts.append(Module(name, "Linear", "torch.nn", parameters=("weight", "bias"), frozen=kept))
    return parts


@pytest.mark.parametrize("frozen", [(), ("hidden",)])
def test_av605_a_tree_says_what_is_frozen(assess: Assess, frozen: tuple[str, ...]) -> None:
    head = {name.removeprefix("head."): value for name, value in detector().items() if name.startswith("head.")}
    model = trained(lambda name: None if "hidden" in name else usual(name), weights=head, modules=tree(frozen))
    outcome = assess(model, "AV605")
    if frozen:
        assert outcome.passed
    else:
        assert outcome.found(Severity.WARNING, "hidden")


@pytest.mark.parametrize("name", ["teacher.fc.weight", "model.dfl.conv.weight", "pe", "anchors", "img_norm.pixel_mean"])
def test_av605_copies_and_fixed_tables_are_not_missed(assess: Assess, name: str) -> None:
    weights = {"fc.weight": ones(8, 5), "fc.bias": ones(8), name: ones(1, 9)}
    model = trained(lambda own: None if own == name else 0.05, weights=weights)
    assert assess(model, "AV605").passed


def test_av605_the_kernel_of_expectations_is_not_missed_in_a_tree_without_flags(assess: Assess) -> None:
    modules = [
        Module("", "Head", "nets", children=("fc", "dfl")),
        Module("fc", "Linear", "torch.nn", parameters=("weight",)),
        Module("dfl", "DFL", "ultralytics.nn.modules.block", children=("conv",)),
        Module("dfl.conv", "Conv2d", "torch.nn.modules.conv", parameters=("weight",)),
    ]
    weights = {"fc.weight": ones(8, 5), "dfl.conv.weight": ones(1, 16, 1, 1)}
    assert assess(trained(lambda own: None if "dfl" in own else 0.05, weights=weights, modules=modules), "AV605").passed


def test_av605_tied_weights_count_once(assess: Assess) -> None:
    table = ones(30, 8)
    weights = {"embed.weight": table, "fc.weight": ones(8, 9), "decoder.weight": table}
    model = trained(lambda name: None if name == "decoder.weight" else 0.05, weights=weights)
    assert assess(model, "AV605").passed


def test_av605_which_of_two_equal_layers_is_left_out_is_not_assessed(assess: Assess) -> None:
    weights = {f"blocks.{place}.weight": ones(8, 8) for place in range(4)}
    model = trained(lambda name: 0.05 if name in ("blocks.1.weight", "blocks.3.weight") else None, weights=weights)
    outcome = assess(model, "AV605")
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "shapes and order leave open" in (outcome.reason or "")


# AV606


def test_av606_nothing_decays(assess: Assess) -> None:
    finding = assess(trained(lambda _: 0.0), "AV606").only
    assert finding.severity is Severity.NOTE
    assert finding.observed == {"weight_decay": 0.0, "groups": 1}


def onecycle() -> Artifact:
    """What OpenPCDet's adam_onecycle saves: batch norms in a second group, and a decay of 0 in both."""
    apart = trained(lambda name: 0.0 if "bn" in name else 1.0, OLD_ADAM)
    assert apart.checkpoint is not None
    (made,) = apart.checkpoint.optimizers
    groups = tuple(group._replace(options={**group.options, "weight_decay": 0}) for group in made.groups)
    apart.checkpoint = apart.checkpoint._replace(optimizers=[made._replace(groups=groups)])
    return apart


@pytest.mark.parametrize("rule", ["AV601", "AV602", "AV603", "AV605", "AV606", "AV608"])
def test_av606_decay_outside_the_optimizer_is_not_taken_for_none(assess: Assess, rule: str) -> None:
    outcome = assess(onecycle(), rule)
    assert outcome.verdict is Verdict.NOT_ASSESSED
    assert "adam_onecycle" in (outcome.reason or "")


# AV607


def base(weights: Mapping[str, Array]) -> Artifact:
    return checkpoint({name: value for name, value in weights.items() if not name.startswith("head")}, path="base.pth")


def test_av607_a_new_head_shares_the_decay_of_the_backbone(assess: Assess) -> None:
    finding = assess(trained(usual), "AV607", pretrained=base(detector())).found(
        Severity.NOTE, "head.hidden", "head.out"
    )
    assert finding.observed == {"weight_decay": 0.05, "parameters": 2}


def test_av607_a_decay_of_its_own_passes(assess: Assess) -> None:
    model = trained(but("hidden.weight", "out.weight", decay=0.01))
    assert assess(model, "AV607", pretrained=base(detector())).passed


def test_av607_does_not_apply_when_nothing_is_new(assess: Assess) -> None:
    model = trained(usual)
    assert assess(model, "AV607", pretrained=checkpoint(detector())).verdict is Verdict.NOT_APPLICABLE


# AV608


def test_av608_a_step_takes_too_much(assess: Assess) -> None:
    finding = assess(trained(usual, SGD, rate=0.1), "AV608").only
    assert finding.severity is Severity.WARNING
    assert "5.0% of each weight" in finding.message
    assert finding.observed == {"lr": 0.1, "weight_decay": 0.05, "parameters": 4}
    assert assess(trained(usual, SGD, rate=0.01), "AV608").passed


def test_av608_the_rate_before_the_schedule_counts(assess: Assess) -> None:
    assert assess(trained(usual, {**ADAMW, "initial_lr": 0.5}, rate=1e-6), "AV608").only.observed["lr"] == 0.5


def test_av608_all_steps_take_too_much(assess: Assess) -> None:
    assert "exp(-150)" in assess(trained(usual, rate=3e-3, steps=1_000_000), "AV608").only.message
    assert assess(trained(usual, {**ADAMW, "initial_lr": 3e-3}, rate=1e-9, steps=1_000_000), "AV608").passed


def test_av608_coupled_decay_in_adam_takes_no_share(assess: Assess) -> None:
    assert assess(trained(usual, ADAM, rate=0.5), "AV608").verdict is Verdict.NOT_ASSESSED


def test_av608_does_not_apply_when_nothing_decays(assess: Assess) -> None:
    assert assess(trained(lambda _: 0.0), "AV608").verdict is Verdict.NOT_APPLICABLE


# The answer


def test_question_6_is_answered_by_groups(reviewed: Callable[..., Review]) -> None:
    review = reviewed(trained(but("hidden.weight", "hidden.bias", decay=None)), select=["item6"])
    said = next(answer for answer in review.checklist if answer.item == 6)
    assert said.answer == (
        "3 of 9 parameters are decayed (2 convolution weights, 1 matrix weight); 2 are not optimized."
    )
    assert [(row["group"], row["parameters"], row["decay"]) for row in said.table] == [
        ("group 0", 3, 0.05), ("group 1", 6, 0.0), ("not optimized", 2, None),
    ]  # fmt: skip
    assert said.table[1]["kinds"] == "2 norm scales, 2 norm shifts, 1 position, query or token, 1 bias"


def test_question_6_says_what_is_not_certain(reviewed: Callable[..., Review]) -> None:
    review = reviewed(trained(but("bn.weight")), select=["item6"])
    said = next(answer for answer in review.checklist if answer.item == 6)
    assert said.answer.endswith("of 4 parameters the group is the likeliest, not certain.")


def test_question_6_is_answered_without_names(reviewed: Callable[..., Review]) -> None:
    weights = {name: ones(4, 4) for name in ("a.weight", "b.weight")}
    model = trained(usual, weights={**detector(), **weights})
    assert model.checkpoint is not None
    kept = {name: value for name, value in model.tensors.items() if "head" not in name}
    sets = {"model": model.checkpoint.sets["model"]._replace(tensors=kept)}
    model.checkpoint = model.checkpoint._replace(sets=sets)
    review = reviewed(model, select=["item6"])
    said = next(answer for answer in review.checklist if answer.item == 6)
    assert "is not known" in said.answer
    assert {outcome.rule for outcome in review.rules if outcome.verdict is Verdict.NOT_ASSESSED} >= set(MAPPED)
