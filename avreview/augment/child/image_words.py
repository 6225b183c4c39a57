"""Why 2-D labels are off, in words: the slip that would put them where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from avreview.augment.child.image_labels import FINE, NEAR, Box, Keypoint, Mask, exchanged
from avreview.augment.child.image_scenes import box_of
from avreview.augment.child.image_truth import Truth, around, corners, overlap
from avreview.augment.child.warps import mapped

FITS = 0.8  # overlap with what a slip would give
MOST = 0.6  # the share of the labels that are off which one slip has to explain

Formats = dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]]
# To and from x1 y1 x2 y2.
FORMATS: Formats = {
    "xywh": (
        lambda b: np.concatenate([b[..., :2], b[..., 2:] - b[..., :2]], axis=-1),
        lambda b: np.concatenate([b[..., :2], b[..., :2] + b[..., 2:]], axis=-1),
    ),
    "cxcywh": (
        lambda b: np.concatenate([(b[..., :2] + b[..., 2:]) / 2, b[..., 2:] - b[..., :2]], axis=-1),
        lambda b: np.concatenate([b[..., :2] - b[..., 2:] / 2, b[..., :2] + b[..., 2:] / 2], axis=-1),
    ),
}


def slips(truth: Truth, what: str) -> Iterator[tuple[str, np.ndarray]]:
    """Words, and the map that labels went through if they hold, on pixel edges; the likeliest first."""
    assert truth.warp is not None
    edges = _shift(0.5, 0.5) @ truth.warp.matrix @ _shift(-0.5, -0.5)
    height, width = truth.scene["images"][0].shape[:2]
    if not np.allclose(mapped(edges, around_image(width, height)), around_image(width, height), atol=2):
        yield _left(truth, what, edges), np.eye(3)
    yield from _mirrored(truth, what, edges, (width, height))
    yield from _resized(truth, what, edges, (width, height))
    yield from _turned(truth, what, edges, (width, height))
    yield from _shifted(truth, what, edges)


def around_image(width: float, height: float) -> np.ndarray:
    return corners(np.array([0, 0, width, height], dtype=np.float64))


def _left(truth: Truth, what: str, edges: np.ndarray) -> str:
    """What is said of labels that did not change at all, by what happened to the image."""
    linear, shift = edges[:2, :2], edges[:2, 2]
    signs = linear / max(np.abs(linear).max(), 1e-9)
    upright = not truth.warp.turns and abs(signs[0, 1]) < 0.01  # type: ignore[union-attr]
    size = np.abs(np.diag(linear))
    if not upright:
        return f"{what} were not rotated"
    if np.abs(size - 1).max() < 0.02:
        mirrored = bool((np.diag(linear) < 0).any())
        return f"{what} were not flipped" if mirrored else f"{what} were not shifted with the crop or padding"
    if (np.diag(linear) < 0).any():
        return f"{what} were left as they were, though the image was flipped and resized"
    if np.abs(shift).max() < 2:
        return f"{what} belong to the image before resizing"
    return f"{what} belong to the image before cropping and resizing"


def _mirrored(truth: Truth, what: str, edges: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[str, np.ndarray]]:
    height, width = truth.size
    flips = (("x", (-1, 1)), ("y", (1, -1)))
    mirrors = np.linalg.det(edges[:2, :2]) < 0
    for axis, signs in flips:
        words = f"{what} were not flipped" if mirrors else f"{what} were flipped in {axis}, which the image was not"
        yield words, _flip(signs, width, height) @ edges
        yield words, edges @ _flip(signs, *size)
    both = f"{what} were flipped in the other direction" if mirrors else f"{what} were not turned by 180°"
    yield both, _flip((-1, -1), width, height) @ edges
    yield both, edges @ _flip((-1, -1), *size)


def _resized(truth: Truth, what: str, edges: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[str, np.ndarray]]:
    own = truth.warp.scale  # type: ignore[union-attr]
    ratio = (truth.size[1] / size[0], truth.size[0] / size[1])
    across, down = np.linalg.norm(edges[:2, :2], axis=0)
    taller = (truth.size[1] / across) / (truth.size[0] / down)  # of what the image shows, as in the original
    if abs(taller - 1) > 0.02:
        words = f"{what} were resized with width and height exchanged"
        yield words, np.diag([taller, 1 / taller, 1.0]) @ edges
    for scale in (ratio, (float(across), float(down)), (own, own)):
        if max(abs(scale[0] - 1), abs(scale[1] - 1)) > 0.02:
            resize = np.diag([*scale, 1.0])
            yield f"{what} belong to the image before resizing", np.linalg.inv(resize) @ edges
            yield f"{what} belong to the image before resizing", edges @ np.linalg.inv(resize)
            yield f"{what} were resized twice", resize @ edges
            yield (
                f"{what} were resized with width and height exchanged",
                (np.diag([scale[1] / scale[0], scale[0] / scale[1], 1.0]) @ edges),
            )


def _turned(truth: Truth, what: str, edges: np.ndarray, size: tuple[int, int]) -> Iterator[tuple[str, np.ndarray]]:
    linear = edges[:2, :2] @ np.diag([np.sign(np.linalg.det(edges[:2, :2])), 1.0])  # mirrored in x first
    left, _, right = np.linalg.svd(linear)
    turn = np.eye(3)
    turn[:2, :2] = left @ right  # the rotation nearest to it
    if abs(turn[0, 1]) < 0.004 and turn[0, 0] > 0:
        return
    back = np.linalg.inv(turn)
    for width, height in ((truth.size[1], truth.size[0]), size):
        there, home = _shift(width / 2, height / 2), _shift(-width / 2, -height / 2)
        yield f"{what} were rotated the other way", there @ back @ back @ home @ edges
        yield f"{what} were not rotated", there @ back @ home @ edges
    yield f"{what} were rotated about the corner and not about the middle", _about_corner(turn, edges)
    yield f"{what} were rotated the other way about the corner", _about_corner(back, edges)


def _about_corner(turn: np.ndarray, edges: np.ndarray) -> np.ndarray:
    matrix: np.ndarray = turn.copy()
    matrix[:2, :2] *= np.sqrt(abs(np.linalg.det(edges[:2, :2])))
    return matrix


def _shifted(truth: Truth, what: str, edges: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    height, width = truth.size
    for flip in (np.eye(3), _flip((-1, 1), width, height), _flip((1, -1), width, height)):
        base = flip @ edges
        if np.abs(base[:2, 2]).max() < 2:
            continue
        unmoved, opposite = base.copy(), base.copy()
        unmoved[:2, 2] = 0
        opposite[:2, 2] *= -1
        yield f"{what} were not shifted with the crop or padding", flip @ unmoved
        yield f"{what} were shifted the wrong way", flip @ opposite


def _shift(u: float, v: float) -> np.ndarray:
    return np.array([[1.0, 0, u], [0, 1, v], [0, 0, 1]])


def _flip(signs: tuple[int, int], width: float, height: float) -> np.ndarray:
    u, v = (size if sign < 0 else 0 for sign, size in zip(signs, (width, height), strict=True))
    return np.array([[signs[0], 0, u], [0, signs[1], v], [0, 0, 1.0]])


def box_words(truth: Truth, boxes: Sequence[Box]) -> str:
    """What explains the boxes that are off."""
    off = [box for box in boxes if box.right is not None and box.overlap < FINE]
    if not off or truth.warp is None:
        return ""
    before = np.asarray(truth.scene["boxes2d"], dtype=np.float64)
    raw, things = np.stack([box.raw for box in off]), [box.thing for box in off]
    right = np.stack([around(truth.place(corners(box))) for box in before])
    for words in (_format_words(truth, raw, right[things]), _order_words(truth, raw, right, things)):
        if words:
            return words
    for words, matrix in slips(truth, "boxes"):
        moved = np.stack([around(mapped(matrix, corners(before[thing]))) for thing in things])
        if _fit(truth, raw, moved):
            return words
    return _mistaken(truth, raw, before[things]) or ""


def _fit(truth: Truth, raw: np.ndarray, guess: np.ndarray) -> bool:
    """Whether a guess explains most of the boxes, as they are or cut at the border."""
    fits = [
        max(overlap(one, other), overlap(truth.clipped(one), truth.clipped(other)) * (_area(truth.clipped(one)) > 4))
        for one, other in zip(raw, guess, strict=True)
    ]
    return float(np.mean(np.asarray(fits) >= FITS)) >= MOST


def _area(box: np.ndarray) -> float:
    return float(np.prod(np.maximum(box[2:] - box[:2], 0)))


def _format_words(truth: Truth, raw: np.ndarray, right: np.ndarray) -> str:
    height, width = truth.size
    cut = np.stack([truth.clipped(box) for box in right])
    size = np.array([width, height, width, height])
    for guess in (right, cut):
        if _close(raw * size, guess):
            return "normalized coordinates: boxes came back in shares of the image and not in pixels"
        for name, (encode, _) in FORMATS.items():
            if _close(raw, encode(guess)):
                return f"box in another format ({name} for xyxy)"
            if _close(raw * size, encode(guess)):
                return f"normalized coordinates, in another format ({name} for xyxy)"
        if _close(raw, guess[:, [1, 0, 3, 2]]):
            return "x and y exchanged"
    return ""


def _close(raw: np.ndarray, guess: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):
        return float(np.mean(np.abs(raw - guess).max(axis=1) <= 3)) >= MOST


def _order_words(truth: Truth, raw: np.ndarray, right: np.ndarray, things: Sequence[int]) -> str:
    moved = [
        any(overlap(truth.clipped(box), truth.clipped(other)) >= FITS for at, other in enumerate(right) if at != thing)
        for box, thing in zip(raw, things, strict=True)
    ]
    return "labels lost their order: ids moved to another object" if np.mean(moved) >= MOST else ""


def _mistaken(truth: Truth, raw: np.ndarray, before: np.ndarray) -> str:
    """Boxes that were taken for another format on the way, or whose x and y were."""
    for name, (encode, decode) in FORMATS.items():
        moved = np.stack([around(truth.place(corners(box))) for box in decode(before)])
        if _close(raw, encode(moved)):
            return f"box in another format (taken for {name}, which xyxy is not)"
    moved = np.stack([around(truth.place(corners(box))) for box in before[:, [1, 0, 3, 2]]])
    return "x and y exchanged" if _close(raw, moved[:, [1, 0, 3, 2]]) or _close(raw, moved) else ""


def mask_words(truth: Truth, masks: Sequence[Mask]) -> str:
    """What explains the masks that are off."""
    off = [mask for mask in masks if mask.overlap < FINE]
    if not off or truth.warp is None:
        return ""
    if np.mean([mask.soft > 0 for mask in off]) >= MOST:
        return "mask was interpolated: it has values between inside and outside"
    before = np.asarray(truth.scene["boxes2d"], dtype=np.float64)
    raw = np.stack([box_of(mask.inside) for mask in off])
    right = np.stack([around(truth.place(corners(box))) for box in before])
    for words, matrix in slips(truth, "masks"):
        if _fit(truth, raw, np.stack([around(mapped(matrix, corners(before[mask.thing]))) for mask in off])):
            return words
    return _order_words(truth, raw, right, [mask.thing for mask in off]).replace("labels", "masks").split(":")[0]


def keypoint_words(truth: Truth, points: Sequence[Keypoint]) -> str:
    """What explains the keypoints that are off."""
    off = [point for point in points if point.apart > NEAR]
    if not off or truth.warp is None:
        return ""
    before = np.asarray(truth.scene["keypoints"], dtype=np.float64)
    given, numbers = np.stack([point.given for point in off]), [point.number for point in off]
    right = truth.warp(before)
    height, width = truth.size
    if _at(given * (width, height), right[numbers]):
        return "normalized coordinates: keypoints came back in shares of the image and not in pixels"
    if _at(given[:, ::-1], right[numbers]) or _at(given, truth.warp(before[:, ::-1])[numbers]):
        return "x and y exchanged"
    if _at(given, right[exchanged(len(before))][numbers]):
        return "left and right keypoints were exchanged, though the image was not mirrored"
    for words, matrix in slips(truth, "keypoints"):
        for order in (np.arange(len(before)), exchanged(len(before))):
            if _at(given, (mapped(matrix, before + 0.5) - 0.5)[order][numbers]):
                return words
    apart = np.hypot(*(given[:, None] - right[None]).transpose(2, 0, 1)).min(axis=1)
    return "labels lost their order: keypoints moved to another place" if np.mean(apart <= 3) >= MOST else ""


def _at(given: np.ndarray, guess: np.ndarray) -> bool:
    with np.errstate(invalid="ignore"):
        return float(np.mean(np.hypot(*(given - guess).T) <= 3)) >= MOST
