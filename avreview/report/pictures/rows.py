"""From the evidence of a review to its pictures: a row an augmentation, with what is off in its title."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from avreview.augment.kinds import KINDS, amount
from avreview.report.pictures import above, image
from avreview.report.pictures.reading import Seen, panels
from avreview.report.pictures.shapes import Circle, Key, Line, Panel, Row

_NAME = 120
_OFF = 4  # measures that a title names


def entries(evidence: Any) -> list[Mapping[str, Any]]:
    """The augmentations in the evidence `augmentations` of a review; none where it holds nothing of the kind."""
    listed = evidence.get("augmentations") if isinstance(evidence, Mapping) else None
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        return []
    return [entry for entry in listed if isinstance(entry, Mapping)]


def row_of(entry: Mapping[str, Any]) -> Row | None:
    """The picture of one augmentation; None where there is none."""
    seen = panels(entry.get("picture"))
    if not seen:
        return None
    if any(panel.kind == "bev" for panel in seen):  # the scene as it was is seen from above already
        seen = [panel for panel in seen if panel.kind == "bev" or panel.name == "after"]
    view = above.view_of([panel for panel in seen if panel.kind == "bev"])
    seed = entry["picture"].get("seed")
    drawn = [_panel(panel, view, seed) for panel in seen]
    return Row(
        str(entry.get("name", ""))[: 10 * _NAME], told(entry), entry.get("state") == "off", drawn, list(_legend(seen))
    )


def _panel(seen: Seen, view: above.View, seed: Any) -> Panel:
    when = f"after, seed {seed}" if seen.name == "after" and isinstance(seed, int) else seen.name
    if seen.kind == "bev":
        return above.panel_of(seen, view, f"from above, {when}")
    return image.panel_of(seen, f"image, {when}")


def _legend(seen: Sequence[Seen]) -> Iterator[Key]:
    """What the marks of these panels mean; each differs in form and not in colour alone."""
    above_, images = ([panel for panel in seen if panel.kind == kind] for kind in ("bev", "image"))
    if any(panel.labels for panel in above_):
        yield Key(above.arrow_between((2, 7), (22, 7), "label"), "velocity label, the way of one second")
    if any(panel.shown for panel in above_):
        yield Key(above.arrow_between((2, 7), (22, 7), "shown"), "velocity that the sweeps show")
        yield Key([Line([(2, 7), (22, 7)], "apart")], "the difference")
    if any(panel.boxes for panel in images):
        yield Key([Line([(2, 2), (22, 2), (22, 12), (2, 12)], "box-2d", closed=True)], "2-D box")
    if any(panel.hulls for panel in images):
        yield Key([Line([(2, 3), (20, 2), (22, 11), (3, 12)], "hull", closed=True)], "outline of what is to be seen")
    if any(panel.markers for panel in images):
        yield Key(image.cross(12, 7), "where labels and matrices put a point")
        yield Key([Circle((12, 7), 4.5, "found")], "where it was found")


def off(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The measures of an augmentation that are off."""
    measures = entry.get("measures")
    listed = measures if isinstance(measures, Sequence) and not isinstance(measures, str) else ()
    return [row for row in listed if isinstance(row, Mapping) and row.get("off") is True]


def told(entry: Mapping[str, Any]) -> str:
    """The words beside an augmentation's name on a picture."""
    lead = {"off": "off: ", "failed": "did not run: "}.get(str(entry.get("state")), "")
    return lead + ending(entry)


def ending(entry: Mapping[str, Any]) -> str:
    """What is off at its worst: `velocity 10.2 m/s (seed 7), box yaw 43° (seed 2)`; or how the augmentation ended."""
    wrong = off(entry)
    if wrong:
        more = f", and {len(wrong) - _OFF} more" if len(wrong) > _OFF else ""
        return ", ".join(map(_said, wrong[:_OFF])) + more
    ends = {
        "failed": str(entry.get("failure", "")),
        "not-judged": "nothing of it could be judged",
        "unchanged": "what came back of every scene was as before",
    }
    return ends.get(str(entry.get("state")), "all that was measured agrees")


def _said(row: Mapping[str, Any]) -> str:
    kind = KINDS.get(str(row.get("measure")))
    if kind is None:
        return str(row.get("measure"))[:_NAME]
    worst = row.get("worst")
    value = amount(worst, kind.unit) if isinstance(worst, int | float) else "no number"
    return f"{kind.title} {value} (seed {str(row.get('seed'))[:20]})"
