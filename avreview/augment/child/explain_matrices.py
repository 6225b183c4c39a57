"""Saying in words what is wrong with a camera's matrices: which wrong product puts points where they are put.

Right is H · M · A⁻¹, with M the matrix of before, A what was done to the scene and H what was done to the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from avreview.augment.child.driving import World
from avreview.augment.child.hypotheses import hypotheses, parts_of
from avreview.augment.child.projection import Cameras, homogeneous, moved_pixels, project
from avreview.augment.child.similarity import Similarity

_FITS = 2.5  # px, in the median; the returned matrices may be as far off their own idea by rounding


class Guess(NamedTuple):
    words: str
    pixels: np.ndarray


def explain_matrices(
    world: World,
    camera: int,
    returned: Cameras,
    motion: Similarity,
    image: np.ndarray | None,
    places: np.ndarray,
    untouched: bool,
) -> str:
    """The words for one camera; `places` float[K, 3] of the returned scene, `image` float[3, 3] or None for a warp."""
    before = world.scene["lidar2img"][camera]
    known = np.isfinite(places).all(axis=1)
    if known.sum() < 3 or image is None:
        return ""
    places = places[known]
    shown, _ = returned.project(camera, places)
    stale = np.allclose(returned.matrices[camera], before, atol=1e-4)
    direct = returned.images is None and returned.undone is None
    name = "lidar2img" if direct or not stale else _deferred_name(returned)
    right = moved_pixels(image, project(before @ _inverse(motion.matrix), places)[0])
    if not direct and not stale and _median(project(returned.matrices[camera], places)[0], right) < _FITS:
        return f"lidar2img was changed, and {_deferred_name(returned)} given back as well: what happened is in both"
    ends = [
        _stale(name, motion, image, moved_pixels(np.eye(3), project(before, places)[0]), stale and direct),
        *_image_wrong(world, camera, name, image, project(before @ _inverse(motion.matrix), places)[0]),
        *_scene_wrong(before, name, motion, image, places),
        *_between_cameras(world, camera, motion, image, places),
    ]
    words = _fitting(ends, shown, right)
    if words:
        return words
    if untouched and motion.is_identity and not stale:
        return "the images were left untouched while lidar2img changed"
    return ""


def _deferred_name(returned: Cameras) -> str:
    if returned.images is not None and returned.undone is not None:
        return "what lidar_aug_matrix and img_aug_matrix say"
    return "lidar_aug_matrix" if returned.undone is not None else "img_aug_matrix"


def explain_pixels(world: World, camera: int, image: np.ndarray, before: np.ndarray, shown: np.ndarray) -> str:
    """The same for a matrix that only the image's transform concerns, as pixels of before and those that it gives."""
    right = moved_pixels(image, before)
    return _fitting(list(_image_wrong(world, camera, "", image, before)), shown, right).strip()


def _stale(name: str, motion: Similarity, image: np.ndarray, pixels: np.ndarray, as_before: bool) -> Guess:
    scene, picture = not motion.is_identity, not np.allclose(image, np.eye(3), atol=0.3)
    missing = " nor ".join(
        part for part, there in (("the scene's transform", scene), ("the image's transform", picture)) if there
    )
    lead = f"{name} is that of before" if as_before else f"{name} leads where it did before"
    return Guess(
        f"{lead}: {'neither ' if scene and picture else ''}{missing} is {'' if scene and picture else 'not '}in it",
        pixels,
    )


def _image_wrong(world: World, camera: int, name: str, image: np.ndarray, pixels: np.ndarray) -> Iterator[Guess]:
    """What was done to the image stands wrongly in the matrix; `pixels` are those before it."""
    centre = world.scene["intrinsics"][camera][:2, 2]
    linear, shift = image[:2, :2], image[:2, 2]
    done = "flipped" if np.linalg.det(linear) < 0 else "resized or turned"
    yield Guess(f"the image's transform is not in {name or 'them'}", pixels)
    if not np.allclose(linear, np.eye(2), atol=2e-3):
        fixed = (pixels - centre) @ linear.T + centre
        yield Guess(f"{name} was {done} without the principal point, which stayed where it was", fixed)
        moved = pixels - centre + moved_pixels(image, centre[None])[0]
        yield Guess(f"{name} has the principal point moved, and the focal lengths as before", moved)
        yield Guess(f"{name} lacks the image's shift (a crop's offset, or a flip's width)", pixels @ linear.T)
        yield Guess(f"{name} has the image's shift, and nothing else of its transform", pixels + shift)
        turned = np.linalg.inv(linear / np.sqrt(abs(np.linalg.det(linear))))
        size = np.sqrt(abs(np.linalg.det(linear)))
        wrong = size * turned
        middle = np.linalg.lstsq(np.eye(2) - linear, shift, rcond=None)[0]
        yield Guess(f"{name} has the image's rotation with its sign reversed", (pixels - middle) @ wrong.T + middle)
    inverse = np.linalg.pinv(image)
    turns = np.linalg.det(linear) > 0 and abs(np.linalg.det(linear) - 1) < 0.01 and abs(linear[0, 1]) > 0.01
    said = "rotation with its sign reversed" if turns else "transform inverted"
    yield Guess(f"{name} has the image's {said}", moved_pixels(inverse, pixels))
    yield Guess(f"{name} has the image's transform twice", moved_pixels(image @ image, pixels))
    if not np.allclose(shift, 0, atol=1.0):
        yield Guess(f"{name} has the crop's offset with its sign reversed", pixels @ linear.T - shift)


def _scene_wrong(
    before: np.ndarray, name: str, motion: Similarity, image: np.ndarray, places: np.ndarray
) -> Iterator[Guess]:
    """What was done to the scene stands wrongly in the matrix."""
    if motion.is_identity:
        return

    def through(matrix: np.ndarray) -> np.ndarray:
        return moved_pixels(image, project(matrix, places)[0])

    whole, back = motion.matrix, _inverse(motion.matrix)
    yield Guess(f"the scene's transform is not in {name}", through(before))
    if parts_of(motion) and parts_of(motion)[0].done == ["rotated"]:
        yield Guess(f"{name} has the scene's rotation with its sign reversed", through(before @ whole))
    yield Guess(f"{name} was multiplied by the transform instead of its inverse", through(before @ whole))
    if name == "lidar2img":
        for wrong, words in ((back, "the inverse transform"), (whole, "the transform")):
            yield Guess(f"lidar2img was multiplied on the wrong side, by {words}", through(wrong @ before))
            moved = homogeneous(places) @ (wrong @ _homography4(image) @ before).T
            yield Guess(f"lidar2img was multiplied on the wrong side, by {words}", _divided(moved))
    yield Guess(f"{name} has the scene's transform transposed", through(before @ _inverse(whole.T)))
    for guess in hypotheses(motion, of_points=True):
        wrong_motion = Similarity(guess.linear, guess.shift)
        words = f"in {name} the scene's transform {guess.words}"
        if "the rotation's sign" in words:
            words = f"{name} has the scene's rotation with its sign reversed"
        yield Guess(words, through(before @ _inverse(wrong_motion.matrix)))


def _between_cameras(
    world: World, camera: int, motion: Similarity, image: np.ndarray, places: np.ndarray
) -> Iterator[Guess]:
    """The scene's transform in the camera's axes: between the intrinsics and the extrinsics."""
    if motion.is_identity:
        return
    inner, outer = world.scene["intrinsics"][camera], world.extrinsics[camera]
    whole, back = motion.matrix, _inverse(motion.matrix)
    wrong = (
        (back, "the inverse transform"), (back.T, "the inverse transform, transposed"),
        (whole, "the transform"), (whole.T, "the transform, transposed"),
    )  # fmt: skip
    for matrix, words in wrong:
        said = f"the extrinsics (lidar2cam) were multiplied on the wrong side, by {words}"
        yield Guess(said, moved_pixels(image, project(inner @ matrix @ outer, places)[0]))


def _divided(through: np.ndarray) -> np.ndarray:
    depth = np.where(np.abs(through[:, 2]) < 1e-6, 1e-6, through[:, 2])
    return np.asarray(through[:, :2] / depth[:, None])


def _homography4(image: np.ndarray) -> np.ndarray:
    whole = np.eye(4)
    whole[:3, :3] = image
    return whole


def _inverse(matrix: np.ndarray) -> np.ndarray:
    return np.asarray(np.linalg.pinv(matrix))


def _fitting(guesses: list[Guess], shown: np.ndarray, right: np.ndarray) -> str:
    """The words of the guess that comes closest to what is shown, if that is close, and closer than what is right."""
    least, words = min(_FITS, _median(right, shown) / 2), ""
    for guess in guesses:
        off = _median(guess.pixels, shown)
        if off <= least and (not words or off < 0.7 * least - 0.05):
            least, words = off, guess.words
    return words


def _median(one: np.ndarray, other: np.ndarray) -> float:
    off = np.linalg.norm(np.clip(one, -1e6, 1e6) - np.clip(other, -1e6, 1e6), axis=1)
    return float(np.median(off)) if len(off) else np.inf
