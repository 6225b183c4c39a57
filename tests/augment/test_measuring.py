"""The child process: what a target does wrong becomes one line, and the other parts are measured all the same."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from avreview.augment.measuring import NOTHING, augmented, measure
from avreview.augment.model import AugmentRequest
from avreview.engine.resolve import NotAvailable

MODULE = """
import os, time
import numpy as np

def flip(scene, rng):
    scene["points"][:, 1] *= -1
    scene["gt_boxes"][:, [1, 6, 8]] *= -1
    return {key: scene[key] for key in ("points", "gt_boxes")}

def good():
    return flip

def returns_nothing():
    pass

def raises():
    raise ValueError("no such\\nconfig")

def a_number():
    return 5

def exits():
    raise SystemExit(3)

def boom(scene):
    return scene["nothing"]

def hang(scene):
    while True:
        time.sleep(0.01)

def none(scene):
    return None

def types(scene):
    return {**scene, "gt_boxes": "seven"}

def drops(scene):
    return {}

def kill(scene):
    os.kill(os.getpid(), 11)

def unsteady(scene):
    scene["points"][:, :3] += np.random.default_rng().normal(0, 0.01, (len(scene["points"]), 3))
    return scene

class Own:
    def __init__(self):
        self.rng = np.random.default_rng(5)

    def __call__(self, scene):
        scene["points"][:, 0] += self.rng.random()
        return scene

def parts():
    return {"flip": flip, "boom": boom, "hang": hang}

def deadly():
    return {"flip": flip, "kill": kill}

def frames():
    return lambda given: given
frames.avreview_scene = "sequence"

class Mute(Exception):
    def __str__(self):
        raise ValueError("no words")

def mute(scene):
    raise Mute

def texts(scene):
    return {**scene, "gt_boxes": scene["gt_boxes"].astype("S8")}

def in_a_row():
    return [flip, none, boom]

def leaves(scene):
    os._exit(0)

def loses(scene):
    return {key: value for key, value in scene.items() if key not in ("points", "gt_boxes")}

def no_numbers(scene):
    return {**scene, "lidar2img": np.asarray(scene["lidar2img"]) * np.nan}

def crop(scene):
    matrices = np.array(scene["lidar2img"])
    matrices[:, 0] -= 8 * matrices[:, 2]
    return {**scene, "images": [image[:, 8:] for image in scene["images"]], "lidar2img": matrices}

def lazily(scene, generator):
    import cv2
    scene["points"][:, 0] += cv2.drawn()
    return scene

def camera():
    return crop
camera.avreview_scene = {"without": ["points", "gt_boxes", "bev_map", "boxes2d", "masks", "keypoints", "intrinsics"]}

def boxes_alone():
    return crop
boxes_alone.avreview_scene = {"without": ["points", "bev_map", "boxes2d", "masks", "keypoints", "intrinsics"]}
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "augmod.py").write_text(MODULE)
    (tmp_path / "augbroken.py").write_text("import numpy as np\nx = np.nothing_of_the_kind\n")
    (tmp_path / "cv2.py").write_text("import random\ndef setRNGSeed(n): r.seed(n)\ndef drawn(): return r.random()\n"
                                     "r = random.Random()\n")  # fmt: skip
    (tmp_path / "augsyntax.py").write_text("def f(:\n")
    (tmp_path / "augneeds.py").write_text("import there_is_no_such_library\n")
    monkeypatch.chdir(tmp_path)


def request(target: str, seconds: float = 60.0, **others: object) -> AugmentRequest:
    return AugmentRequest(target, seeds=2, seconds=seconds, pictures=False, adapter="plain", **others)  # type: ignore[arg-type]


def test_nothing_asked_says_what_to_pass() -> None:
    with pytest.raises(NotAvailable, match=r"pass --augment pkg\.module:factory"):
        augmented(NOTHING)


def test_a_factory_and_an_augmentation_itself_are_measured_alike() -> None:
    built, itself = measure(request("augmod:good")), measure(request("augmod:flip"))
    assert built.whole.measures == itself.whole.measures
    assert built.whole.changed
    assert (built.kind, built.adapter, list(built.files)) == ("driving", "plain", ["augmod.py"])
    assert "numpy" in built.libraries


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("augmod:returns_nothing", "the factory augmod:returns_nothing returned nothing; a factory returns"),
        ("augmod:raises", r"the factory augmod:raises raised ValueError: no such config \(augmod.py, line 17\)"),
        ("augmod:a_number", "returned an int"),
        ("augmod:exits", r"raised SystemExit: 3 \(augmod.py, line 23\)"),
        ("augmod:absent", "augmod has no 'absent'"),
        ("augbroken:x", r"importing augbroken raised AttributeError: .* \(augbroken.py, line 2\)"),
        ("augsyntax:f", r"importing augsyntax raised SyntaxError: .* \(augsyntax.py, line 1\)"),
        ("augneeds:f", "there_is_no_such_library.*install what it needs"),
        ("there_is_none:f", "there is no Python module there_is_none"),
        ("not a target", "no file and not of the form"),
        ("augmod.py", "'augmod.py' is Python; name the factory in it, from its folder: augmod:factory"),
    ],
)
def test_a_target_that_cannot_be_had_says_why(target: str, words: str) -> None:
    with pytest.raises(NotAvailable, match=words) as told:
        measure(request(target))
    assert "\n" not in str(told.value)


def test_an_unknown_kind_and_adapter_are_named() -> None:
    with pytest.raises(NotAvailable, match="no scene is of the kind 'video'; there are image, driving, sequence"):
        measure(request("augmod:good", kind="video"))
    with pytest.raises(NotAvailable, match="no adapter is called 'magic'"):
        measure(request("augmod:good")._replace(adapter="magic"))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("augmod:boom", "raised KeyError: 'nothing' (augmod.py, line 26)"),
        ("augmod:mute", "raised Mute (augmod.py, line 71)"),
        ("augmod:none", "returned nothing (None) instead of a scene (a dict) (augmod.py, line 32)"),
        ("augmod:in_a_row", "member 1 of it returned nothing (None) instead of a scene (augmod.py, line 32)"),
        ("augmod:types", "returned a str under 'gt_boxes' that is no array of numbers (augmod.py, line 35)"),
        ("augmod:texts", "returned a ndarray under 'gt_boxes' that is no array of numbers (augmod.py, line 73)"),
        (
            "augmod:drops",
            "returned a scene without points, gt_boxes, images and bev_map, which leaves nothing to measure "
            "(augmod.py, line 38)",
        ),
    ],
)
def test_what_an_augmentation_does_instead_is_its_failure(target: str, words: str) -> None:
    found = measure(request(target))
    assert found.whole.failure == words
    assert not found.whole.measures


def test_a_hanging_member_is_told_and_the_others_measured() -> None:
    found = measure(request("augmod:parts", seconds=8))
    assert [member.name for member in found.members] == ["flip", "boom", "hang"]
    flip, boom, hang = found.members
    assert flip.failure is None
    assert "in_box" in flip.measures
    assert boom.failure == "raised KeyError: 'nothing' (augmod.py, line 26)"
    assert hang.failure == "did not finish within 1.8 s (augmod.py, line 30)"
    assert found.whole.failure == boom.failure


def test_a_member_that_kills_the_process_is_told_and_the_others_measured() -> None:
    found = measure(request("augmod:deadly"))
    flip, kill = found.members
    assert flip.failure is None
    assert "in_box" in flip.measures
    assert kill.failure is not None
    assert "the process that ran the augmentation died by SIGSEGV" in kill.failure


def test_a_process_that_ends_says_at_what() -> None:
    said = measure(request("augmod:leaves")).whole.failure
    assert said == "the augmentation ended its process while measuring the whole (ended with code 0 and no answer)"


def test_what_does_not_come_back_is_said() -> None:
    found = measure(request("augmod:loses")).whole
    assert not found.changed
    assert found.unjudged["centre"] == "the augmentation returned no gt_boxes"
    assert found.unjudged["time"] == "the augmentation returned no points"


def test_a_matrix_of_no_numbers_is_off() -> None:
    found = measure(request("augmod:no_numbers")).whole
    assert {(math.isnan(sample.value), sample.words) for sample in found.measures["reprojection"]} == {
        (True, "lidar2img holds what is no number")
    }
    assert "reprojection" not in found.unjudged


def test_what_a_pipeline_is_not_given_is_not_asked_for() -> None:
    found = measure(request("augmod:camera")).whole
    assert max(sample.value for sample in found.measures["reprojection"]) < 0.5
    assert not {"in_box", "centre", "dims", "yaw", "velocity", "heading"} & found.unjudged.keys()
    boxes = measure(request("augmod:boxes_alone")).whole
    assert boxes.unjudged["centre"] == (
        "the augmentation is given no points, as its factory or adapter asks (`without`)"
    )


def test_a_sequence_is_told_by_the_factory() -> None:
    found = measure(request("augmod:frames"))
    assert found.kind == "sequence"
    assert {"tracks", "ego", "sequence"} <= set(found.whole.measures)
    assert not found.whole.changed


def test_what_is_not_seeded_is_seen() -> None:
    found = measure(request("augmod:unsteady")).whole
    worst = found.worst("repeats")
    assert worst is not None
    assert worst.value > 0
    assert "seed" in worst.words
    assert "reprojection" in found.unjudged


def test_a_library_that_the_first_run_imports_is_seeded() -> None:
    found = measure(request("augmod:lazily")).whole
    assert found.failure is None
    assert {sample.value for sample in found.measures["repeats"]} == {0.0}


def test_a_generator_of_its_own_is_named() -> None:
    worst = measure(request("augmod:Own")).whole.worst("repeats")
    assert worst is not None
    assert worst.words == "it draws from a generator of its own, which the seed does not reach"
