from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avreview.errors import ArtifactError
from avreview.facts.leakage import Shared, shared_with_training
from avreview.recipe.manifests import Manifest, open_manifests
from avreview.recipe.manifests import files as manifest_files

TOKEN = "{:032x}"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, content: Any) -> Path:
        path = tmp_path / name
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def opened(path: Path, role: str = "train") -> Manifest:
    return open_manifests([(role, str(path))]).all[0]


def kinds(path: Path, role: str = "train") -> dict[str, list[str]]:
    return {kind: list(ids) for kind, ids in opened(path, role).ids.items()}


def compared(train: Path, other: Path, role: str = "val") -> Shared:
    (shared,) = shared_with_training(open_manifests([("train", str(train)), (role, str(other))]))
    return shared


# What each format and each name tells


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("scene-0103", {"scene": ["scene-0103"]}),
        (
            "samples/LIDAR_TOP/n015-2018-07-24-11-22-45+0800__LIDAR_TOP__1532402927647951.pcd.bin",
            {
                "log": ["n015-2018-07-24-11-22-45+0800"],
                "file": ["n015-2018-07-24-11-22-45+0800__LIDAR_TOP__1532402927647951"],
            },
        ),
        (
            "segment-10017090168044687777_6380_000_6400_000",
            {"scene": ["10017090168044687777_6380_000_6400_000"]},
        ),
        (
            "2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005.png 1",
            {
                "drive": ["2011_09_26_drive_0001"],
                "file": ["2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000005"],
                "folder": ["2011_09_26/2011_09_26_drive_0001_sync"],
            },
        ),
        ("00a6ffc1-6ce9-3bc3-a060-6006e9893a1a", {"scene": ["00a6ffc1-6ce9-3bc3-a060-6006e9893a1a"]}),
        ("2021.05.12.22.00.38_veh-35_01008_01518", {"log": ["2021.05.12.22.00.38_veh-35_01008_01518"]}),
        ("x/car7_2023-05-01-12-30-45_0.bag", {"log": ["2023-05-01-12-30-45"], "file": ["car7_2023-05-01-12-30-45_0"]}),
        ("000042", {"number": ["000042"]}),
        ("images/train/000042.jpg 3 0.5", {"number": ["images/train/000042"]}),
        ("sequences/08/velodyne/000042.bin", {"file": ["sequences/08/velodyne/000042"], "folder": ["sequences/08"]}),
        (TOKEN.format(7), {"frame": [TOKEN.format(7)]}),
        ("camera/front/1532402927612460.jpg", {"file": ["1532402927612460"]}),
    ],
)  # fmt: skip
def test_names_of_public_data_sets(write: Write, line: str, found: dict[str, list[str]]) -> None:
    assert kinds(write("train.txt", f"# a comment\n\n{line}\n")) == found
    assert {number for ids in opened(write("train.txt", f"#\n\n{line}\n")).ids.values() for number in ids.values()} == {
        3
    }


def test_samples_and_scenes_of_nuscenes(write: Write) -> None:
    samples = [{"token": TOKEN.format(1), "scene_token": TOKEN.format(2), "timestamp": 1}]
    assert kinds(write("sample.json", samples)) == {"frame": [TOKEN.format(1)], "scene-token": [TOKEN.format(2)]}
    scenes = [{"token": TOKEN.format(2), "log_token": TOKEN.format(3), "name": "scene-0001", "nbr_samples": 40}]
    assert kinds(write("scene.json", scenes)) == {
        "scene-token": [TOKEN.format(2)], "log-token": [TOKEN.format(3)], "scene": ["scene-0001"],
    }  # fmt: skip


def test_a_file_of_several_splits_is_read_for_its_role(write: Write) -> None:
    splits = write("splits.json", {"train": ["scene-0001"], "val": ["scene-0002"]})
    assert kinds(splits, "val") == {"scene": ["scene-0002"]}
    nested = write("splitter.yaml", "log_splits:\n  train:\n    - 2021.05.12.22.00.38_veh-35_01008_01518\n  val: []\n")
    assert kinds(nested, "train") == {"log": ["2021.05.12.22.00.38_veh-35_01008_01518"]}
    with pytest.raises(ArtifactError, match="names splits, and none of them is 'test'"):
        opened(splits, "test")


def test_tables_and_json_lines(write: Write) -> None:
    assert kinds(write("train.csv", "file_name,scene,weather\na7/x1.png,s12,sunny\n")) == {
        "file": ["a7/x1"], "folder": ["a7"], "scene": ["s12"],
    }  # fmt: skip
    assert kinds(write("train.tsv", "Log ID\tn\nrun_4\t2\n")) == {"log": ["run_4"]}
    assert kinds(write("train.jsonl", '{"segment_id": "s-1"}\n\n{"segment_id": "s-2"}\n')) == {"scene": ["s-1", "s-2"]}
    assert opened(write("train.jsonl", '{"segment_id": "s-1"}\n\n{"segment_id": "s-2"}\n')).line("scene", "s-2") == 3


def test_kinds_of_scenes_are_no_scenes(write: Write) -> None:
    """BDD100K calls `city street` a scene."""
    images = [{"name": "0000f77c-6257be58.jpg", "scene": "city street", "attributes": {"scene": "tunnel"}}]
    assert kinds(write("bdd.json", images)) == {"file": ["0000f77c-6257be58"]}


def infos(first: int, last: int) -> list[dict[str, Any]]:
    log = "n008-2018-08-01-15-16-36-0400"
    return [
        {
            "sample_idx": number,
            "token": TOKEN.format(number + first),
            "lidar_points": {"lidar_path": f"{log}__LIDAR_TOP__15331521475{number + first:05d}.pcd.bin"},
            "gt_boxes": np.zeros((2, 7)),
        }
        for number in range(last - first)
    ]


def test_info_pickles(write: Write) -> None:
    newer = write("train.pkl", pickle.dumps({"metainfo": {"dataset": "nuscenes"}, "data_list": infos(0, 3)}))
    assert sorted(kinds(newer)) == ["file", "frame", "log", "number"]
    assert len(kinds(newer)["frame"]) == 3
    older = write(
        "old.pkl", pickle.dumps([{"point_cloud": {"lidar_sequence": "s-1"}, "image": {"image_idx": "000007"}}])
    )
    assert kinds(older) == {"sequence": ["s-1"], "number": ["000007"]}


def test_a_pickle_is_read_and_not_run(write: Write, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "made"),)

    path = write("train.pkl", pickle.dumps({"infos": [{"token": TOKEN.format(1), "x": Evil()}]}))
    assert kinds(path) == {"frame": [TOKEN.format(1)]}
    assert not (tmp_path / "made").exists()


def test_lines_of_json(write: Write) -> None:
    path = write("scenes.json", '[\n  "scene-0001",\n  "scene-0002"\n]\n')
    assert opened(path).line("scene", "scene-0002") == 3


# What two sides share


def test_frames_of_one_scene_on_both_sides(write: Write) -> None:
    samples = [{"token": TOKEN.format(number), "scene_token": f"a{number // 40:031x}"} for number in range(200)]
    shared = compared(write("a.json", samples[::2]), write("b.json", samples[1::2]))
    assert (shared.kind, shared.counts) == ("scene-token", {"scene-token": 5})
    assert compared(write("a.json", samples[:80]), write("b.json", samples[80:])).kind is None


def test_all_ways_to_write_a_segment_are_one(write: Write) -> None:
    train = write("a.txt", "segment-10017090168044687777_6380_000_6400_000_with_camera_labels.tfrecord\n")
    shared = compared(train, write("b.csv", "context_name\n10017090168044687777_6380_000_6400_000\n"))
    assert shared.kind == "scene"


@pytest.mark.parametrize(
    ("train", "other", "role", "kind", "unsure"),
    [
        (range(0, 7481, 2), range(1, 7481, 2), "val", None, False),
        (range(0, 7481, 2), range(7518), "test", None, True),
        (range(1000), range(100), "val", None, True),
        (range(90_000, 91_000), range(90_990, 91_010), "val", "number", False),
    ],
)
def test_short_numbers(write: Write, train: range, other: range, role: str, kind: str | None, unsure: bool) -> None:
    """Halves of KITTI, its test set, lists that count for themselves, and the same frames twice."""
    first, second = ("\n".join(f"{number:06d}" for number in numbers) for numbers in (train, other))
    shared = compared(write("a", first), write("b", second), role)
    assert (shared.kind, bool(shared.unsure)) == (kind, unsure)


def test_numbers_of_sequences_may_be_counted_anew(write: Write) -> None:
    def videos(*numbers: int) -> dict[str, Any]:
        return {"images": [{"video_id": number, "file_name": f"v{number}/a{number}.jpg"} for number in numbers]}

    assert compared(write("a.json", videos(1, 2, 3)), write("b.json", {"images": [{"video_id": 1}]})).kind is None
    shared = compared(write("a.json", videos(*range(1, 200))), write("b.json", {"images": [{"video_id": 170}]}))
    assert shared.kind == "sequence"


# What is no list


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", "", "names no frame, file, scene"),
        ("a.txt", b"\xff\xfe\x00\x01", "line 1 is not UTF-8"),
        ("a.json", "[1,\n2", "line 2 is no JSON"),
        ("a.json", "[" * 200_000, "is no JSON that can be read"),
        ("a.yaml", "- !!python/object:os.system x\n", "line 1"),
        ("a.csv", "a,b\n1,2\n", "line 1 names no column that is known"),
        ("a.pkl", b"\x80\x04N", "cut off|ends"),
        ("a.jsonl", "{}\n{", "line 2 is no JSON"),
        ("a.json", "{}", "names no frame"),
    ],
)  # fmt: skip
def test_what_is_no_list_gets_one_line(write: Write, name: str, content: str | bytes, words: str) -> None:
    with pytest.raises(ArtifactError, match=words) as error:
        opened(write(name, content))
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(write(name, content)))


def test_missing_and_irregular_files(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ArtifactError):
            opened(path)


def test_a_list_has_a_size_and_a_number_of_entries(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("a.txt", "\n".join(f"scene-{number:04d}" for number in range(50)))
    monkeypatch.setattr(manifest_files, "MOST_ENTRIES", 20)
    with pytest.raises(ArtifactError, match="more than 20 things"):
        opened(path)
    monkeypatch.setattr(manifest_files, "MOST_BYTES", 10)
    with pytest.raises(ArtifactError, match="is larger than"):
        opened(path)
