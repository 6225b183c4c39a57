"""Values as an unpickler that obeys nothing gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
from checkpoints import Held

from avreview.artifact import Tensor
from avreview.load.pickles.inert import Global, Instance


def tensor(*shape: int, start: float = 0.0, dtype: str = "float32") -> Tensor:
    """A tensor without a name as yet, that counts up from `start`."""
    shape = shape or (2, 3)
    values = np.arange(start, start + int(np.prod(shape)), dtype=dtype)
    return Tensor("", shape, dtype, Held(values))


def scalar(value: float, dtype: str = "int64") -> Tensor:
    """A tensor of one number, without axes."""
    return Tensor("", (), dtype, Held(np.array([value], dtype=dtype)))


def instance(kind: str, state: Any) -> Instance:
    """An object made of a class of that dotted name."""
    package, _, name = kind.rpartition(".")
    made = Instance(Global(package, name), (), "made")
    made.state = state
    return made


def module(kind: str = "nets.Net", **fields: Any) -> Instance:
    """A pickled module; `fields` are attributes such as `_parameters` and `_modules`."""
    return instance(kind, {"training": True, "_parameters": {}, "_buffers": {}, "_modules": {}, **fields})
