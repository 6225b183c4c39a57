"""The parameters that an optimizer may hold: a weight set's float tensors, in the order they were registered."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from avreview.artifact import Tensor
from avreview.checkpoint import Checkpoint, Module, WeightSet
from avreview.facts.optimizer_roles import Names, Roles, is_statistic

# Names of what is stored with the weights and not learned, or held without a gradient: priors of a detector, image
# statistics, masks, fixed tables of sines.
# The fixed kernel 0, 1, 2, … that a YOLO head takes expectations with: a parameter by class, never trained.
_EXPECTATION = re.compile(r"(?:^|\.)dfl\.conv\.weight$")
_NOT_LEARNED = re.compile(
    r"(?:^|[._])(?:anchors?|anchor_grid|priors?|stride|strides|grid|grids|proj_range|pixel_mean|pixel_std|mean|std"
    r"|inv_freq|freqs?(?:_cis)?|attn_mask|mask|rel_pos_index|relative_position_index|relative_coords_table"
    r"|position_ids|pe|sinusoid\w*|ema_\w+|cluster_size|embed_avg|steps|num_updates|n_averaged|loss_scale|class_weights?"
    r"|pos_weight|code_weights|post_center_range|bev_h|frustum|bx|dx|nx|window)$|(?:^|\.)dfl\.(?:conv\.)?(?:weight|project)$"
    r"|(?:^|\.)dfl(?:\.\w+)*\.project$|(?:^|\.)integral\.project$"
)
# Copies that follow the model by averaging, and networks that only measure a loss.
_COPIES = re.compile(
    r"(?:^|[._])(?:teacher|ema|ema_model|model_ema|momentum_encoder|encoder_k|key_encoder|target_(?:net|network|encoder)"
    r"|lpips|perceptual\w*|vgg_loss|metric|metrics)(?:[._]|$)",
    re.IGNORECASE,
)


class Candidate(NamedTuple):
    """A tensor that may be a parameter.

    `is_parameter` is True or False where the module tree tells it, None where only a state dict is had. `is_frozen`
    is True for a parameter that the tree marks `requires_grad=False`.
    """

    name: str
    tensor: Tensor
    role: str
    is_parameter: bool | None = None
    is_frozen: bool = False
    is_fixed: bool = False  # of a norm that does not learn: running statistics and no count of batches
    tied: tuple[str, ...] = ()  # further names of the same tensor

    @property
    def module(self) -> str:
        return Names.of(self.name).module

    @property
    def is_passive(self) -> bool:
        """True when leaving it out of the optimizer needs no explanation."""
        return self.is_frozen or self.is_fixed or (self.is_parameter is None and bool(_NOT_LEARNED.search(self.name)))

    @property
    def should_learn(self) -> bool:
        """True when an optimizer without it leaves something untrained, as far as tree or name tell."""
        if self.is_frozen or self.is_fixed or any(_COPIES.search(name) for name in (self.name, *self.tied)):
            return False
        if self.is_parameter is not None:
            return self.is_parameter and not _EXPECTATION.search(self.name)
        return Names.of(self.name).own.endswith(("weight", "bias")) and not _NOT_LEARNED.search(self.name)


def trained_set(checkpoint: Checkpoint) -> WeightSet | None:
    """The set that the optimizer changed: the raw weights where the file has them beside averaged ones."""
    return checkpoint.sets.get("model") or checkpoint.sets.get(checkpoint.primary)


def candidates(weights: WeightSet, modules: Mapping[str, Module] | None) -> Sequence[Candidate]:
    """Float tensors without norm statistics and buffers, tied ones once under their first name."""
    told = _told(modules)
    if len(told.keys() & weights.tensors.keys()) * 2 < len(told):
        told = {}  # a tree of other names: it tells nothing of these tensors
    # A module saved for inference has every flag off: then the flags say nothing of training.
    frozen = {name for name, is_frozen in told.items() if is_frozen}
    flags_count = len(frozen) < len(told)
    roles = Roles(weights.tensors, modules)
    found: dict[tuple[int, tuple[int, ...]], Candidate] = {}
    for name, tensor in weights.tensors.items():
        if not tensor.is_floating or is_statistic(name) or (told and name not in told):
            continue
        key = (id(tensor.storage), tensor.shape)
        if key in found and tensor.size:
            found[key] = found[key]._replace(tied=(*found[key].tied, name))
        else:
            is_frozen = flags_count and name in frozen
            is_parameter = True if told else None
            module = f"{Names.of(name).module}."
            is_fixed = (
                not told
                and f"{module}running_var" in weights.tensors
                and f"{module}num_batches_tracked" not in weights.tensors
            )
            found[key if tensor.size else (id(tensor), ())] = Candidate(
                name, tensor, roles.role(name), is_parameter, is_frozen, is_fixed
            )
    return list(found.values())


def _told(modules: Mapping[str, Module] | None) -> dict[str, bool]:
    """The parameters of the tree, each with whether it is frozen; empty without a tree."""
    return {
        f"{module.path}.{own}" if module.path else own: own in module.frozen
        for module in (modules or {}).values()
        for own in module.parameters
    }
