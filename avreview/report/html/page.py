"""The page as a whole: its head, what it is about, an index where there are several reviews, and each review."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources

from avreview.engine.review import Report, Severity, Verdict
from avreview.report.circumstances import circumstances
from avreview.report.html.augmentations import has_pictures
from avreview.report.html.markup import Markup, el, join, text
from avreview.report.html.parts import data_table, facts, heading, name, section, table, verdict_mark
from avreview.report.html.questions import glance
from avreview.report.html.review import PATH, Part, outcome, parts_of, path_of, title_of, whole_review
from avreview.report.html.room import Rooms, left_out, most_reviews, rooms
from avreview.report.html.runs import nested
from avreview.report.values import count, words

_LINES = 1000
_REASON = 600
_LED_TO = 60  # reviews in the table of contents; the index has all


def page(report: Report) -> str:
    """The whole page."""
    style, script = _shipped("style.css"), _shipped("script.js")
    drawn = report.reviews[: most_reviews()]
    if len(report.reviews) == 1:
        parts = [*parts_of(drawn[0], "r1", 2, rooms(1)), *_of_the_run(report, rooms(1))]
        top = join([outcome(drawn[0]), glance(drawn[0], "r1", 2)])
        main = [_unreadable(report), *(part.body for part in parts)]
    else:
        parts = [Part("All reviews", "index", _index(report, len(drawn))), *_of_the_run(report, rooms(1))]
        top = None
        reviews = [whole_review(review, f"r{place}", rooms(len(drawn))) for place, review in enumerate(drawn, 1)]
        main = [parts[0].body, _unreadable(report), *reviews, *(part.body for part in parts[1:])]
        led = [Part(text(title_of(review), 60), f"r{place}", Markup()) for place, review in enumerate(drawn, 1)]
        parts = [parts[0], *led[:_LED_TO], *parts[1:]]
    body = join([
        el("a", "Skip to the report", href="#report", class_="skip"),
        _masthead(report, top),
        _contents(parts),
        el("main", *main, id="report", tabindex=-1),
        el("footer", el("p", f"Written by avreview {report.version}. This page is complete in itself: "
                             "it loads nothing and sends nothing.")),
        el("script", script),
    ])  # fmt: skip
    return f"<!doctype html>\n{el('html', _head(report, style, script), el('body', body), lang='en')}\n"


def _head(report: Report, style: Markup, script: Markup) -> Markup:
    if len(report.reviews) == 1:
        title = f"{title_of(report.reviews[0])[:PATH]}: {words(report.reviews[0].verdict)} · avreview"
    else:
        title = f"{count(len(report.reviews), 'review')} · avreview"
    return el(
        "head",
        el("meta", charset="utf-8"),
        el(
            "meta",
            http_equiv="Content-Security-Policy",
            content=_policy(style, script, any(map(has_pictures, report.reviews))),
        ),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="referrer", content="no-referrer"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="generator", content=f"avreview {report.version}"),
        el("title", text(title, PATH)),
        el("style", style),
    )


def _shipped(file: str) -> Markup:
    """A style sheet or a script of this package, which is ASCII and holds no tag."""
    path = importlib.resources.files("avreview.report.html") / file
    return Markup(path.read_text(encoding="ascii"))


def _policy(style: str, script: str, pictures: bool) -> str:
    """Nothing is loaded from anywhere, and no style or script acts but the page's own two; images stand in the page."""
    images = "img-src data:; " if pictures else ""
    return (
        f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; {images}"
        "base-uri 'none'; form-action 'none'"
    )


def _digest(source: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(source.encode('ascii')).digest()).decode('ascii')}"


def _masthead(report: Report, top: Markup | None) -> Markup:
    if len(report.reviews) == 1:
        role = report.reviews[0].role
        about, kind = text(title_of(report.reviews[0]), PATH), f"Model review{f' · {role}' if role else ''}"
    else:
        about, kind = text(count(len(report.reviews), "review")), "Model reviews"
    told = [("avreview", text(report.version, 60)), ("rules", el("code", text(report.rules_digest, 100)))]
    made = facts(([("date", text(report.date, 40))] if report.date else []) + told, "made")
    return el("header", el("p", text(kind, PATH), class_="kind"), heading(1, about), top, made, class_="masthead")


def _contents(parts: list[Part]) -> Markup:
    links = [el("li", el("a", part.label, href=f"#{part.id}")) for part in parts]
    return el("nav", el("ul", *links), class_="contents", aria_label="Contents")


def _index(report: Report, drawn: int) -> Markup:
    """Every review in a line, with the way to each that is drawn."""
    lines = []
    for place, review in enumerate(report.reviews[:_LINES], 1):
        called = name(review.title or path_of(review), PATH)
        lead = el("a", called, href=f"#r{place}") if place <= drawn else called
        cells = (el("td", str(review.tally(severity)), class_="number") for severity in sorted(Severity, reverse=True))
        undecided = sum(entry.verdict is Verdict.NOT_ASSESSED for entry in review.rules)
        assessed = el("td", f"{len(review.rules) - undecided} of {len(review.rules)}", class_="number")
        lines.append(el("tr", el("th", lead, scope="row"), el("td", verdict_mark(review.verdict)), *cells, assessed))
    heads = [("Model", False), ("Verdict", False), ("Errors", True), ("Warnings", True), ("Notes", True),
             ("Rules assessed", True)]  # fmt: skip
    return section(
        2, "index", "All reviews", table("Every review of this run", heads, lines, hidden_caption=True),
        left_out(len(report.reviews) - drawn, "review", "reviews"),
    )  # fmt: skip


def _unreadable(report: Report) -> Markup | None:
    """What was asked for and could not be reviewed stands before all else: nothing is known of it."""
    if not report.unreadable:
        return None
    items = [
        el("li", el("p", name(path, PATH)), el("p", text(reason.removeprefix(f"{path}: "), _REASON)))
        for path, reason in report.unreadable[:_LINES]
    ]
    cut = left_out(len(report.unreadable) - len(items), "file")
    return section(2, "unreadable", "Could not be reviewed", el("ul", *items, class_="reasons"), cut)


def _of_the_run(report: Report, room: Rooms) -> list[Part]:
    """What holds for all reviews: waivers, settings, and what made the report."""
    parts = []
    if report.waivers:
        parts.append(Part("Waivers", "waivers", section(2, "waivers", "Waivers", _waivers(report))))
    if report.settings:
        body = section(2, "settings", "Settings", nested("Settings", report.settings, room.tables))
        parts.append(Part("Settings", "settings", body))
    told = [(label, text(words, _REASON)) for label, words in circumstances(report)]
    if told:
        read = [file._asdict() for file in report.configuration]
        table_of = data_table("Files that the configuration was read from", read, room.tables) if read else None
        body = section(2, "provenance", "How it was made", facts(told), table_of)
        parts.append(Part("How it was made", "provenance", body))
    return parts


def _waivers(report: Report) -> Markup:
    lines = [
        el(
            "tr",
            el("th", name(use.waiver.rule), scope="row"),
            el("td", name(use.waiver.module)),
            el("td", text(use.status.replace("-", " "), 40), class_="fixed"),
            el("td", str(use.findings), class_="number"),
            el("td", text(use.waiver.reason, _REASON), class_="reason"),
            el("td", text(use.waiver.owner, _REASON)),
            el("td", text(use.waiver.expires, 40), class_="fixed"),
            el("td", name(f"{use.waiver.file}:{use.waiver.line}", PATH)),
        )
        for use in report.waivers[:_LINES]
    ]
    heads = [(label, label == "Findings") for label in
             ("Rule", "Modules", "Status", "Findings", "Reason", "Owner", "Expires", "Written in")]  # fmt: skip
    shown = table("Accepted findings: by whom, why and until when", heads, lines)
    return join([shown, left_out(len(report.waivers) - len(lines), "waiver")])
