"""Question 8 from a measurement: what each measure says, who is at fault, and what was not looked at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Assessed
from measured_samples import TARGET, augmented, one

from avreview.augment.model import Augmented, Measured
from avreview.desk import review_artifact
from avreview.engine.cards import catalogue
from avreview.engine.policy import Policy, select_rules
from avreview.engine.review import Location, Review, Severity, Verdict
from avreview.facts.subject import Companions

Judge = Callable[..., Assessed]


def reviewed_augmentation(measured: Augmented, *select: str) -> Review:
    policy = Policy(select_rules(catalogue(), select, ()))
    return review_artifact(None, policy, Companions(augmented=measured), title=measured.target)


def assess(rule: str, *measured: Measured, kind: str = "sequence", **fields: Any) -> Assessed:
    """How one rule ends on a whole, and its members behind it."""
    review = reviewed_augmentation(augmented(*measured, kind=kind, **fields), rule)
    (outcome,) = review.rules
    return Assessed(outcome.verdict, outcome.reason, list(review.findings))


# AV801


@pytest.mark.parametrize(
    ("measure", "value", "says", "accepted", "kind"),
    [
        ("in_box", 0.69, "69 % of the points of object 3 (truck) lie in its box", "at least 98 %", "driving"),
        ("centre", 27.31, "the box centre of object 3 (truck) is 27.3 m from where its points put it",
         "at most 0.05 m", "driving"),
        ("dims", 0.098, "the box size of object 3 (truck) is 9.8 % off what its points show", "at most 1 %", "driving"),
        ("yaw", 43.0, "the box yaw of object 3 (truck) is 43° off what its points show", "at most 1°", "driving"),
        ("reprojection", 147.2, "object 3 (truck) shows a point 147 px from where the returned matrices put it",
         "at most 1.5 px", "driving"),
        ("map", 12.0, "a feature of the map (object 3 (truck)) is 12 cells from where the transform of the scene puts "
         "it", "at most 1.5 cells", "driving"),
        ("iou_2d", 0.1, "the 2-D box of object 3 (truck) and what the image shows of it overlap by 0.1",
         "at least 0.9", "image"),
        ("mask", 0.2, "the mask of object 3 (truck) and what the image shows of it overlap by 0.2", "at least 0.9",
         "image"),
        ("keypoint", 9.0, "object 3 (truck) is 9 px from its marker in the image", "at most 1.5 px",
         "image"),
    ],
)  # fmt: skip
def test_av801_says_what_is_off_where_and_under_which_seed(
    measure: str, value: float, says: str, accepted: str, kind: str
) -> None:
    changes: dict[str, Any] = {measure: value}
    wrong = one(kind=kind, words="the label was not rotated", **changes)
    finding = assess("AV801", wrong, kind=kind).found(Severity.ERROR, "GlobalRotScale")
    assert finding.location.artifact == TARGET
    assert finding.message == (
        f"After GlobalRotScale under seed 7, {says} (accepted: {accepted}): the label was not rotated."
    )
    assert finding.observed == {
        measure: value, "seed": 7, "at": "object 3 (truck)", "off": "1 of 3 measured",
        "explanation": "the label was not rotated",
    }  # fmt: skip
    assert finding.expected == {measure: accepted}


@pytest.mark.parametrize("kind", ["image", "driving", "sequence"])
def test_av801_passes_where_all_that_is_measured_agrees(kind: str) -> None:
    assert assess("AV801", one(kind=kind), one("Flip", 0, kind=kind), kind=kind).passed


@pytest.mark.parametrize("limit", [("in_box", 0.98), ("centre", 0.05), ("yaw", 1.0), ("reprojection", 1.5)])
def test_av801_accepts_its_limits(limit: tuple[str, Any]) -> None:
    assert assess("AV801", one(kind="driving", **dict([limit])), kind="driving").passed


def test_av801_is_one_finding_for_one_cause_the_farthest_value_first() -> None:
    wrong = one(kind="driving", culprit="boxes", centre=27.3, yaw=43.0, in_box=0.0)
    finding = assess("AV801", wrong, kind="driving").only
    assert list(finding.expected) == ["centre", "in_box", "yaw"]
    assert "off as well: points in box, box yaw" in finding.message
    assert finding.message.endswith("Compared in pairs, it is the boxes that do not fit the rest.")
    assert finding.observed["culprit"] == "boxes"
    assert finding.observed["also_off"] == [
        "points in box 0 % (seed 7, object 3 (truck))", "box yaw 43° (seed 7, object 3 (truck))"]  # fmt: skip
    assert finding.location == Location(TARGET, module="GlobalRotScale", tensor="boxes")


def test_av801_tells_causes_of_one_augmentation_apart() -> None:
    """A keypoint that stays behind is no consequence of a box that does; what touches the culprit is."""
    found = assess("AV801", one(kind="image", iou_2d=0.1, keypoint=30.0), kind="image").findings
    assert [finding.location.tensor for finding in found] == ["keypoints", "boxes"]
    assert len({finding.fingerprint for finding in found}) == 2
    moved = assess("AV801", one(kind="image", iou_2d=0.1, keypoint=30.0, culprit="images"), kind="image").only
    assert list(moved.expected) == ["keypoint", "iou_2d"]


def test_av801_blames_the_member_and_not_the_whole() -> None:
    whole, bad = one("Compose", yaw=43.0, centre=20.0), one("RotScale", 1, yaw=43.0)
    assert assess("AV801", whole, one("Flip", 0), bad).only.location.module == "RotScale"


def test_av801_tells_members_of_one_name_apart() -> None:
    whole = one("Compose", yaw=43.0)
    assert assess("AV801", whole, one("Flip", 0), one("Flip", 1, yaw=43.0)).only.location.module == "Flip[1]"


def test_a_whole_without_a_name_is_called_by_its_target_or_as_a_pipeline() -> None:
    assert assess("AV801", one("the whole", yaw=9.0)).only.location.module == TARGET
    assert assess("AV801", one("the whole", yaw=9.0), one("Flip", 0)).only.location.module == "the whole pipeline"


def test_av801_passes_over_a_member_whose_error_the_others_undo() -> None:
    assert assess("AV801", one("Compose"), one("RotScale", 0, yaw=43.0)).passed


def test_av801_blames_the_whole_for_what_no_member_explains() -> None:
    whole, bad = one("Compose", kind="driving", yaw=43.0, map=9.0), one("RotScale", 0, kind="driving", yaw=43.0)
    found = assess("AV801", whole, bad, kind="driving").findings
    assert [(finding.location.module, *finding.expected) for finding in found] == [
        ("RotScale", "yaw"), ("Compose", "map")]  # fmt: skip


def test_av801_blames_a_member_for_what_the_whole_cannot_be_judged_by() -> None:
    whole = one("Compose", kind="image", iou_2d=None, unjudged={"iou_2d": "a mosaic is not modelled"})
    assert assess("AV801", whole, one("Flip", 0, kind="image", iou_2d=0.1), kind="image").only.location.module == "Flip"


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_av801_takes_no_number_for_wrong(value: float) -> None:
    finding = assess("AV801", one(centre=value)).only
    assert "is no number from where its points put it" in finding.message


def test_av801_is_open_where_something_could_not_be_judged() -> None:
    warp = "an elastic warp follows no similarity"
    left = assess("AV801", one(kind="image", mask=None, keypoint=None, unjudged={"mask": warp, "keypoint": warp}),
                  kind="image")  # fmt: skip
    assert left.verdict is Verdict.NOT_ASSESSED
    assert left.reason == f"could not be judged: mask, keypoint: {warp}"


def test_av801_is_open_where_nothing_was_measured_or_changed() -> None:
    bare = Measured("Blur", None, {})
    assert assess("AV801", bare).reason == (
        "the augmentation gave back no labels that could be compared with what is seen, so nothing was compared"
    )
    assert assess("AV801", one(changed=False)).reason == (
        "the augmentation changed nothing under 16 seeds; draw more of them with --seeds"
    )


@pytest.mark.parametrize("rule", ["AV801", "AV810", "AV811", "AV901", "AV902", "AV903", "AV907", "AV908"])
def test_a_whole_that_did_not_run_leaves_every_rule_open(rule: str) -> None:
    whole = Measured("Compose", None, failure="it raised ValueError: no boxes (aug.py, line 12)")
    left = assess(rule, whole, one("Flip", 0, yaw=90.0, velocity=9.0))
    assert left.verdict is Verdict.NOT_ASSESSED
    assert left.reason is not None
    assert left.reason.startswith("the augmentation could not be measured: it raised ValueError: no boxes")


def test_hostile_names_and_words_are_one_printable_line() -> None:
    evil = "x\x1b[2J\n::error::" + "y" * 10_000
    wrong = one(evil, words=evil, centre=3.0, culprit=evil)
    finding = assess("AV801", wrong).only
    told = [finding.message, str(finding.location.module), *map(str, finding.observed.values())]
    assert all(text.isprintable() and len(text) < 1500 for text in told)


# AV810


def test_av810_names_what_differs_between_two_runs() -> None:
    wrong = one(repeats=0.25, words="it draws from a generator of its own, which the seed does not reach")
    finding = assess("AV810", wrong).found(Severity.WARNING, "GlobalRotScale")
    assert "two runs under one seed differ by 0.25 in object 3 (truck) (accepted: none)" in finding.message
    assert "a generator of its own" in finding.message


def test_av810_passes_where_two_runs_agree() -> None:
    assert assess("AV810", one()).passed
    still = assess("AV810", one(changed=False))  # what draws nothing shows nothing of its seed
    assert still.verdict is Verdict.NOT_ASSESSED
    assert "changed nothing" in (still.reason or "")


# AV811


def test_av811_names_a_box_whose_object_is_gone() -> None:
    finding = assess("AV811", one(visible=0.05, words="it was cropped away, and the box left")).found(
        Severity.WARNING, "GlobalRotScale"
    )
    assert "a box is left of which 5 % can still be seen: object 3 (truck) (accepted: at least 10 %)" in finding.message
    assert "cropped away" in finding.message


def test_av811_passes_where_enough_is_left() -> None:
    assert assess("AV811", one(visible=0.1)).passed


# The answer


def answer_to(item: int, measured: Augmented) -> Any:
    return next(answer for answer in reviewed_augmentation(measured, str(item)).checklist if answer.item == item)


def test_answer_names_what_breaks_and_has_a_row_for_each_measure() -> None:
    bad = one(
        "RotScale", 1, kind="driving", yaw=43.0, reprojection=None, unjudged={"reprojection": "no images came back"}
    )
    whole = one("Compose", kind="driving", yaw=43.0)
    answer = answer_to(8, augmented(whole, one("Flip", 0, kind="driving"), bad, kind="driving"))
    assert answer.verdict is Verdict.FAIL
    assert answer.answer == (
        "Run under 16 seeds on synthetic driving scenes, 1 of 2 augmentations breaks labels and geometry: "
        "RotScale (box yaw)."
    )
    assert answer.table[0] == {
        "augmentation": "Compose", "measure": "box yaw", "verdict": "off", "worst": "43°", "accepted": "at most 1°",
        "seed": 7, "at": "object 3 (truck)",
    }  # fmt: skip
    assert [row["verdict"] for row in answer.table[:4]] == ["off", "off", "not judged", "fine"]
    assert answer.table[2]["reason"] == "no images came back"
    assert len(answer.table) == 3 * 8
    assert {row["measure"] for row in answer.table} == {
        "points in box", "box centre", "box size", "box yaw", "reprojection", "map", "still visible", "repeatability",
    }  # fmt: skip


def test_answer_says_that_all_agrees_and_what_was_left_open() -> None:
    answer = answer_to(8, augmented(one(kind="image", mask=None, unjudged={"mask": "…"}), kind="image"))
    assert answer.answer == (
        "Run under 16 seeds on synthetic images, it keeps labels and geometry consistent in all that was measured. "
        "Not judged: mask."
    )


def test_answer_says_that_nothing_was_put_to_the_test() -> None:
    assert answer_to(8, augmented(one(changed=False))).answer == (
        "Run under 16 seeds on synthetic sequences of driving scenes, every scene came back as it was, so nothing was "
        "put to the test."
    )


def test_answer_does_not_call_unchanged_what_did_not_come_back() -> None:
    lost = one(changed=False, unjudged={"centre": "the augmentation returned no points"})
    assert "what came back of every scene was as before, so nothing was put to the test" in (
        answer_to(8, augmented(lost)).answer
    )


def test_answer_says_why_nothing_was_measured() -> None:
    whole = Measured("Compose", None, failure="it returned None instead of a scene")
    assert answer_to(8, augmented(whole)).answer == (
        "The augmentation could not be measured: it returned None instead of a scene."
    )
