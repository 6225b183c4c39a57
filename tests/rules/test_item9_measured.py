"""Question 9 from a measurement: velocities, times, identities and poses."""

from __future__ import annotations

from typing import Any

import pytest
from measured_samples import TARGET, augmented, one
from test_item8_measured import answer_to, assess

from avreview.augment.model import Measured
from avreview.engine.review import Location, Severity, Verdict

# AV901


def test_av901_says_how_far_the_label_is_off_what_the_sweeps_show() -> None:
    finding = assess("AV901", one(velocity=10.2, words="velocity was not rotated")).found(
        Severity.ERROR, "GlobalRotScale"
    )
    assert finding.location == Location(TARGET, module="GlobalRotScale")
    assert finding.message == (
        "After GlobalRotScale under seed 7, the velocity label of object 3 (truck) is 10.2 m/s off what its sweeps "
        "show (accepted: at most 0.1 m/s): velocity was not rotated."
    )
    assert finding.observed["velocity"] == 10.2


def test_av901_passes_where_labels_are_what_is_shown() -> None:
    assert assess("AV901", one()).passed
    assert assess("AV901", one(velocity=0.1)).passed


def test_av901_accepts_one_percent_of_a_high_speed_and_no_more() -> None:
    assert assess("AV901", one(velocity=0.29, speed=30.0)).passed
    assert "at most 0.3 m/s" in assess("AV901", one(velocity=0.31, speed=30.0)).only.message


def test_av901_names_the_member_whose_label_stays() -> None:
    bad = one("GlobalRotScaleTrans", 1, velocity=9.0)
    assert assess("AV901", one("Compose", velocity=9.0), one("Flip", 0), bad).only.location.module == (
        "GlobalRotScaleTrans"
    )


def test_av901_takes_a_heading_off_its_velocity() -> None:
    finding = assess("AV901", one(heading=180.0, words="the label drives backwards")).only
    assert "object 3 (truck), which drives straight on, has its velocity label 180° off its heading" in finding.message


def test_av901_leaves_a_heading_to_av801_where_the_yaw_is_wrong() -> None:
    turned = one(heading=43.0, yaw=43.0)
    assert assess("AV901", turned).passed
    assert assess("AV801", turned).only.expected == {"yaw": "at most 1°"}


def test_av901_has_nothing_to_say_of_images() -> None:
    left = assess("AV901", one(kind="image"), kind="image")
    assert left.verdict is Verdict.NOT_APPLICABLE
    assert left.reason == "an image has no velocity labels"


def test_av901_is_open_where_the_velocity_could_not_be_seen() -> None:
    left = assess("AV901", one(velocity=None, unjudged={"velocity": "only one sweep came back"}))
    assert left.verdict is Verdict.NOT_ASSESSED
    assert left.reason == "could not be judged: velocity: only one sweep came back"


# AV902


@pytest.mark.parametrize("words", ["lag is negative: its sign is reversed", "lag is in microseconds"])
def test_av902_says_what_became_of_the_time_channel(words: str) -> None:
    finding = assess("AV902", one(time=2.0, words=words)).found(Severity.ERROR, "GlobalRotScale")
    assert (
        f"the time channel at object 3 (truck) is 200 % off the distance driven (accepted: at most 1 %): {words}."
        in (finding.message)
    )


def test_av902_passes_where_lag_times_speed_is_the_distance() -> None:
    assert assess("AV902", one()).passed


def test_av902_judges_slow_objects_by_metres_a_second() -> None:
    """0.1 m/s is 5 % of 2 m/s; under 1 m/s nothing is judged."""
    assert assess("AV902", one(time=0.049, speed=2.0)).passed
    assert assess("AV902", one(time=0.051, speed=2.0)).only.observed["time"] == 0.051
    crawling = one(speed=0.5, time=3.0)
    only_slow = crawling._replace(measures={"time": crawling.measures["time"][1:2]})
    assert assess("AV902", only_slow).verdict is Verdict.NOT_ASSESSED


# AV903


def test_av903_counts_identities_that_moved() -> None:
    finding = assess("AV903", one(tracks=2.0, words="the ids were renumbered")).found(Severity.ERROR, "GlobalRotScale")
    assert "2 identities changed, doubled or moved to another object in object 3 (truck)" in finding.message
    assert "(accepted: none): the ids were renumbered." in finding.message


def test_av903_passes_where_every_object_keeps_its_own() -> None:
    assert assess("AV903", one()).passed


# AV907


def test_av907_compares_labels_with_motion_over_frames() -> None:
    finding = assess("AV907", one(sequence=13.0, words="timestamps were renumbered")).found(
        Severity.ERROR, "GlobalRotScale"
    )
    assert "the velocity label is 13 m/s off the motion from frame to frame of object 3 (truck)" in finding.message
    assert "timestamps were renumbered" in finding.message


def test_av907_passes_where_times_fit_the_motion() -> None:
    assert assess("AV907", one()).passed


def test_av907_wants_a_sequence() -> None:
    left = assess("AV907", one(kind="driving"), kind="driving")
    assert left.verdict is Verdict.NOT_ASSESSED
    assert left.reason == "needs a scene of several frames; pass --scene sequence"


@pytest.mark.parametrize("cause", ["velocity", "ego"])
def test_av907_is_no_second_finding_of_what_other_rules_found(cause: str) -> None:
    changes: dict[str, Any] = {cause: 9.0}
    wrong = one(sequence=10.0, **changes)
    left = assess("AV907", wrong)
    assert left.verdict is Verdict.NOT_ASSESSED
    assert "(AV901, AV908), which hides what was done to the times" in (left.reason or "")
    assert assess({"velocity": "AV901", "ego": "AV908"}[cause], wrong).findings


def test_av907_tells_of_times_whatever_else_is_wrong() -> None:
    wrong = one(sequence=10.0, velocity=9.0, words="the timestamps run backwards")
    assert "the timestamps run backwards" in assess("AV907", wrong).only.message


# AV908


def test_av908_says_how_far_apart_the_poses_put_one_point() -> None:
    finding = assess("AV908", one(ego=6.4, words="the pose was left as it was")).found(Severity.ERROR, "GlobalRotScale")
    assert "the poses of object 3 (truck) put the same standing point 6.4 m apart" in finding.message
    assert "the pose was left as it was" in finding.message


def test_av908_passes_where_standing_things_stand() -> None:
    assert assess("AV908", one()).passed


# The answer


def test_answer_names_what_breaks() -> None:
    bad = one("Drop", 0, sequence=13.0, tracks=1.0)
    answer = answer_to(9, augmented(one("Compose", sequence=13.0, tracks=1.0), bad, one("Flip", 1)))
    assert answer.verdict is Verdict.FAIL
    assert answer.answer == (
        "Run under 16 seeds on synthetic sequences of driving scenes, 1 of 2 augmentations breaks velocities, times, "
        "track ids and poses: Drop (track ids, motion over frames)."
    )
    assert len(answer.table) == 3 * 6


def test_answer_leaves_a_wrong_yaw_to_question_8() -> None:
    answer = answer_to(9, augmented(one(heading=43.0, yaw=43.0)))
    assert answer.verdict is Verdict.PASS
    assert "it keeps velocities, times, track ids and poses consistent" in answer.answer
    assert answer.answer.endswith("Headings differ from velocities, and it is the yaw that is wrong (question 8).")


def test_answer_of_images_says_nothing_of_time() -> None:
    answer = answer_to(9, augmented(one(kind="image"), kind="image"))
    assert not answer.table
    assert "Run under" not in answer.answer


def test_a_member_that_did_not_run_is_in_the_table_with_its_words() -> None:
    answer = answer_to(9, augmented(one("Compose"), Measured("Paste", 0, failure="KeyError: 'db' (paste.py, line 3)")))
    assert answer.verdict is not Verdict.FAIL
    assert answer.table[0] == {
        "augmentation": "Paste", "verdict": "did not run", "reason": "KeyError: 'db' (paste.py, line 3)"}  # fmt: skip
