"""What reports say and draw of measured augmentations: evidence, pages, tables, files; right, bounded and inert."""

from __future__ import annotations

import base64
import io
import json
import re
import xml.etree.ElementTree as ET
import zlib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from html_pages import Page, in_chromium, needs_chromium, page_of
from measured_samples import augmented, one, picture, png
from test_report_hostile import HOSTILE
from test_report_html import PACKAGE

from avreview.augment.drawing import write_pictures
from avreview.augment.evidence import evidence_of
from avreview.augment.judged import rules_limits
from avreview.augment.kinds import KINDS
from avreview.augment.model import Augmented, Measured
from avreview.desk import review_artifact
from avreview.engine.cards import catalogue
from avreview.engine.policy import Policy, select_rules
from avreview.engine.review import Report, Review
from avreview.errors import UsageError
from avreview.facts.subject import Companions
from avreview.report import json_format, markdown, terminal, yaml_format
from avreview.report.pictures import above
from avreview.report.pictures.pixels import sound
from avreview.report.pictures.reading import panels
from avreview.report.pictures.rows import row_of
from avreview.report.pictures.shapes import COLOURS, STYLES, Line
from avreview.report.pictures.vector import row_svg
from avreview.report.schema import report_schema

WORDS = "velocity was not rotated"


def measured(**members: Any) -> Augmented:
    """A pipeline of two, the second of which leaves velocities as they were."""
    wrong: dict[str, Any] = {"velocity": 10.2, "words": WORDS, "picture": picture(labels_turned=False, shift=35.0)}
    fine = one("RandomFlip3D", 0, picture=picture(turned=0.3))
    return augmented(one("Compose", **wrong), fine, one("GlobalRotScale", 1, **wrong), **members)


def review_of(given: Augmented) -> Review:
    policy = Policy(select_rules(catalogue(), ["8", "9"], ()))
    return review_artifact(None, policy, Companions(augmented=given), title=given.target)


def report_of(given: Augmented) -> Report:
    return Report("0.1.0", "sha256:" + "0" * 64, [review_of(given)])


def written(format_: Any, report: Report) -> str:
    stream = io.StringIO()
    format_.write(report, stream)
    return stream.getvalue()


# --- the evidence ---


def test_evidence_holds_every_measure_at_its_worst_with_its_limit() -> None:
    evidence = evidence_of(measured(), rules_limits())
    assert [(entry["name"], entry["place"], entry["state"]) for entry in evidence["augmentations"]] == [
        ("Compose", None, "off"), ("RandomFlip3D", 0, "fine"), ("GlobalRotScale", 1, "off")]  # fmt: skip
    rows = {row["measure"]: row for row in evidence["augmentations"][2]["measures"]}
    assert rows["velocity"] == {
        "measure": "velocity", "rule": "AV901", "worst": 10.2, "limit": 0.1, "unit": "m/s", "off": True, "seed": 7,
        "at": "object 3 (truck)", "samples": 3, "samples_off": 1, "words": WORDS,
    }  # fmt: skip
    assert not rows["centre"]["off"]
    assert "words" not in rows["centre"]


@pytest.mark.parametrize(
    ("given", "state"),
    [
        (one(), "fine"),
        (one(yaw=2.0), "off"),
        (one(changed=False), "unchanged"),
        (Measured("x", None, unjudged={"iou_2d": "a mosaic"}), "not-judged"),
        (Measured("x", None, failure="it returned None"), "failed"),
    ],
)
def test_evidence_tells_how_an_augmentation_ended(given: Measured, state: str) -> None:
    assert evidence_of(augmented(given), rules_limits())["augmentations"][0]["state"] == state


def test_json_report_follows_its_schema_and_keeps_a_list_of_points_in_a_line() -> None:
    failing = augmented(
        one("A", unjudged={"map": "…"}), Measured("B", 0, failure="it raised"), one("C", 1, ego=float("nan"))
    )
    for given in (measured(), failing):
        report = json.loads(written(json_format, report_of(given)))
        jsonschema.Draft202012Validator(report_schema()).validate(report)
    text = written(json_format, report_of(measured()))
    assert len(text.splitlines()) < 2500
    panel = json.loads(text)["reviews"][0]["evidence"]["augmentations"]["augmentations"][0]["picture"]["panels"][0]
    assert re.fullmatch(r"(-?[\d.]+,-?[\d.]+ ?)+", panel["points"])
    assert len(panel["points"].split()) == len(picture()["panels"][0]["points"])
    assert written(yaml_format, report_of(measured())).count("\n") < 1500


def test_every_measure_of_a_kind_names_a_threshold_of_its_card() -> None:
    for name, kind in KINDS.items():
        assert not kind.limit or getattr(rules_limits()(kind.rule), kind.limit) >= 0, name
        assert kind.says.format(value="1 m", at="object 3"), name


# --- what is drawn ---


def drawn(given: Measured) -> Any:
    (entry,) = evidence_of(augmented(given), rules_limits())["augmentations"]
    return row_of(entry)


def test_row_shows_the_scene_before_and_after_and_the_image_with_what_is_off_in_its_title() -> None:
    row = drawn(one("RotScale", velocity=10.2, yaw=3.0, picture=picture()))
    assert [panel.title for panel in row.panels] == [
        "from above, before",
        "from above, after, seed 7",
        "image, after, seed 7",
    ]
    assert row.told == "off: box yaw 3° (seed 7), velocity 10.2 m/s (seed 7)"
    assert row.off


def test_forward_is_up_and_left_is_left_and_yaw_turns_counter_clockwise() -> None:
    view = above.View(10.0)
    middle = view.at(0, 0)
    assert view.at(5, 0)[1] < middle[1]
    assert view.at(0, 5)[0] < middle[0]
    box = {"kind": "bev", "name": "after", "boxes": [[0, 0, 4, 2, 0.5]]}
    (seen,) = panels(
        evidence_of(augmented(one(picture={"panels": [box]})), rules_limits())["augmentations"][0]["picture"]
    )
    shapes = above.panel_of(seen, view, "x").shapes
    lines = [shape for shape in shapes if isinstance(shape, Line) and shape.style == "box"]
    start, front = lines[1].points
    assert front[1] < start[1]  # ahead
    assert front[0] < start[0]  # and to the left


def test_velocity_labels_are_joined_to_what_is_shown_where_they_differ() -> None:
    def apart(labels_turned: bool) -> int:
        row = drawn(one(picture=picture(labels_turned=labels_turned)))
        return sum(getattr(shape, "style", "") == "apart" for shape in row.panels[1].shapes)

    assert (apart(True), apart(False)) == (0, 6)
    row = drawn(one(picture=picture(labels_turned=False)))
    assert "velocity labels and the velocities shown differ by up to 5.32 m/s" in row.panels[1].says
    assert "differ by up to 0 m/s" in row.panels[0].says


def test_a_velocity_shown_is_paired_with_the_label_at_its_place_whatever_the_order() -> None:
    given = picture()
    after = given["panels"][1]
    after["shown"] = after["shown"][::-1][:4]
    row = drawn(one(picture=given))
    assert not [shape for shape in row.panels[1].shapes if getattr(shape, "style", "") == "apart"]


def test_markers_are_joined_to_their_labels() -> None:
    image = drawn(one(picture=picture(shift=35.0))).panels[2]
    styles = [getattr(shape, "style", "") for shape in image.shapes]
    assert (styles.count("error"), styles.count("found"), styles.count("put")) == (6, 6, 12)
    assert "6 markers, up to 35 px from where the labels put it" in image.says


def test_what_flew_off_is_told_and_does_not_shrink_the_rest() -> None:
    given = picture()
    given["panels"][1]["boxes"][0][0] = 90_000.0
    row = drawn(one(picture=given))
    assert "1 box outside the picture" in row.panels[1].says
    assert row.panels[0] == drawn(one(picture=picture())).panels[0]


# --- the page ---


def test_page_has_a_section_in_which_what_is_off_is_unfolded() -> None:
    page = Page(page_of(report_of(measured())))
    assert page.faults == []
    folded = page.every("details", "augmentation")
    assert ["open" in attributes for attributes in folded] == [True, False, True]
    assert "GlobalRotScale ✗ off velocity 10.2 m/s (seed 7)" in page.text
    assert len(page.every("svg", "panel")) == 9
    assert len(page.every("image")) == 3
    assert "What the augmentations did" in page.text
    assert WORDS in page.text


def test_images_stand_in_the_page_and_its_policy_allows_no_others() -> None:
    page = Page(page_of(report_of(measured())))
    policy = next(meta["content"] or "" for meta in page.every("meta") if meta.get("http-equiv"))
    assert "img-src data:; " in policy
    assert "default-src 'none'; " in policy
    for tag, attributes in page.elements:
        assert not {"src", "style", "srcset", "onload"} & attributes.keys(), tag
        if tag == "image":
            assert re.fullmatch(r"data:image/png;base64,[A-Za-z0-9+/]+=*", attributes["href"] or "")
    bare = Page(page_of(report_of(augmented(one()))))
    assert "img-src" not in str(bare.every("meta"))


def test_pictures_have_words_for_those_who_do_not_see_them() -> None:
    page = Page(page_of(report_of(measured())))
    titles = [text for text in page.pieces if text.startswith(("from above, ", "image, "))]
    assert sum(": " in title for title in titles) == 9
    assert all(svg.get("role") == "img" for svg in page.every("svg", "panel"))


def test_page_without_an_augmentation_has_no_such_section() -> None:
    report = report_of(measured())
    report = report._replace(reviews=[report.reviews[0]._replace(evidence={})])
    assert "What the augmentations did" not in page_of(report)


def test_style_sheet_knows_every_style_in_the_colours_of_the_files() -> None:
    style = (PACKAGE / "style.css").read_text("utf-8")
    roots = [
        re.search(pattern, style, re.DOTALL) for pattern in (r":root \{(.*?)\n\}", r"dark\) \{\n  :root \{(.*?)\n  \}")
    ]
    for name in STYLES:
        assert re.search(rf"\.p-{name}\b[^}}]*\}}", style), name
    names = {"label": "series", "wrong": "fail"}
    for colour in ("sheet", "ink", "quiet", "line", "points", "label", "shown", "wrong"):
        for theme, root in enumerate(roots):
            assert root is not None
            assert f"--{names.get(colour, colour)}: {COLOURS[colour][theme]};" in root[1], (colour, theme)


# --- what is hostile ---


NAMES = ("bidi", "surrogate", "null", "github", "azure", "yaml", "html", "quotes", "empty", "noncharacter")


def hostile(text: str) -> Augmented:
    given = picture()
    given["measure"] = text
    for panel in given["panels"]:
        panel["name"] = text
        panel[text] = text
    given["panels"].append({"kind": text, "name": text, "points": [[text, text], text, [[text]]]})
    return augmented(
        one(text, velocity=9.0, words=text, culprit=text, unjudged={text: text, "map": text}, picture=given),
        Measured(text, 0, failure=text), one(text, 1, picture={"panels": text}),
        notes=[text], files={text: text},
    )._replace(kind=text, adapter=text, libraries={text: text})  # fmt: skip


@pytest.mark.parametrize(
    "text", [*(HOSTILE[name] for name in NAMES), '"></title><script>alert(1)</script>', "x" * 100_000]
)
def test_no_element_comes_from_what_an_augmentation_says(text: str) -> None:
    usual, named = (Page(page_of(report_of(hostile(name)))) for name in ("usual", text))
    assert named.faults == []
    assert set(named.tags) <= set(usual.tags)
    assert len(named.raw["script"]) == 1
    assert all(character.isprintable() or character == "\n" for character in named.text)
    jsonschema.Draft202012Validator(report_schema()).validate(
        json.loads(written(json_format, report_of(hostile(text))))
    )
    svg = row_svg(
        [row for entry in evidence_of(hostile(text), rules_limits())["augmentations"] if (row := row_of(entry))]
    )
    assert {element.tag.rpartition("}")[2] for element in ET.fromstring(svg).iter()} <= {
        "svg", "style", "rect", "text", "tspan", "title", "path", "polygon", "polyline", "circle", "image"}  # fmt: skip
    assert written(markdown, report_of(hostile(text)))


def test_pictures_are_bounded_whatever_is_in_them() -> None:
    given = picture()
    panel = given["panels"][1]
    panel["points"] = [[n * 0.01, 1.0] for n in range(100_000)]
    panel["boxes"] = [[1e300, 1, 2, 3, 4], [float("nan")] * 5, [1, 2], ["a"] * 5, 7, None] * 1000
    panel["labels"] = [[0, 0, float("inf"), 1]] * 5000
    given["panels"][2]["hulls"] = [[[1.0, 1.0]] * 10_000] * 100
    given["panels"] = given["panels"] * 30
    page = page_of(report_of(augmented(one(yaw=9.0, picture=given))))
    assert Page(page).faults == []
    assert len(page) < 700_000
    assert len(Page(page).every("svg", "panel")) <= 4


def spoiled(change: Any) -> str:
    raw = bytearray(base64.b64decode(png(8, 6)))
    return base64.b64encode(bytes(change(raw))).decode()


@pytest.mark.parametrize(
    "text",
    [
        "", "?" * 40, None, 7, base64.b64encode(b"<svg onload='alert(1)'/>").decode(), spoiled(lambda raw: raw[:40]),
        spoiled(lambda raw: raw.replace(b"\x00\x00\x00\x06", b"\x00\x00\x00\x09", 1)), png(2000, 4),
        spoiled(lambda raw: raw[:24] + b"\x10" + raw[25:]), spoiled(lambda raw: raw.replace(b"IDAT", b"IDOT")),
    ],
)  # fmt: skip
def test_what_is_no_plain_png_is_not_shown(text: Any) -> None:
    assert sound(text) is None


def test_of_a_png_only_size_and_pixels_are_kept() -> None:
    raw = base64.b64decode(png(8, 6))
    note = b"tEXtComment\0<script>"
    chunk = (len(note) - 4).to_bytes(4, "big") + note + zlib.crc32(note).to_bytes(4, "big")
    found = sound(base64.b64encode(raw[:33] + chunk + raw[33:]).decode())
    assert found is not None
    assert (found.width, found.height) == (8, 6)
    assert found.data == raw


def test_a_png_that_unpacks_to_more_than_it_states_is_not_shown() -> None:
    bomb = zlib.compress(bytes(50_000_000))
    raw = base64.b64decode(png(8, 6))
    held = b"IDAT" + bomb
    chunk = len(bomb).to_bytes(4, "big") + held + zlib.crc32(held).to_bytes(4, "big")
    assert sound(base64.b64encode(raw[:33] + chunk + raw[-12:]).decode()) is None


def test_a_page_has_room_for_so_many_pictures_and_says_how_many_it_left_out() -> None:
    given = picture()
    given["panels"][2]["png"] = base64.b64encode(_large()).decode()
    members = [one(f"Member{n}", n, picture=given, yaw=9.0 if n == 8 else 0.4) for n in range(9)]
    page = page_of(report_of(augmented(one("Compose", yaw=9.0), *members)))
    assert len(page) < 8_000_000
    left = re.search(r"(\d+) more pictures are not shown here", page)
    assert left is not None
    assert Page(page).tags.count("image") == 9 - int(left[1])
    assert "<image" in page[page.index("Member8") :]  # what is off has room before all else


def _large() -> bytes:
    """A sound PNG of 640 by 384 pixels that pack badly."""
    import random
    import struct

    rng = random.Random(0)
    raw = b"".join(b"\0" + rng.randbytes(640 * 3) for _ in range(384))
    whole = base64.b64decode(png(640, 384))
    body = b"IDAT" + zlib.compress(raw, 1)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return whole[:33] + chunk + whole[-12:]


# --- words and files ---


def test_markdown_has_a_table_of_the_augmentations() -> None:
    text = written(markdown, report_of(measured()))
    assert "| ✗ | GlobalRotScale | velocity 10.2 m/s (seed 7) |" in text
    assert "| ✓ | RandomFlip3D | all that was measured agrees |" in text


def test_terminal_has_a_line_for_each() -> None:
    stream = io.StringIO()
    given = augmented(one("A", yaw=9.0), one("B", 0, changed=False), Measured("C", 1, failure="it raised ValueError"))
    terminal.write(report_of(given), stream, width=120, color="never")
    text = stream.getvalue()
    assert "✗  A: box yaw 9° (seed 7)" in text
    assert "?  B: changed nothing: what came back of every scene was as before" in text
    assert "?  C: did not run: it raised ValueError" in text


def test_files_hold_one_picture_each(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    written = write_pictures(measured(), tmp_path / "pictures")
    assert [path.name for path in written] == ["00-Compose.png", "01-RandomFlip3D.png", "02-GlobalRotScale.png"]
    with image.open(written[2]) as drawn:
        assert drawn.width > 2 * drawn.height
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 24)}
    wanted = [COLOURS[name][0] for name in ("label", "shown", "wrong", "cyan", "yellow", "ink")]
    assert {tuple(bytes.fromhex(colour[1:])) for colour in wanted} <= colours


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "\x1b[2J", "", "." * 300])
def test_names_of_files_come_from_letters_alone(name: str, tmp_path: Path) -> None:
    pytest.importorskip("PIL.Image")
    (path,) = write_pictures(augmented(one(name, picture=picture())), tmp_path)
    assert path.parent == tmp_path
    assert re.fullmatch(r"00-[A-Za-z0-9_-]{1,60}\.png", path.name)


def test_without_pillow_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(
        UsageError, match=r"pictures as PNG need Pillow; install it with `pip install avreview\[pictures\]`"
    ):
        write_pictures(measured(), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_svg_file_stands_alone_in_both_colourings() -> None:
    entries = evidence_of(measured(), rules_limits())["augmentations"]
    svg = row_svg([row for entry in entries if (row := row_of(entry)) is not None])
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in svg
    assert len([element for element in root.iter() if element.get("class") == "panel"]) == 9


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_page_does_not_scroll_sideways_and_its_images_load(width: int, tmp_path: Path) -> None:
    script = """
      document.title = [
        document.documentElement.scrollWidth <= window.innerWidth,
        Array.from(document.querySelectorAll('details[open] .panel')).every(p => p.getBoundingClientRect().width > 150),
        document.querySelectorAll('image').length].join(' ');
    """
    dom = in_chromium(page_of(report_of(measured())), tmp_path, width=width, script=script)
    assert re.search(r"<title>(.*?)</title>", dom)[1] == "true true 3"  # type: ignore[index]
