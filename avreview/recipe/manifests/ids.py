"""What an entry of a split's list names: the frame, the file, the scene, the sequence, the log, the route.

A kind of id is one of KINDS. Ids are compared with ids of their own kind alone.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import NamedTuple

# From what is shared with the most certain harm to what is shared with the least.
_FRAME, _FILE, _SCENE, _SCENE_TOKEN, _SEQUENCE = "frame", "file", "scene", "scene-token", "sequence"
_DRIVE, _LOG, _LOG_TOKEN, _ROUTE = "drive", "log", "log-token", "route"
FOLDER = "folder"  # of numbered frames: a recording, as a rule
NUMBER = "number"  # a short number that may be counted anew in each list
KINDS = (_FRAME, _FILE, _SCENE, _SCENE_TOKEN, _SEQUENCE, _DRIVE, _LOG, _LOG_TOKEN, _ROUTE, FOLDER, NUMBER)
PATH = "path"  # of a field: what is looked into for names of all kinds

# Names of fields, in lower case with underscores, and what they hold.
FIELDS = {
    **dict.fromkeys(("sample_token", "frame_token", "lidar_token", "sample_data_token", "token", "frame_id"), _FRAME),
    **dict.fromkeys(("frame_name", "sample_id", "sample_idx", "image_idx", "image_id", "lidar_idx"), _FRAME),
    **dict.fromkeys(("scene", "scene_name", "scene_id", "segment", "segment_name", "segment_id"), _SCENE),
    **dict.fromkeys(("context_name", "clip", "clip_id", "clip_name", "snippet", "snippet_id"), _SCENE),
    **dict.fromkeys(("scenario", "scenario_id"), _SCENE),
    "scene_token": _SCENE_TOKEN,
    **dict.fromkeys(("sequence", "sequence_id", "sequence_name", "seq", "seq_id", "seq_name"), _SEQUENCE),
    **dict.fromkeys(("video", "video_id", "video_name", "lidar_sequence", "sequence_idx"), _SEQUENCE),
    **dict.fromkeys(("drive", "drive_id", "drive_name", "trip", "trip_id", "run", "run_id", "ride", "ride_id"), _DRIVE),
    **dict.fromkeys(("session", "session_id", "recording", "recording_id", "recording_name"), _DRIVE),
    **dict.fromkeys(("bag", "bag_name", "bag_file", "rosbag", "mcap"), _DRIVE),
    **dict.fromkeys(("log", "log_id", "log_name", "logfile", "log_file"), _LOG),
    "log_token": _LOG_TOKEN,
    **dict.fromkeys(("route", "route_id", "route_name", "road_id", "street", "street_id"), _ROUTE),
    **dict.fromkeys(("file_name", "filename", "file", "path", "file_path", "filepath", "image", "img", "name"), PATH),
    **dict.fromkeys(("image_path", "img_path", "image_file", "lidar_path", "pts_path", "point_cloud_path"), PATH),
    **dict.fromkeys(("velodyne_path", "lidar", "pointcloud", "point_cloud", "data_path", "cam_path", "pcd"), PATH),
    **dict.fromkeys(("images", "im_file", "points_path", "lidar_points_path"), PATH),
}  # fmt: skip
# Fields whose records are looked into as well.
NESTED = frozenset(
    {"lidar_points", "images", "image", "point_cloud", "lidar_infos", "cams", "img_info", "info", "metadata", "meta"}
)
# Names that say by themselves what they are of, wherever they stand in a path.
_TELLING = re.compile(
    r"(?P<log>n\d{3}-\d{4}(?:-\d\d){5}[+-]\d{4}"  # nuScenes: vehicle and local time
    r"|\d{4}(?:\.\d\d){5}_veh-\d+(?:_\d+)*"  # nuPlan
    r"|(?<![\d-])\d{4}[-_]\d\d[-_]\d\d[-_T]\d\d[-_]\d\d[-_]\d\d(?!\d))"  # rosbag
    r"|(?P<drive>(?<!\d)\d{4}_\d\d_\d\d_drive_\d{4}(?!\d))"  # KITTI
    r"|(?P<scene>(?<![A-Za-z])scene-\d{4}(?!\d)"  # nuScenes
    r"|(?<!\d)\d{15,20}_\d{1,4}_\d{3}_\d{1,4}_\d{3}(?!\d))"  # Waymo
)
_DAY_AND_TIME = re.compile(r"\d{8}_\d{6}")  # A2D2: a whole part of the path
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)  # Argoverse
_TOKEN = re.compile(r"[0-9a-f]{24,64}", re.IGNORECASE)
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"[1-9]\d{11}")  # 12 digits and more, without leading zeros
_ENDING = re.compile(r"\.(?:pcd\.bin|[A-Za-z][A-Za-z0-9]{0,8})$")
_COUNTER = re.compile(r"(?:[A-Za-z]{0,12}[_-]?)?\d+$")  # a frame's number, perhaps behind a word
# Words of folders that say what is in them, and not where or when it was recorded.
_GENERIC = frozenset(
    {
        "train", "val", "valid", "test", "training", "validation", "testing", "data", "dataset", "datasets",
        "image", "images", "img", "imgs", "rgb", "cam", "camera", "velodyne", "lidar", "point", "points",
        "pointcloud", "pointclouds", "label", "labels", "left", "right", "front", "rear", "back", "bin", "pcd",
        "raw", "sync", "sweep", "sweeps", "sample", "samples", "depth", "gt", "ann", "annotation",
        "annotations", "v", "part", "set", "split", "batch", "version", "kitti", "coco", "object", "sequence",
        "sequences", "frame", "frames", "jpegimages", "jpg", "jpeg", "png", "ring", "stereo", "sensor",
        "sensors", "k", "top",
    }
)  # fmt: skip
_WORDS = re.compile(r"[A-Za-z]+|[^\W\d_A-Za-z]+")
_LONGEST = 1_000  # characters of an entry
_KEPT = 50_000  # folders whose reading is kept: most hold many frames


class Named(NamedTuple):
    """An id and its kind."""

    kind: str
    id: str


class _Folder(NamedTuple):
    """What the folder of a path tells: ids, and whether it is more than a word for what is in it."""

    named: tuple[Named, ...]
    recording: str | None  # the path down to its last part of its own; None where all are generic


def of_field(field: str, value: object) -> Iterator[Named]:
    """What a field of a record names; nothing for a field that is not known, and for what is no id."""
    kind = FIELDS.get(field_name(field))
    if kind is None or isinstance(value, bool) or not isinstance(value, str | int):
        return
    text = str(value).strip()[:_LONGEST]
    if kind == PATH:
        if isinstance(value, str):
            yield from of_name(text)
    elif _is_id(text):
        if kind == _FRAME:
            yield Named(_FRAME if _is_distinct(text) else NUMBER, text)
            return
        told = [named for named in _telling(text) if isinstance(value, str)]
        yield next((named for named in told if named.kind == kind), Named(kind, text))
        yield from (named for named in told if named.kind != kind)


@functools.lru_cache(maxsize=1000)
def field_name(field: str) -> str:
    return field[:100].lower().replace("-", "_").replace(" ", "_")


def of_name(text: str) -> Iterator[Named]:
    """What a name or a path by itself names, by the habits of the public data sets."""
    folder, _, last = text.strip()[:_LONGEST].replace("\\", "/").rpartition("/")
    leaf = _ENDING.sub("", last)
    own = _telling(leaf)
    above = _of_folder(folder)
    found = {named.kind: named for named in (*above.named, *own)}
    yield from found.values()
    if not leaf:
        return
    if folder or leaf != last:
        yield from _of_file(folder, leaf, above, is_distinct=bool(own) or _is_distinct(leaf))
    elif _UUID.fullmatch(leaf):
        yield Named(_SCENE, leaf.lower())
    elif not found and _is_id(leaf):
        yield Named(_FRAME if _is_distinct(leaf) or not _COUNTER.fullmatch(leaf) else NUMBER, leaf)


def _telling(text: str) -> tuple[Named, ...]:
    """Scenes, drives and logs that stand in a name."""
    return tuple(Named(str(match.lastgroup), match[0]) for match in _TELLING.finditer(text))


@functools.lru_cache(maxsize=_KEPT)
def _of_folder(folder: str) -> _Folder:
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    named = list(_telling(folder))
    for part in parts:
        if _UUID.fullmatch(part):
            named.append(Named(_SCENE, part.lower()))
        elif _DAY_AND_TIME.fullmatch(part):
            named.append(Named(_LOG, part))
    own = [place for place, part in enumerate(parts) if not _is_generic(part)]
    return _Folder(tuple(named), "/".join(parts[: own[-1] + 1]) if own else None)


def _of_file(folder: str, leaf: str, above: _Folder, *, is_distinct: bool) -> Iterator[Named]:
    if is_distinct:
        yield Named(_FILE, leaf)
        return
    is_counted = _COUNTER.fullmatch(leaf) is not None
    yield Named(NUMBER if is_counted and above.recording is None else _FILE, f"{folder}/{leaf}" if folder else leaf)
    if is_counted and above.recording is not None and _has_digit(above.recording.rpartition("/")[2]):
        yield Named(FOLDER, above.recording)


def _is_generic(folder: str) -> bool:
    words = _WORDS.findall(folder)
    return bool(words) and all(word.lower() in _GENERIC for word in words)


def _is_id(text: str) -> bool:
    """Whether it looks like one thing's name: `city street` and `night` are a kind of scene."""
    return _has_digit(text) or (len(text) >= 16 and " " not in text)


def _has_digit(text: str) -> bool:
    return _DIGIT.search(text) is not None


def _is_distinct(text: str) -> bool:
    """Whether nobody else has such a name by chance: a token, a time in microseconds."""
    return bool(_DIGITS.search(text) or _TOKEN.fullmatch(text) or _UUID.fullmatch(text))
