"""What a configuration says of the training itself: optimizer, schedule, batches, devices, averages, precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avreview.load.wording import quoted
from avreview.recipe.mmengine.amounts import number, option, whole
from avreview.recipe.mmengine.pipelines import hooks
from avreview.recipe.model import GroupRule, RecipeOptimizer, Setting, Unread
from avreview.recipe.python.values import Table, Unknown, plain, scope_free

_EVERYTHING = {"bias": True, "norm": True, "embedding": True}
_SPARED = {"bias": False, "norm": False, "embedding": None}
_UNTOLD = {"bias": None, "norm": None, "embedding": None}
_CONSTRUCTORS: Mapping[str, Mapping[str, bool | None]] = {
    "DefaultOptimizerConstructor": _EVERYTHING,
    "DefaultOptimWrapperConstructor": _EVERYTHING,
    "LearningRateDecayOptimizerConstructor": _SPARED,
    "LayerDecayOptimizerConstructor": _SPARED,
    "LayerDecayOptimizerConstructor_ViT": _SPARED,
}
_SCHEDULES = {
    "cosineannealing": "cosine", "cosinerestart": "cosine", "cosineannealinglr": "cosine", "flatcosineannealing":
    "cosine", "step": "step", "multisteplr": "step", "steplr": "step", "fixed": "constant", "poly": "poly",
    "polylr": "poly", "onecycle": "onecycle", "one_cycle": "onecycle", "onecyclelr": "onecycle", "cyclic": "cyclic",
    "exp": "exponential", "exponentiallr": "exponential", "linearannealing": "linear", "multi_phase": "multi-phase",
    "yolox": "cosine", "quadraticwarmuplr": "warm-up",
}  # fmt: skip
_WARM_UPS = frozenset({"LinearLR", "ConstantLR", "QuadraticWarmupLR"})


def optimizer(config: Table, unread: list[Unread]) -> RecipeOptimizer | None:
    """The optimizer with its groups. `rate` is the highest that the schedule reaches."""
    wrapper = config.get("optim_wrapper")
    holder = wrapper if isinstance(wrapper, Table) else config
    for what, value in (("optim_wrapper", wrapper), ("optimizer", holder.get("optimizer"))):
        if isinstance(value, Unknown):
            unread.append(value.unread(what))
    table = holder.get("optimizer")
    name = scope_free(table.get("type")) if isinstance(table, Table) else None
    if not isinstance(table, Table) or name is None:
        return None
    settings = holder if holder is wrapper else table
    decay_key = "weight_decay" if "weight_decay" in table or "wd" not in table else "wd"
    is_det3d = decay_key == "wd"
    constructor = scope_free(settings.get("constructor"))
    decays = _EVERYTHING if constructor is None or is_det3d else _CONSTRUCTORS.get(constructor, _UNTOLD)
    left_out = ("type", "lr", "weight_decay", "wd", "momentum", "paramwise_cfg")
    return RecipeOptimizer(
        name,
        holder.place("optimizer"),
        _peak(config, table),
        _number(table, decay_key),
        _number(table, "momentum"),
        list(_rules(settings.get("paramwise_cfg"), unread)),
        dict(decays),
        decays_outside=is_det3d and table.get("fixed_wd") is True,
        options=plain({key: value for key, value in table.items() if key not in left_out}),
    )


def _number(table: Table, key: str) -> Setting | None:
    value = number(table.get(key))
    return None if value is None else Setting(value, table.place(key))


def _whole(table: Table, key: str) -> Setting | None:
    value = whole(table.get(key))
    return None if value is None else Setting(value, table.place(key))


def _peak(config: Table, table: Table) -> Setting | None:
    """The highest rate: schedules of one cycle go above the optimizer's own."""
    rate = _number(table, "lr")
    policy = config.get("lr_config")
    if isinstance(policy, Table):
        if "lr_max" in policy:  # det3d
            return _number(policy, "lr_max")
        factor = policy.get("target_ratio")
        first = number(factor[0] if isinstance(factor, list | tuple) and factor else factor)
        if rate is not None and first is not None and policy.get("policy") == "cyclic":
            return Setting(rate.value * max(first, 1.0), policy.place("target_ratio"))
    for scheduler in _schedulers(config):
        for key in ("eta_min", "eta_max"):
            reached = _number(scheduler, key)
            if reached is not None and (rate is None or reached.value > rate.value):
                rate = reached
    return rate


def _schedulers(config: Table) -> list[Table]:
    listed = config.get("param_scheduler")
    entries = listed if isinstance(listed, list | tuple) else (listed,)
    return [e for e in entries if isinstance(e, Table) and "Momentum" not in (scope_free(e.get("type")) or "")]


def _rules(settings: Any, unread: list[Unread]) -> Iterator[GroupRule]:
    """The groups of `paramwise_cfg`."""
    if isinstance(settings, Unknown):
        unread.append(settings.unread("paramwise_cfg"))
    if not isinstance(settings, Table):
        return
    keys = settings.get("custom_keys")
    for pattern, factors in keys.items() if isinstance(keys, Table) else ():
        if isinstance(factors, Table) and isinstance(pattern, str) and isinstance(keys, Table):
            rate, decay = number(factors.get("lr_mult")), number(factors.get("decay_mult"))
            yield GroupRule("name", pattern, rate, decay, keys.place(pattern))
    if isinstance(keys, Unknown):
        unread.append(keys.unread("custom_keys of the optimizer"))
    for kind, rate_key, decay_key in (
        ("bias", "bias_lr_mult", "bias_decay_mult"),
        ("norm", "norm_lr_mult", "norm_decay_mult"),
        ("depthwise", "dwconv_lr_mult", "dwconv_decay_mult"),
    ):
        rate, decay = number(settings.get(rate_key)), number(settings.get(decay_key))
        if rate is not None or decay is not None:
            at = settings.place(decay_key if decay is not None else rate_key)
            yield GroupRule(kind, "", rate, decay, at)
    offset = number(settings.get("dcn_offset_lr_mult"))
    if offset is not None:
        yield GroupRule("name", "conv_offset", offset, None, settings.place("dcn_offset_lr_mult"))


def length(config: Table) -> tuple[Setting | None, Setting | None]:
    """Epochs and optimizer steps of the whole training, each where told."""
    epochs = steps = None
    for holder in (config.get("runner"), config.get("train_cfg")):
        if isinstance(holder, Table):
            epochs = epochs or _whole(holder, "max_epochs")
            steps = steps or _whole(holder, "max_iters")
    return epochs or (None if steps else _whole(config, "total_epochs")), steps


def schedule(config: Table, unread: list[Unread]) -> Setting | None:
    """What the rate does after any warm-up."""
    policy = config.get("lr_config")
    if isinstance(policy, Table) and "param_scheduler" not in config:
        key = "policy" if "policy" in policy else "type"
        return _named(policy.get(key), policy, key, unread)
    main = [table for table in _schedulers(config) if scope_free(table.get("type")) not in _WARM_UPS]
    if main:
        return _named(main[-1].get("type"), main[-1], "type", unread)
    only = _schedulers(config)
    return Setting("constant", only[-1].at) if only else None


def _named(value: Any, table: Table, key: str, unread: list[Unread]) -> Setting | None:
    name = scope_free(value)
    if name is None:
        return None
    known = _SCHEDULES.get(name.lower(), _SCHEDULES.get(name.lower().removesuffix("lr")))
    if known is None:
        unread.append(Unread(f"the schedule {quoted(name)}", "is not known here", table.place(key)))
        return None
    return Setting(known, table.place(key))


def batch_size(config: Table, unread: list[Unread]) -> Setting | None:
    """Samples on each device."""
    data, loader = config.get("data"), config.get("train_dataloader")
    inner = data.get("train_dataloader") if isinstance(data, Table) else None
    for table, key in (
        (loader, "batch_size"),
        (inner, "samples_per_gpu"),
        (data, "samples_per_gpu"),
        (data, "imgs_per_gpu"),
    ):
        if isinstance(table, Table) and key in table:
            if isinstance(table[key], Unknown):
                unread.append(table[key].unread(key))
            return _whole(table, key)
    return None


def devices(config: Table) -> Setting | None:
    """How many devices, where a list of them or their number is given."""
    for key in ("gpu_ids", "device_ids"):
        listed = config.get(key)
        if isinstance(listed, list | tuple | range) and len(listed) > 1:
            return Setting(len(listed), config.place(key))
    for key in ("num_gpus", "num_gpu", "gpus"):
        count = config.get(key)
        if isinstance(count, int) and not isinstance(count, bool) and count > 0:
            return Setting(count, config.place(key))
    return None


def accumulation(config: Table) -> Setting | None:
    """Over how many steps gradients are added up."""
    for holder, key in (("optim_wrapper", "accumulative_counts"), ("optimizer_config", "cumulative_iters")):
        table = config.get(holder)
        if isinstance(table, Table) and whole(table.get(key)) is not None:
            return _whole(table, key)
    return None


def ema(config: Table) -> Setting | None:
    """An average of the weights: its decay where told, else True."""
    for hook in hooks(config):
        name = scope_free(hook.get("type")) or ""
        if "EMA" not in name.upper() or not name.endswith("Hook"):
            continue
        decay, momentum = number(hook.get("decay")), number(hook.get("momentum"))
        if decay is not None:
            return Setting(decay, hook.place("decay"))
        if momentum is not None and momentum < 0.5:
            return Setting(1 - momentum, hook.place("momentum"))
        return Setting(True, hook.at)
    return None


def precision(config: Table) -> Setting | None:
    """Half precision, by whichever of its switches is there."""
    wrapper, hook = config.get("optim_wrapper"), config.get("optimizer_config")
    if isinstance(wrapper, Table) and scope_free(wrapper.get("type")) == "AmpOptimWrapper":
        kind = {"bfloat16": "bf16", "float16": "fp16"}.get(str(option(wrapper, "dtype", "")), "amp")
        return Setting(kind, wrapper.place("type"))
    if isinstance(config.get("fp16"), Table):
        return Setting("fp16", config.place("fp16"))
    if isinstance(hook, Table) and "Fp16" in (scope_free(hook.get("type")) or ""):
        return Setting("fp16", hook.place("type"))
    return None
