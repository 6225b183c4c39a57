from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recipe_pipelines import here, judged, pipeline, place, span, step, turned, with_steps, written
from recipe_reviews import recipe, reviewed, said

from avreview.engine.review import Severity, Verdict
from avreview.recipe import open_recipe
from avreview.recipe.model import Does, Step, Upon

VELOCITY: dict[str, Any] = {"velocity": said(True, 80)}
NO_VELOCITY: dict[str, Any] = {"velocity": said(False, 80)}


# AV904


def noise(*upon: Upon, **fields: Any) -> Step:
    return step("ObjectNoise", 14, Does.MOVE_OBJECTS, (Upon.POINTS, Upon.BOXES_3D, *upon), is_random=True, **fields)


def test_av904_objects_moved_singly_beside_a_velocity_head() -> None:
    finding = judged(with_steps(noise(), **VELOCITY), "AV904").only
    assert finding.severity is Severity.ERROR
    assert place(finding) == here(14, "train.pipeline.ObjectNoise")
    assert [(entry.line, entry.module) for entry in finding.also] == [(80, "velocity")]


def test_av904_without_velocity_or_with_velocities_moved_along() -> None:
    assert judged(with_steps(noise(), **NO_VELOCITY), "AV904").verdict is Verdict.NOT_APPLICABLE
    assert judged(with_steps(turned(14), **VELOCITY), "AV904").verdict is Verdict.NOT_APPLICABLE
    assert judged(with_steps(noise(Upon.VELOCITIES), **VELOCITY), "AV904").verdict is Verdict.NOT_APPLICABLE
    off = noise(amounts={"probability": span(0, 0, "share")})
    assert judged(with_steps(off, **VELOCITY), "AV904").verdict is Verdict.NOT_APPLICABLE
    assert judged(with_steps(noise()), "AV904").verdict is Verdict.NOT_ASSESSED


# AV905


def swept(**numbers: int) -> dict[str, Any]:
    return {"sweeps": {role: said(number, 10 + place) for place, (role, number) in enumerate(numbers.items())}}


def test_av905_sweeps_of_training_and_test() -> None:
    finding = judged(recipe(**swept(train=1, val=10, test=10)), "AV905").only
    assert finding.severity is Severity.WARNING
    assert place(finding) == here(10, "sweeps.train")
    assert [entry.line for entry in finding.also] == [11, 12]
    assert finding.message == "Training takes 1 sweep, val 10, test 10."
    assert judged(recipe(**swept(train=10, val=10, test=10)), "AV905").passed


def test_av905_sweeps_of_the_paste_database() -> None:
    finding = judged(recipe(**swept(train=5, test=5, paste=10)), "AV905").only
    assert finding.severity is Severity.ERROR
    assert place(finding) == here(12, "sweeps.paste")
    assert judged(recipe(**swept(train=9, test=9, paste=10)), "AV905").passed


def test_av905_one_number_alone() -> None:
    assert judged(recipe(**swept(train=10)), "AV905").verdict is Verdict.NOT_ASSESSED
    assert judged(recipe(**swept(test=10)), "AV905").verdict is Verdict.NOT_ASSESSED
    assert judged(recipe(), "AV905").verdict is Verdict.NOT_APPLICABLE


def test_av905_lyft(tmp_path: Path) -> None:
    """The paste database of OpenPCDet's configuration for Lyft."""
    text = """\
CLASS_NAMES: ['car']
DATA_CONFIG:
    DATASET: 'LyftDataset'
    MAX_SWEEPS: 5
    POINT_CLOUD_RANGE: [-80.0, -80.0, -5.0, 80.0, 80.0, 3.0]
    DATA_AUGMENTOR:
        DISABLE_AUG_LIST: ['placeholder']
        AUG_CONFIG_LIST:
            - NAME: gt_sampling
              DB_INFO_PATH:
                  - lyft_dbinfos_10sweeps.pkl
              SAMPLE_GROUPS: ['car:3']
MODEL:
    NAME: SECONDNet
"""
    path = written(tmp_path, "lyft.yaml", text)
    finding = judged(open_recipe(str(path)), "AV905").only
    assert finding.severity is Severity.ERROR
    assert finding.location.line in (10, 11)
    assert finding.observed == {"paste": 10.0, "train": 5.0}
    path.write_text(text.replace("10sweeps", "5sweeps"))
    assert not judged(open_recipe(str(path)), "AV905").findings


# AV906


def timed(channel: bool | None, sweeps: int = 10, **fields: Any) -> dict[str, Any]:
    channels = {} if channel is None else {"time_channel": {"train": said(channel, 18)}}
    return {**swept(train=sweeps), **channels, **fields}


def test_av906_velocity_from_sweeps_without_time() -> None:
    finding = judged(recipe(**timed(False, **VELOCITY)), "AV906").only
    assert finding.severity is Severity.WARNING
    assert place(finding) == here(18, "time_channel.train")
    assert [entry.line for entry in finding.also] == [10, 80]


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        (timed(True, **VELOCITY), Verdict.PASS),
        (timed(False, sweeps=1, **VELOCITY), Verdict.NOT_APPLICABLE),
        (timed(False, **NO_VELOCITY), Verdict.NOT_APPLICABLE),
        (timed(None, **VELOCITY), Verdict.NOT_ASSESSED),
        (timed(False), Verdict.NOT_ASSESSED),
        (VELOCITY, Verdict.NOT_APPLICABLE),
    ],
)
def test_av906_what_is_fine_and_what_is_not_told(fields: dict[str, Any], verdict: Verdict) -> None:
    assert judged(recipe(**fields), "AV906").verdict is verdict


# AV907


def framed(does: Does, *upon: Upon) -> Step:
    return step("Frames", 25, does, (Upon.IMAGE, *upon), is_random=True)


@pytest.mark.parametrize(
    ("does", "kept", "left"),
    [
        (Does.DROP_FRAMES, (Upon.TIMES,), "poses"),
        (Does.DROP_FRAMES, (), "poses, times"),
        (Does.JITTER_TIME, (Upon.TIMES,), "velocities"),
        (Does.REVERSE_TIME, (Upon.TIMES,), "velocities"),
    ],
)
def test_av907_frames_that_change_alone(does: Does, kept: tuple[Upon, ...], left: str) -> None:
    finding = judged(with_steps(framed(does, *kept), **VELOCITY), "AV907").only
    assert finding.severity is Severity.ERROR
    assert place(finding) == here(25, "train.pipeline.Frames")
    assert finding.observed["leaves"] == left


def test_av907_frames_dropped_whole() -> None:
    whole = framed(Does.DROP_FRAMES, Upon.TIMES, Upon.POSES)
    assert judged(with_steps(whole, **VELOCITY), "AV907").passed
    reversed_whole = framed(Does.REVERSE_TIME, Upon.TIMES, Upon.VELOCITIES)
    assert judged(with_steps(reversed_whole, tracking=said(True, 81)), "AV907").passed


def test_av907_without_frames_or_without_motion() -> None:
    assert judged(with_steps(turned(25), **VELOCITY), "AV907").verdict is Verdict.NOT_APPLICABLE
    dropped = framed(Does.DROP_FRAMES)
    assert judged(with_steps(dropped, **NO_VELOCITY), "AV907").verdict is Verdict.NOT_APPLICABLE
    assert judged(with_steps(dropped), "AV907").verdict is Verdict.NOT_ASSESSED
    assert judged(with_steps(dropped, tracking=said(True, 81)), "AV907").findings


# The answer


def test_the_answer_says_what_is_predicted_and_what_touches_time() -> None:
    sweeps = step("LoadPointsFromMultiSweeps", 11, (Does.LOAD, Does.SWEEPS), (Upon.POINTS, Upon.TIMES))
    given = recipe(
        pipelines=[pipeline(sweeps, noise(), turned(15), step("Pad", 16, Does.PAD, (Upon.IMAGE,)))],
        **swept(train=10, test=10),
        **VELOCITY,
    )
    answer = next(answer for answer in reviewed(given, select=["9"]).checklist if answer.item == 9)
    assert answer.answer == "The model predicts velocity. Sweeps: train 10, test 10. 1 step moves objects one by one."
    assert [row["step"] for row in answer.table] == [
        "velocity", "sweeps", "sweeps", "LoadPointsFromMultiSweeps", "ObjectNoise", "GlobalRotScaleTrans",
    ]  # fmt: skip
    assert answer.table[0]["at"] == "configs/petr.py:80"


def test_the_answer_of_a_recipe_that_says_nothing() -> None:
    answer = next(answer for answer in reviewed(recipe(), select=["9"]).checklist if answer.item == 9)
    assert answer.answer == "The recipe does not say whether velocity is predicted."
