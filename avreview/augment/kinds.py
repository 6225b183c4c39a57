"""The measures by name: which rule and threshold judge each, in which unit it is, and how a person says it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """One measure. `title` is its name for a person, `unit` one of those that `amount` knows.

    `limit` is the threshold's name on the card of `rule`; empty where nothing but 0 will do. `parts` are what the
    measure compares, the part that is judged first. In `says` the value stands at `{value}`, and at `{at}` the object,
    point or frame. `least` is true where a small value is bad.
    """

    title: str
    rule: str
    limit: str
    unit: str
    parts: tuple[str, ...]
    says: str
    least: bool = False


_LEAST = 0.001  # what is smaller is said to be so: nothing is judged that finely
KINDS: Mapping[str, Kind] = {
    "in_box": Kind(
        "points in box", "AV801", "min_in_box", "share", ("boxes", "points"),
        "{value} of the points of {at} lie in its box", least=True),
    "centre": Kind(
        "box centre", "AV801", "max_centre_error", "m", ("boxes", "points"),
        "the box centre of {at} is {value} from where its points put it"),
    "dims": Kind(
        "box size", "AV801", "max_dims_error", "relative", ("boxes", "points"),
        "the box size of {at} is {value} off what its points show"),
    "yaw": Kind(
        "box yaw", "AV801", "max_yaw_error", "degrees", ("boxes", "points"),
        "the box yaw of {at} is {value} off what its points show"),
    "reprojection": Kind(
        "reprojection", "AV801", "max_reprojection_error", "px", ("matrices", "points", "images"),
        "{at} shows a point {value} from where the returned matrices put it"),
    "iou_2d": Kind(
        "2-D box", "AV801", "min_iou_2d", "overlap", ("boxes", "images"),
        "the 2-D box of {at} and what the image shows of it overlap by {value}", least=True),
    "mask": Kind(
        "mask", "AV801", "min_iou_2d", "overlap", ("masks", "images"),
        "the mask of {at} and what the image shows of it overlap by {value}", least=True),
    "keypoint": Kind(
        "keypoint", "AV801", "max_reprojection_error", "px", ("keypoints", "images"),
        "{at} is {value} from its marker in the image"),
    "map": Kind(
        "map", "AV801", "max_map_error", "cells", ("map", "points"),
        "a feature of the map ({at}) is {value} from where the transform of the scene puts it"),
    "repeats": Kind(
        "repeatability", "AV810", "max_difference", "number", ("repeats",),
        "two runs under one seed differ by {value} in {at}"),
    "visible": Kind(
        "still visible", "AV811", "min_visible_share", "share", ("boxes",),
        "a box is left of which {value} can still be seen: {at}", least=True),
    "velocity": Kind(
        "velocity", "AV901", "max_velocity_error", "m/s", ("velocities", "sweeps"),
        "the velocity label of {at} is {value} off what its sweeps show"),
    "heading": Kind(
        "heading", "AV901", "max_heading_error", "degrees", ("velocities", "boxes"),
        "{at}, which drives straight on, has its velocity label {value} off its heading"),
    "time": Kind(
        "time channel", "AV902", "max_velocity_relative", "relative", ("times", "sweeps"),
        "the time channel at {at} is {value} off the distance driven"),
    "tracks": Kind(
        "track ids", "AV903", "", "identities", ("track ids",),
        "{value} changed, doubled or moved to another object in {at}"),
    "sequence": Kind(
        "motion over frames", "AV907", "max_sequence_error", "m/s", ("times", "frames"),
        "the velocity label is {value} off the motion from frame to frame of {at}"),
    "ego": Kind(
        "ego poses", "AV908", "max_pose_error", "m", ("poses", "points"),
        "the poses of {at} put the same standing point {value} apart"),
}  # fmt: skip


def amount(value: float, unit: str) -> str:
    """A value with its unit: `27.3 m`, `12.5°`, `9.8 %`, `2 identities`."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "no number"
    if unit in ("share", "relative"):
        return f"{_short(100 * value)} %"
    if unit == "degrees":
        return f"{_short(value)}°"
    if unit == "identities":
        return f"{value:g} {'identity' if value == 1 else 'identities'}"
    return _short(value) if unit in ("number", "overlap") else f"{_short(value)} {unit}"


def accepted(limit: float, kind: Kind) -> str:
    """`at most 0.05 m`, `at least 98 %`, `none`."""
    if not limit and not kind.least:
        return "none"
    return f"{'at least' if kind.least else 'at most'} {amount(limit, kind.unit)}"


def _short(value: float) -> str:
    """Three significant digits, and no exponent for what a person reads at once."""
    if 0 < abs(value) < _LEAST:
        return f"under {_LEAST}"
    return f"{value:.0f}" if 100 <= abs(value) < 1e6 else f"{value:.3g}"
