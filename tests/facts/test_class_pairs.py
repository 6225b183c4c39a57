from __future__ import annotations

import time

import pytest

from avreview.facts.class_pairs import sided_classes


def sided(*names: str) -> list[str]:
    return [entry.name for entry in sided_classes(names)]


@pytest.mark.parametrize(
    "name",
    [
        "turn_left", "Turn Right", "left-turn-signal", "arrow_left", "traffic_light_left", "LeftArrow", "noLeftTurn",
        "turnleft", "keepright", "leftturn", "lane right of ego", "straight_or_right", "RIGHT", "rightlane",
        "front_left_wheel", "左转", "giro_izquierda",
    ],
)  # fmt: skip
def test_a_name_that_tells_its_side(name: str) -> None:
    assert sided("car", name) == [name]


@pytest.mark.parametrize(
    "name",
    [
        "bright", "upright_object", "left_over", "leftover", "left behind", "right_of_way", "right-angle", "copyright",
        "cleft", "fright", "left_or_right", "forward", "arrow", "links", "l", "r3", "clockwise", "playwright",
    ],
)  # fmt: skip
def test_a_name_that_tells_none(name: str) -> None:
    assert sided("car", name) == []


@pytest.mark.parametrize(
    "pair",
    [
        ("turn_left", "turn_right"), ("lamp_l", "lamp_r"), ("L", "R"), ("pfeil_links", "pfeil_rechts"),
        ("virage à gauche", "virage à droite"), ("roundabout-cw", "roundabout-ccw"), ("turn left", "TurnRight"),
    ],
)  # fmt: skip
def test_two_names_that_differ_by_the_side_alone(pair: tuple[str, str]) -> None:
    found = sided_classes(["car", *pair])
    assert [(entry.name, entry.mirrored) for entry in found] == [pair, pair[::-1]]


def test_long_and_many_names_take_no_time() -> None:
    begun = time.monotonic()
    names = ["up" * 5000 + "left", "turn" * 3000, "left_" * 3000] + [f"class_{number}" for number in range(30_000)]
    sided_classes(names)
    assert time.monotonic() - begun < 5
