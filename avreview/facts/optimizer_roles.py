"""What a parameter is: a weight, a norm's scale, a bias, …, from the module tree or from names and shapes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from avreview.artifact import Tensor
from avreview.checkpoint import Module

MATRIX = "matrix weight"
CONVOLUTION = "convolution weight"
RECURRENT = "recurrent weight"
EMBEDDING = "embedding"
POSITION = "position, query or token"
SCALE = "norm scale"
SHIFT = "norm shift"
BIAS = "bias"
OTHER = "other"

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_NORM_CLASS = re.compile(r"norm|^(?:Frozen)?BN\d?d?$|^ActNorm", re.IGNORECASE)
_NOT_A_NORM_CLASS = re.compile(r"weight_?norm|spectral_?norm", re.IGNORECASE)
_NORM_NAME = re.compile(r"norm|(?:^|_)(?:bn|ln|gn|rms|in)(?:_|\d|$)|layernorm", re.IGNORECASE)
_SCALES = ("weight", "gamma", "scale", "g", "a_2", "alpha")
_SHIFTS = ("bias", "beta", "shift", "b", "b_2")
_EMBEDDING_NAME = re.compile(
    r"^(?:.*_)?(?:emb|embed|embeds|embedding|embeddings|embedder|codebook|lookup)(?:_tokens|_table|s|\d)*$"
    r"|^(?:wte|wpe|token_embed.*|tok_embeddings|embed_tokens|word_embeddings.*|shared)$",
    re.IGNORECASE,
)
_POSITION_NAME = re.compile(
    r"(?:^|_)pos(?:ition(?:al)?)?(?:_?(?:emb|enc|bias|table)\w*|)$"
    r"|(?:query|queries|proposal|object|anchor)_(?:emb|pos|feat|token)\w*$|(?:^|_)quer(?:ies|y_embedding)$"
    r"|(?:cls|class|dist|mask|register|reg|det|prompt|agent|seg|bos|cam)_tokens?$"
    r"|relative_position_bias|rel_pos(?:_[hw])?$|^reference_points$|(?:level|cams?|camera|view|frame|time|bev)_embed\w*$"
    r"|^wpe$",
    re.IGNORECASE,
)
_RECURRENT_NAME = re.compile(r"^weight_(?:ih|hh|hr)_l\d+(?:_reverse)?$|^weight_(?:ih|hh)$")
_BIAS_NAME = re.compile(r"(?:^|_)bias(?:_|$)|^bias|_bias\d*$|^b_[a-z]+$")
_CONVOLUTION_CLASS = re.compile(r"conv|dcn", re.IGNORECASE)
_RECURRENT_CLASS = re.compile(r"^(?:LSTM|GRU|RNN)(?:Cell)?$")


class Names(NamedTuple):
    """A parameter's name in parts."""

    module: str
    own: str

    @classmethod
    def of(cls, name: str) -> Names:
        module, _, own = name.rpartition(".")
        return cls(module, own)


def is_statistic(name: str) -> bool:
    """True for what a norm counts rather than learns."""
    return Names.of(name).own in _STATISTICS


class Roles:
    """Roles of the tensors of one weight set."""

    def __init__(self, tensors: Mapping[str, Tensor], modules: Mapping[str, Module] | None) -> None:
        self._tensors = tensors
        self._modules = modules or {}

    def role(self, name: str) -> str:
        """What the parameter serves as; `other` for what no rule speaks of, such as a layer's scale."""
        module, own = Names.of(name)
        tensor = self._tensors[name]
        if self._is_norm(module, own, tensor):
            return SCALE if own in _SCALES else SHIFT
        if (place := self._place(module, own, tensor)) is not None:
            return place
        if _BIAS_NAME.search(own) and len(tensor.shape) <= 2:
            return BIAS
        if own.startswith("original") and module.endswith(".bias"):
            return BIAS
        return self._weight(module, own, tensor)

    def _kind(self, module: str) -> str:
        held = self._modules.get(module)
        return held.kind if held is not None else ""

    def _sibling(self, module: str, own: str) -> Tensor | None:
        return self._tensors.get(f"{module}.{own}" if module else own)

    def _is_norm(self, module: str, own: str, tensor: Tensor) -> bool:
        if own not in _SCALES and own not in _SHIFTS:
            return False
        kind = self._kind(module)
        if kind:
            by_class = bool(_NORM_CLASS.search(kind)) and not _NOT_A_NORM_CLASS.search(kind)
            if by_class or own in ("weight", "bias"):
                return by_class
        if any(self._sibling(module, statistic) is not None for statistic in _STATISTICS):
            return True
        scale = next((held for name in _SCALES if (held := self._sibling(module, name)) is not None), None)
        shift = next((held for name in _SHIFTS if (held := self._sibling(module, name)) is not None), None)
        if scale is not None and shift is not None and scale.shape:
            # Only a norm has a scale and a shift of one shape; a layer's weight has an axis more than its bias.
            return scale.shape == shift.shape
        named = bool(_NORM_NAME.search(module.rpartition(".")[2]))
        return named and len(tensor.shape) == 1

    def _place(self, module: str, own: str, tensor: Tensor) -> str | None:
        """Embeddings and what carries a place; None for anything else."""
        last = module.rpartition(".")[2]
        if own == "weight":
            kind = self._kind(module)
            is_table = kind.endswith(("Embedding", "EmbeddingBag")) or (
                not kind and len(tensor.shape) == 2 and self._sibling(module, "bias") is None
            )
            if is_table and _POSITION_NAME.search(last):
                return POSITION
            if is_table and (kind or _EMBEDDING_NAME.search(last)):
                return EMBEDDING
            return None
        if _POSITION_NAME.search(own):
            return POSITION
        return EMBEDDING if len(tensor.shape) >= 2 and _EMBEDDING_NAME.search(own) else None

    def _weight(self, module: str, own: str, tensor: Tensor) -> str:
        kind = self._kind(module)
        if _RECURRENT_NAME.search(own) or (_RECURRENT_CLASS.search(kind) and len(tensor.shape) == 2):
            return RECURRENT
        if len(tensor.shape) >= 3 and ("weight" in own or own.startswith("original")):
            grows = sum(extent > 1 for extent in tensor.shape) > 1
            is_tail = own in ("weight_g", "original0") and not grows
            return OTHER if is_tail or (kind and not _CONVOLUTION_CLASS.search(kind) and not grows) else CONVOLUTION
        if len(tensor.shape) == 2 and own not in ("weight_g", "original0"):
            return MATRIX
        return OTHER
