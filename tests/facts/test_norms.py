from __future__ import annotations

import numpy as np
import pytest
from conftest import Facts
from models import ModelBuilder

from avreview.facts.norms import Norm, NormLayers


def norm(fact: Facts, model: ModelBuilder) -> Norm:
    (found,) = fact(model.output("y"), NormLayers).all
    return found  # type: ignore[no-any-return]


def group_norm(groups: int, *, reshaped_back: bool, affine: bool = True, cast: bool = False) -> ModelBuilder:
    """A GroupNorm of 16 channels as PyTorch's exporters write it: an InstanceNorm between reshapes, then its affine."""
    model = ModelBuilder(18).input("x", ["batch", 16, 8]).reshape(0, groups, -1)
    ones, zeros = (model.tensor(name, np.full(groups, value, np.float32)) for name, value in (("1", 1), ("0", 0)))
    model.op("InstanceNormalization", ones, zeros, module="gn", epsilon=1e-3)
    if reshaped_back:
        model.reshape(0, 16, 8)
    for op, name in (("Mul", "gn.weight"), ("Add", "gn.bias")) if affine else ():
        part = model.tensor(name, model.trained(16, 1))
        if cast:
            data = model.value
            part = model.node("CastLike", [part, data]).value
            model.at(data)
        model.op(op, part)
    return model


@pytest.mark.parametrize(
    ("groups", "reshaped_back", "cast"), [(4, True, False), (4, True, True), (16, True, False), (16, False, False)]
)
def test_a_group_norm_between_reshapes_keeps_its_affine_part(
    fact: Facts, groups: int, reshaped_back: bool, cast: bool
) -> None:
    """With a channel a group, optimizers leave the second reshape out."""
    found = norm(fact, group_norm(groups, reshaped_back=reshaped_back, cast=cast))
    assert (found.kind, found.groups, found.input, found.output) == ("GroupNorm", groups, "x", "y")
    assert found.gamma is not None
    assert found.beta is not None
    assert (found.gamma.name, found.beta.name) == ("gn.weight", "gn.bias")


def test_an_instance_norm_behind_a_reshape_is_no_group_norm(fact: Facts) -> None:
    found = norm(fact, group_norm(16, reshaped_back=False, affine=False).relu())
    assert (found.kind, found.groups) == ("InstanceNorm", None)
