"""Markers are found again after whatever an augmentation does to an image, and never taken for one another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.augment.child.blobs import blobs
from avreview.augment.child.markers import LENGTHS, codes, drawn, found, images_needed, sightings
from avreview.augment.child.warps import mapped, warp_of

SIZE = (240, 320)
U, V = np.meshgrid(np.arange(24, 300, 34.0), np.arange(24, 220, 32.0))
PLACES = np.stack([U.ravel(), V.ravel()], axis=1) + np.random.default_rng(0).uniform(-2, 2, (U.size, 2))
IMAGE = np.clip(np.random.default_rng(1).normal(120, 30, (*SIZE, 3)), 0, 255).astype(np.uint8)
CODED = drawn(IMAGE, PLACES)


def shrunk(image: np.ndarray, factor: int) -> np.ndarray:
    height, width = image.shape[0] // factor, image.shape[1] // factor
    cut = image[: height * factor, : width * factor].astype(float)
    small: np.ndarray = cut.reshape(height, factor, width, factor, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    return small


def blurred(image: np.ndarray, steps: int = 4) -> np.ndarray:
    soft = image.astype(float)
    for _ in range(steps):
        soft = (soft + np.roll(soft, 1, 0) + np.roll(soft, -1, 0) + np.roll(soft, 1, 1) + np.roll(soft, -1, 1)) / 5
    rounded: np.ndarray = soft.round().astype(np.uint8)
    return rounded


def noisy(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(2).normal(0, 30, image.shape)
    result: np.ndarray = np.clip(image + noise, 0, 255).astype(np.uint8)
    return result


def blocks(image: np.ndarray) -> np.ndarray:
    """As coarse as JPEG of low quality: blocks of 8 × 8 keep their few lowest frequencies, in steps."""
    wave = np.cos(np.pi * (2 * np.arange(8)[None] + 1) * np.arange(8)[:, None] / 16) * 0.5
    wave[0] /= np.sqrt(2)
    parts = image.astype(float).reshape(SIZE[0] // 8, 8, SIZE[1] // 8, 8, 3)
    spectrum = np.einsum("ia,jb,yaxbc->yixjc", wave, wave, parts)
    spectrum = np.round(spectrum / 60) * 60
    back = np.einsum("ia,jb,yixjc->yaxbc", wave, wave, spectrum)
    result: np.ndarray = np.clip(back.reshape(image.shape), 0, 255).astype(np.uint8)
    return result


LOOKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda image: image,
    "dark": lambda image: (image * 0.2).astype(np.uint8),
    "bright": lambda image: np.clip(image.astype(int) + 110, 0, 255).astype(np.uint8),
    "low contrast": lambda image: (128 + (image - 128.0) * 0.25).astype(np.uint8),
    "inverted": lambda image: 255 - image,
    "solarized": lambda image: np.where(image >= 128, 255 - image, image),
    "one bit": lambda image: image & 128,
    "grey": lambda image: image.mean(axis=2, keepdims=True).astype(np.uint8),
    "grey without an axis": lambda image: image.mean(axis=2),
    "one channel left": lambda image: image * np.array([0, 1, 0], dtype=np.uint8),
    "normalized": lambda image: ((image / 255.0 - 0.45) / 0.22).astype(np.float32),
    "noisy": noisy,
    "blurred": blurred,
    "blocks": blocks,
}


@pytest.mark.parametrize("look", LOOKS)
def test_found_whatever_the_image_looks_like(look: str) -> None:
    places = found([LOOKS[look](image) for image in CODED], len(PLACES))

    assert np.isfinite(places).all()
    assert np.abs(places - PLACES).max() < 0.7


@pytest.mark.parametrize(
    ("resized", "scale"),
    [
        (lambda image: shrunk(image, 2), 0.5),
        (lambda image: shrunk(image, 4), 0.25),
        (lambda image: image[::4, ::4], 0.25),
        (lambda image: image.repeat(4, axis=0).repeat(4, axis=1), 4.0),
    ],
    ids=["half", "a quarter", "every fourth pixel", "four times"],
)
def test_found_in_other_sizes(resized: Callable[[np.ndarray], np.ndarray], scale: float) -> None:
    results = [resized(image) for image in CODED]
    places = found(results, len(PLACES))
    taken = np.array_equal(results[0], CODED[0][::4, ::4])
    expected = PLACES * scale if taken else (PLACES + 0.5) * scale - 0.5

    assert np.isfinite(places).all(axis=1).mean() > 0.9
    assert np.nanmax(np.abs(places - expected)) < 0.4 * max(1.0, scale)


def test_a_mirror_keeps_identities() -> None:
    places = found([image[:, ::-1] for image in CODED], len(PLACES))

    assert np.abs(places - np.stack([SIZE[1] - 1 - PLACES[:, 0], PLACES[:, 1]], axis=1)).max() < 0.2


def test_what_is_cropped_or_erased_is_not_found() -> None:
    erased = [image.copy() for image in CODED]
    for image in erased:
        image[:, 120:200] = 90
    places = found([image[40:] for image in erased], len(PLACES))
    gone = (PLACES[:, 1] < 47) | ((PLACES[:, 0] > 112) & (PLACES[:, 0] < 208))
    clear = (PLACES[:, 1] > 49) & ((PLACES[:, 0] < 110) | (PLACES[:, 0] > 210))

    assert np.isnan(places[gone & (np.abs(PLACES[:, 0] - 160) < 30)]).all()
    assert np.isfinite(places[clear]).all()
    assert (
        np.nanmax(np.abs(places - (PLACES - (0, 40)))) < 2.5
    )  # one that was cut in part is nearly whole, or not found


def test_one_seen_twice_is_not_found_but_both_sightings_are_told() -> None:
    wide = [np.concatenate([image, image[:, ::-1]], axis=1) for image in CODED]

    assert np.isnan(found(wide, len(PLACES))).all()
    assert len(sightings(wide, len(PLACES)).marker) == 2 * len(PLACES)


def test_an_unmarked_image_and_noise_show_none() -> None:
    random = np.random.default_rng(5)
    fresh = [random.integers(0, 255, IMAGE.shape).astype(np.uint8) for _ in CODED]

    assert np.isnan(found([IMAGE] * len(CODED), len(PLACES))).all()
    assert np.isnan(found(fresh, len(PLACES))).all()
    assert np.isnan(found([IMAGE[:0]] * len(CODED), len(PLACES))).all()
    assert np.isnan(found(CODED[1:], len(PLACES))).all()


@pytest.mark.parametrize("count", [1, 15, 16, 56, 200, 792])
def test_every_code_is_apart_from_every_other_and_from_its_inverse(count: int) -> None:
    table = codes(count)

    assert table.shape == (count, images_needed(count))
    assert len({row.tobytes() for row in table}) == count
    known = {row.tobytes() for row in table} | {(~row).tobytes() for row in table}
    for row in table[:40]:
        for bit in range(len(row)):
            wrong = row.copy()
            wrong[bit] ^= True
            assert wrong.tobytes() not in known


def test_too_many_markers_are_refused() -> None:
    with pytest.raises(ValueError, match="792"):
        codes(LENGTHS[-1][0] + 1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, len(CODED) - 1), st.integers(0, len(PLACES) - 1))
def test_a_marker_with_one_wrong_bit_is_lost_and_never_another(bit: int, marker: int) -> None:
    broken = [image.copy() for image in CODED]
    u, v = np.rint(PLACES[marker]).astype(int)
    patch = broken[bit][v - 9 : v + 10, u - 9 : u + 10]
    light = codes(len(PLACES))[marker]
    other = CODED[int(np.flatnonzero(light != light[bit])[0])]
    patch[:] = other[v - 9 : v + 10, u - 9 : u + 10]
    places = found(broken, len(PLACES))

    assert np.isnan(places[marker]).all()
    assert np.isfinite(np.delete(places, marker, axis=0)).all()
    assert np.abs(np.delete(places - PLACES, marker, axis=0)).max() < 0.2


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-np.pi, np.pi),
    st.floats(0.6, 1.6),
    st.booleans(),
    st.tuples(st.floats(-60, 60), st.floats(-60, 60)),
    st.floats(-4e-4, 4e-4),
)
def test_the_map_is_found_from_sightings(
    turn: float, scale: float, mirror: bool, shift: tuple[float, float], perspective: float
) -> None:
    middle = np.array([[1.0, 0, SIZE[1] / 2], [0, 1, SIZE[0] / 2], [0, 0, 1]])
    matrix = np.array(
        [
            [scale * np.cos(turn) * (-1 if mirror else 1), -scale * np.sin(turn), shift[0]],
            [scale * np.sin(turn) * (-1 if mirror else 1), scale * np.cos(turn), shift[1]],
            [perspective, 0, 1],
        ]
    )
    matrix = middle @ matrix @ np.linalg.inv(middle)
    moved = mapped(matrix, PLACES) + np.random.default_rng(3).normal(0, 0.05, PLACES.shape)
    numbers = np.arange(len(PLACES))
    mirrored = moved[:12] + np.array([200, 0])  # a border filled by reflection
    seen = sightings(CODED, len(PLACES))._replace(
        marker=np.concatenate([numbers, numbers[:12]]),
        centre=np.concatenate([moved, mirrored]),
        area=np.full(len(PLACES) + 12, 150.0),
    )
    warp = warp_of(PLACES, seen)

    assert warp is not None
    assert np.abs(warp(PLACES) - mapped(matrix, PLACES)).max() < 0.6
    assert warp.mirrors == mirror


@pytest.mark.parametrize("wave", [1.0, 4.0])
def test_an_uneven_warp_has_no_map(wave: float) -> None:
    moved = PLACES + wave * np.sin(PLACES[:, ::-1] / 25)
    seen = sightings(CODED, len(PLACES))

    assert warp_of(PLACES, seen._replace(centre=moved[seen.marker])) is None
    assert warp_of(PLACES, seen) is not None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.1, 0.7))
def test_blobs_are_what_a_flood_fill_finds(seed: int, density: float) -> None:
    inside = np.random.default_rng(seed).random((13, 17)) < density
    group = blobs(inside)
    labels = np.full(inside.size, -1)
    labels[group.pixels] = group.labels
    table: np.ndarray = labels.reshape(inside.shape[0], inside.shape[1])

    assert (table >= 0).tolist() == inside.tolist()
    assert group.many == _flooded(inside)
    for rows, columns in ((0, 1), (1, 0), (1, 1), (1, -1)):
        one = table[: 13 - rows, max(0, -columns) : 17 - max(0, columns)]
        other = table[rows:, max(0, columns) : 17 + min(0, columns)]
        both = (one >= 0) & (other >= 0)
        assert (one[both] == other[both]).all()


def _flooded(inside: np.ndarray) -> int:
    left = {(int(v), int(u)) for v, u in np.argwhere(inside)}
    count = 0
    while left:
        count += 1
        open_ = [left.pop()]
        while open_:
            v, u = open_.pop()
            near = {(v + dv, u + du) for dv in (-1, 0, 1) for du in (-1, 0, 1)} & left
            left -= near
            open_ += near
    return count
