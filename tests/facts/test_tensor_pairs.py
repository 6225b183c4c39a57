"""Pairing two sets of tensors, and comparing the tensors of a pair."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from checkpoints import Held, tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from avreview.artifact import Tensor
from avreview.facts.tensor_compare import compare
from avreview.facts.tensor_pairs import Pairing, pair, pair_names

Array = np.ndarray[Any, Any]


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def backbone(prefix: str = "", layers: int = 6) -> dict[str, Array]:
    """Convolutions of one shape each with a norm: only names tell them apart."""
    held: dict[str, Array] = {f"{prefix}conv1.weight": drawn(8, 3, 3, 3)}
    for number in range(layers):
        held[f"{prefix}layers.{number}.conv.weight"] = drawn(8, 8, 3, 3, seed=number)
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            held[f"{prefix}layers.{number}.bn.{leaf}"] = drawn(8, seed=number)
    return held


def names(pairing: Pairing) -> dict[str, str]:
    return {name: found.other for name, found in pairing.pairs.items()}


@pytest.mark.parametrize(("own", "base"), [("", ""), ("backbone.", ""), ("", "model.net."), ("backbone.", "encoder.")])
def test_a_prefix_on_either_side_changes_nothing(own: str, base: str) -> None:
    pairing = pair_names(tensors(backbone(own)), tensors(backbone(base)))
    assert names(pairing) == dict(zip(backbone(own), backbone(base), strict=True))
    assert not pairing.alone
    assert not pairing.missing
    assert {found.how for found in pairing.pairs.values()} == {"name" if own == base else "prefix"}
    assert {found.prefixes for found in pairing.pairs.values()} == {(own, base)}


def test_an_equal_name_does_not_outweigh_a_prefix_that_all_others_share() -> None:
    model = {"conv1.weight": drawn(8, 3, 3, 3, seed=9), **backbone("backbone.")}
    pairing = pair_names(tensors(model), tensors(backbone()))
    assert names(pairing) == dict(zip(backbone("backbone."), backbone(), strict=True))
    assert pairing.alone == ("conv1.weight",)


def test_a_changed_shape_is_told_and_not_paired() -> None:
    model = {**backbone("backbone."), "backbone.conv1.weight": drawn(8, 4, 3, 3)}
    pairing = pair_names(tensors(model), tensors(backbone()))
    assert pairing.reshaped == {"backbone.conv1.weight": "conv1.weight"}
    assert pairing.alone == ("backbone.conv1.weight",)
    assert pairing.missing == ("conv1.weight",)


def test_only_a_last_part_in_common_is_no_pair() -> None:
    pairing = pair_names(tensors({"lane.0.weight": drawn(8, 8)}), tensors({"fc.0.weight": drawn(8, 8)}))
    assert not pairing.pairs
    assert (pairing.alone, pairing.missing) == (("lane.0.weight",), ("fc.0.weight",))


def test_renamed_matrices_are_paired_by_values_and_what_stands_beside_them_with_them() -> None:
    base = {f"blocks.{n}.{leaf}": drawn(*shape, seed=n) for n in range(4) for leaf, shape in LINEAR.items()}
    order = [2, 0, 3, 1]
    model = {
        f"stage{place}.proj.{leaf}": base[f"blocks.{n}.{leaf}"] + 0.1 * drawn(*shape, seed=50 + n)
        for place, n in enumerate(order)
        for leaf, shape in LINEAR.items()
    }
    pairing = pair(tensors(model), tensors(base), 0.3)
    assert names(pairing) == {
        f"stage{place}.proj.{leaf}": f"blocks.{n}.{leaf}" for place, n in enumerate(order) for leaf in LINEAR
    }
    assert {found.how for found in pairing.pairs.values()} == {"values"}


LINEAR = {"weight": (16, 16), "bias": (16,)}


def test_unrelated_weights_are_not_paired_by_values() -> None:
    model = {f"a{n}.w": drawn(32, 32, seed=n) for n in range(20)}
    base = {f"b{n}.v": drawn(32, 32, seed=100 + n) for n in range(20)}
    assert not pair(tensors(model), tensors(base), 0.3).pairs


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab0."), max_size=6), max_size=8, unique=True), st.randoms())
def test_any_names_are_paired_one_to_one(keys: list[str], random: Any) -> None:
    others = list(keys)
    random.shuffle(others)
    left = tensors({key: drawn(2, 1 + len(key) % 2) for key in keys})
    right = tensors({key + random.choice(["", "a", ".b"]): drawn(2, 1 + len(key) % 2) for key in others})
    pairing = pair(left, right, 0.3)
    assert len(set(names(pairing).values())) == len(pairing.pairs)
    assert set(pairing.pairs) | set(pairing.alone) == set(left)
    assert set(names(pairing).values()) | set(pairing.missing) == set(right)
    assert all(left[own].shape == right[other].shape for own, other in names(pairing).items())


# Comparing


class Uneven(Held):
    """Storage that does not fill its chunks."""

    def chunks(self, elements: int) -> Any:
        yield from super().chunks(max(elements // 3, 1))


def both(left: Array, right: Array) -> tuple[Tensor, Tensor]:
    own = tensors({"a": left})["a"]
    return own, Tensor("b", right.shape, right.dtype.name, Uneven(right.reshape(-1)))


FLOATS = nps.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.integers(1, 40),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)


@settings(max_examples=100, deadline=None)
@given(FLOATS, st.data())
def test_a_comparison_says_what_numpy_says(left: Array, data: Any) -> None:
    right = data.draw(nps.arrays(np.float32, left.size, elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)))
    found = compare(*both(left, right))
    a, b = left.astype(np.float32).astype(float), right.astype(float)
    gap, largest = abs(a - b).max(), abs(b).max()
    assert found.changed == np.count_nonzero(a != b)
    assert found.difference == pytest.approx(gap / largest if largest else (math.inf if gap else 0.0))
    if a.any() and b.any():
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert found.cosine == pytest.approx(cosine, abs=1e-9)
    if b.any():
        assert found.distance == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(b), rel=1e-6, abs=1e-7)


def test_a_long_tensor_is_compared_to_its_end() -> None:
    left = drawn(300_001)
    right = left.copy()
    right[-1] += 1
    found = compare(*both(left, right))
    assert (found.changed, found.elements) == (1, 300_001)
    assert found.difference == pytest.approx(1 / abs(right).max(), rel=1e-5)


@pytest.mark.parametrize("narrow", ["float16", "bfloat16"])
def test_rounding_to_a_narrower_format_is_no_change(narrow: str) -> None:
    import ml_dtypes

    kind = np.dtype(getattr(ml_dtypes, narrow, narrow))
    whole = drawn(1000)
    assert compare(*both(whole.astype(kind), whole)).changed == 0
    assert compare(*both(whole, whole.astype(kind))).changed == 0
    assert compare(*both((whole * 1.1).astype(kind), whole)).difference > 0.01


CASES: Mapping[str, tuple[list[float], list[float], int, float]] = {
    "NaN in the same place": ([math.nan, 1.0], [math.nan, 1.0], 0, 0.0),
    "NaN in one": ([math.nan, 1.0], [1.0, 1.0], 1, math.inf),
    "the same infinity": ([math.inf, 1.0], [math.inf, 1.0], 0, 0.0),
    "another infinity": ([math.inf, 1.0], [-math.inf, 1.0], 1, math.inf),
    "all zero": ([0.0, 0.0], [0.0, 0.0], 0, 0.0),
    "against zero": ([1.0, 0.0], [0.0, 0.0], 1, math.inf),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_finite_is_compared_as_well(case: str) -> None:
    left, right, changed, difference = CASES[case]
    found = compare(*both(np.array(left, np.float32), np.array(right, np.float32)))
    assert (found.changed, found.difference) == (changed, difference)
