"""Which split a name speaks of: `train_transforms`, `ValAugmentation`, `get_test_pipeline`."""

from __future__ import annotations

import re

_WORDS = {
    "train": ("train", "training", "trn", "tr"),
    "val": ("val", "valid", "validation", "eval", "evaluation", "dev"),
    "test": ("test", "testing", "infer", "inference", "predict", "prediction"),
}
_ROLES = {word: role for role, words in _WORDS.items() for word in words}


def role_of(name: str) -> str | None:
    """`train`, `val` or `test`; None where the name says neither, or says several: `train_val_transforms`."""
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[:200]).lower())
    found = {_ROLES[word] for word in words if word in _ROLES}
    return found.pop() if len(found) == 1 else None
