"""An optimizer's groups in numbers: rate, decay, and the shape of each parameter as its state tells it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from avreview.artifact import Tensor
from avreview.checkpoint import Optimizer, ParamGroup
from avreview.engine.resolve import NotApplicable, NotAvailable, fact
from avreview.facts.optimizer_kind import OptimizerKind, kind_of
from avreview.facts.subject import TrainingState

# State tensors that have the parameter's shape, the surest first.
_LIKE_THE_PARAMETER = (
    "exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "variance", "state1", "state2", "exp_inf", "sum",
    "prev", "acc_delta", "z", "hessian", "ax", "master_param",
)  # fmt: skip
_COUNTERS = ("step", "steps", "eta", "mu", "mu_product")
_DECAY_OPTIONS = ("weight_decay", "wd", "weight_decay_rate", "lambd")
_PEAK_RATES = ("initial_lr", "max_lr", "lr")
_LABELS = ("param_group", "group_name", "name", "tag")
MOST_SLOTS = 100_000


class GroupSlot(NamedTuple):
    """A parameter as the optimizer knows it; `shape` is None where it has no state that tells."""

    shape: tuple[int, ...] | None
    name: str | None


class OptimizerGroup(NamedTuple):
    """One of `param_groups`. `decay` is None when its options do not speak of weight decay."""

    optimizer: int  # which of the checkpoint's optimizers
    number: int  # which of its groups
    options: Mapping[str, Any]
    slots: Sequence[GroupSlot]
    rate: float | None
    peak_rate: float | None  # the largest that the options tell of: `initial_lr`, `max_lr`
    decay: float | None
    label: str

    @property
    def title(self) -> str:
        """`group 0`, `group 0 (decay)`, `optimizer_states[1] group 0` is for the reader to say."""
        return f"group {self.number}" + (f" ({self.label})" if self.label else "")


class OptimizerGroups(NamedTuple):
    """Every group of every optimizer of the checkpoint, and of which kind each optimizer is."""

    artifact: str
    all: Sequence[OptimizerGroup]
    kinds: Sequence[OptimizerKind]  # by `OptimizerGroup.optimizer`
    steps: Sequence[int | None]  # how many each optimizer has made, by the same

    @property
    def filled(self) -> list[OptimizerGroup]:
        """Those that hold a parameter."""
        return [group for group in self.all if group.slots]

    def kind(self, group: OptimizerGroup) -> OptimizerKind:
        return self.kinds[group.optimizer]

    def require_decay(self) -> list[tuple[OptimizerGroup, float]]:
        """Each group with its decay. Raises NotAvailable when one does not tell."""
        told = [(group, group.decay) for group in self.filled if group.decay is not None]
        if len(told) < len(self.filled):
            raise NotAvailable(
                "needs parameter groups that state their weight decay; the optimizer in the file stores none"
            )
        return told


@fact
def optimizer_groups(state: TrainingState) -> OptimizerGroups:
    """Reads options and the shapes of state tensors; no tensor's values but those of single numbers."""
    optimizers = state.checkpoint.optimizers
    if not optimizers:
        raise NotAvailable("needs optimizer state, which the file does not hold; pass the training checkpoint")
    total = sum(len(group.slots) for optimizer in optimizers for group in optimizer.groups)
    if not total:
        raise NotApplicable("the optimizer holds no parameter")
    if total > MOST_SLOTS:
        raise NotAvailable(f"needs an optimizer of at most {MOST_SLOTS:,} parameters; the file holds {total:,}")
    return OptimizerGroups(
        state.artifact,
        [group for number, optimizer in enumerate(optimizers) for group in _groups(number, optimizer)],
        [kind_of(optimizer, state.checkpoint.metadata) for optimizer in optimizers],
        [_steps(optimizer) for optimizer in optimizers],
    )


def _groups(number: int, optimizer: Optimizer) -> Iterator[OptimizerGroup]:
    for index, group in enumerate(optimizer.groups):
        options = group.options
        rates = [rate for key in _PEAK_RATES if (rate := number_of(options.get(key))) is not None]
        decays = (number_of(options.get(key)) for key in _DECAY_OPTIONS)
        label = next((options[key] for key in _LABELS if isinstance(options.get(key), str)), "")
        yield OptimizerGroup(
            optimizer=number,
            number=index,
            options=options,
            slots=list(_slots(optimizer, group)),
            rate=number_of(options.get("lr")),
            peak_rate=max(rates, default=None),
            decay=next((decay for decay in decays if decay is not None), None),
            label=label,
        )


def _slots(optimizer: Optimizer, group: ParamGroup) -> Iterator[GroupSlot]:
    names = group.names if len(group.names) == len(group.slots) else ()
    for place, slot in enumerate(group.slots):
        name = names[place] if names else slot if isinstance(slot, str) else None
        yield GroupSlot(parameter_shape(optimizer.state.get(slot, {})), name)


def parameter_shape(state: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The shape of the parameter that an optimizer keeps this state for; None when the state does not tell."""
    tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    factored = _factored(tensors)
    if factored is not None:
        return factored
    for key in _LIKE_THE_PARAMETER:
        if key in tensors:
            return tensors[key].shape
    shapes = {tensor.shape for key, tensor in tensors.items() if key not in _COUNTERS}
    return shapes.pop() if len(shapes) == 1 else None


def _factored(tensors: Mapping[str, Tensor]) -> tuple[int, ...] | None:
    """The shape behind the factors of a second moment, which Adafactor keeps as means over rows and over columns."""
    if "row_var" in tensors and "col_var" in tensors:  # torch keeps the axis that it took the mean over
        row, column = tensors["row_var"].shape, tensors["col_var"].shape
        return (*row[:-1], column[-1]) if len(row) == len(column) and row else None
    if "exp_avg_sq_row" in tensors and "exp_avg_sq_col" in tensors:  # transformers and fairseq do not
        row, column = tensors["exp_avg_sq_row"].shape, tensors["exp_avg_sq_col"].shape
        return (*row, column[-1]) if len(row) == len(column) and row else None
    return None


def number_of(value: Any) -> float | None:
    """A setting as a number: Python's own, or a tensor of one element; None for anything else."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, Tensor):
        is_number = value.size == 1 and value.quantization is None and value.dtype.startswith(("float", "int", "bf"))
        value = float(value.copy().reshape(-1)[0]) if is_number else None
    if not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _steps(optimizer: Optimizer) -> int | None:
    """The most steps that any of the first parameters was updated."""
    taken = [number_of(state.get("step")) for state in list(optimizer.state.values())[:64]]
    known = [step for step in taken if step is not None and step >= 0]
    return int(max(known)) if known else None
