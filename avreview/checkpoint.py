"""What a training checkpoint holds besides tensors: weight sets, the module tree, optimizers, names of code.

Like the artifact model this knows no file format: every loader of a PyTorch format fills these in as far as its
file tells, and nothing here is code from the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from avreview.artifact import Tensor

Slot = int | str  # what an optimizer calls a parameter: its number, its name, or in old files an id()


class WeightSet(NamedTuple):
    """One set of weights in a checkpoint: `model` (the raw ones), `ema`, `swa`, ….

    `tensors` go by the name they have inside the model: wrapper prefixes are stripped from the keys, while
    `Tensor.name` keeps the key as the file has it. Tensors that are one and the same view of one storage (tied
    weights) share their `storage` object.
    """

    name: str
    where: str  # the place in the file: `state_dict`, `ema_state_dict`, `model`
    tensors: Mapping[str, Tensor]
    prefix: str = ""  # what was stripped from every key: `module.`, `_orig_mod.module.`
    training: bool | None = None  # for a pickled module: the root's flag


class Call(NamedTuple):
    """One step of a module's forward, in order: a child module or a function, and the values it takes and gives.

    Values are named by strings unique within the module; the forward's own inputs are among `Module.inputs`.
    """

    target: str  # a child's name (`conv1`, `layer1.0`), or a function as torch names it (`aten::relu`)
    is_child: bool
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    arguments: Mapping[str, Any] = {}  # literal arguments of a function: `p`, `train`, `eps`


class Module(NamedTuple):
    """A module of the tree: `nn.BatchNorm2d` at `neck.bn3`.

    `attributes` are its plain values (numbers, strings, booleans, None and flat tuples of them): `training`, `p`,
    `eps`, `momentum`, `kernel_size`, `stride`, `groups`, `in_features`, …; of a quantized or parametrized module
    what there is. `calls` is its forward where the file tells it, () where not.
    """

    path: str  # dotted; "" is the root
    kind: str  # the class's own name: `BatchNorm2d`
    package: str  # where the class is defined: `torch.nn.modules.batchnorm`
    attributes: Mapping[str, Any] = {}
    children: tuple[str, ...] = ()  # their own names, in the order they were registered
    parameters: tuple[str, ...] = ()  # own names of direct parameters: `weight`, `bias`
    buffers: tuple[str, ...] = ()
    frozen: frozenset[str] = frozenset()  # own names of parameters with requires_grad False
    inputs: tuple[str, ...] = ()
    calls: tuple[Call, ...] = ()


class ParamGroup(NamedTuple):
    """One of an optimizer's groups: `options` are all its settings (lr, weight_decay, betas, …) but the parameters."""

    options: Mapping[str, Any]
    slots: tuple[Slot, ...]
    names: tuple[str, ...] = ()  # the parameters' names, where the file has them (`param_names`)


class Optimizer(NamedTuple):
    """An optimizer's state_dict. `state` maps a slot to its tensors and numbers (`exp_avg`, `step`, …)."""

    where: str  # the place in the file: `optimizer`, `optimizer_states[0]`
    groups: tuple[ParamGroup, ...]
    state: Mapping[Slot, Mapping[str, Any]]
    kind: str | None = None  # the class, where the file names it


class NamedCode(NamedTuple):
    """A function or class that a pickle names, and how: `called` (REDUCE, INST, OBJ: loading would call it),
    `made` (NEWOBJ: loading would create one without calling `__init__`), or only `named`.

    `is_module` is True when everything made of it carries the state of an `nn.Module`; `through` when the name
    leads through an attribute of its module that is no class, such as a module that it imports.
    """

    name: str  # dotted, as the pickle writes it: `os.system`
    use: str
    file: str  # the member of the archive or the path
    offset: int  # of the opcode that names it
    is_module: bool = False
    through: bool = False


class Checkpoint(NamedTuple):
    """What there is beside the primary weights. Empty parts are parts that the file does not hold.

    `metadata` is what the file says of its own making in plain values: epoch, hyper_parameters, train_args, meta.cfg.
    `oddities` are what makes a file suspicious without naming code: bytes behind the end, several pickles in one.
    """

    sets: Mapping[str, WeightSet] = {}
    primary: str = ""  # the name of the set that the artifact's `tensors` are
    layout: str = ""  # who laid it out: `state_dict`, `lightning`, `mmengine`, `ultralytics`, …
    modules: Mapping[str, Module] | None = None  # by path, parents before children; of the primary set
    optimizers: Sequence[Optimizer] = ()
    code: Sequence[NamedCode] = ()
    oddities: Sequence[str] = ()
    metadata: Mapping[str, Any] = {}
