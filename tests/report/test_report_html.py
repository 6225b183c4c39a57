"""The HTML report: whole, inert whatever the names are, readable without a script, and usable by everyone."""

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import re
import time
from pathlib import Path
from typing import Any

import pytest
import report_sample as sample
from html_pages import Page, in_chromium, needs_chromium, page_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_report_hostile import HOSTILE, TEXT

from avreview.engine.review import (
    Answer,
    Location,
    Report,
    Review,
    RuleOutcome,
    Scalar,
    Severity,
    Verdict,
    Waiver,
    WaiverUse,
)
from avreview.report.escape import plain
from avreview.report.html import write

PACKAGE = Path(__file__).parents[2] / "avreview" / "report" / "html"
WAIVER = Waiver("AV304", "neck.*", "the runtime needs the bias", "perception", "2027-03-31", "waivers.yaml", 4)


def signal(variances: list[Any], **more: Any) -> dict[str, Any]:
    """What the signal probe hands over of a chain of layers."""
    layers = [
        {
            "module": f"encoder.{place}.fc", "node": f"/fc{place}", "kind": "Gemm", "variance": variance,
            "ratio": variance / variances[place - 1] if place and variances[place - 1] else None,
            "before": place - 1 if place else None, "units": 64,
        }
        for place, variance in enumerate(variances)
    ]  # fmt: skip
    path = {"layers": list(range(len(variances))), "ratio": 0.5, "trend": 0.5, "quartiles": [0.4, 0.6], "judged": True}
    return {
        "inputs": "8 synthetic samples", "samples": 8, "band": {"min": 0.55, "max": 1.3}, "layers": layers,
        "paths": [path], "activations": [], **more,
    }  # fmt: skip


def decay_answer() -> Answer:
    rows: list[dict[str, Scalar]] = [
        {"group": "group 0", "parameters": 3, "elements": 3000, "rate": 0.01, "decay": 0.05,
         "kinds": "2 convolution weights, 1 bias"},
        {"group": "group 1", "parameters": 2, "elements": 16, "rate": 0.01, "decay": 0.0,
         "kinds": "1 norm scale, 1 positions, queries or tokens"},
        {"group": "group 2", "parameters": 2, "elements": 16, "rate": 0.01, "decay": 0.0, "kinds": "2 biases"},
        {"group": "not optimized", "parameters": 1, "elements": 8, "rate": None, "decay": None, "kinds": "1 bias"},
    ]  # fmt: skip
    return Answer(6, "Weight decay", sample.QUESTIONS[6], Verdict.PASS, "3 of 7 parameters are decayed.", rows, 6, 8)


def rich_report() -> Report:
    """A report in which every section has something to say."""
    findings = [
        finding._replace(waived=WAIVER) if finding.location.module == "neck.lateral0.conv"
        else finding._replace(known=True) if finding.rule == "AV705" else finding
        for finding in sample.findings()
    ]  # fmt: skip
    checklist = [decay_answer() if answer.item == 6 else answer for answer in sample.checklist()]
    run = {"probe": "signal", "inputs": {"seed": 0, "arrays": [
        {"name": "image", "kind": "image", "dtype": "float32", "shape": [8, 3, 64, 64]}]}}  # fmt: skip
    evidence = {
        "probes": [run, {"probe": "repeat", "inputs": None, "reason": "the probe took longer than 300 s"}],
        "signal": signal([0.9 * 0.4**place for place in range(8)]),
        "gradients": {"layers": [{"layer": f"encoder.{n}.fc", "kind": "Linear", "variance": 1e-4 * 2**n}
                                 for n in range(4)], "statistics": "running"},
        "parity": {"reference": "ref.onnx", "outputs": [{"output": "boxes", "drift": 1e-5}]},
    }  # fmt: skip
    review = sample.full_review()._replace(
        findings=findings, checklist=checklist, evidence=evidence, title="bev detector", role="3D detection"
    )
    uses = [WaiverUse(WAIVER, "in-force", 1)]
    return Report("0.1.0", "sha256:" + "1f3c9a2b" * 8, [review], (), uses, {"fail_on": "error", "select": ["AV3"]})


REPORTS = {
    "full": sample.full_report(),
    "two": sample.two_reviews(),
    "rich": rich_report(),
    "hostile": sample.hostile_report("<b>x</b>"),
    "empty": Report("0.1.0", "sha256:0", []),
}


def assert_sound(page: Page) -> None:
    """Closed elements, unique ids, links within the page alone, and no attribute that acts or loads."""
    assert page.faults == []
    ids = set(page.ids)
    assert len(page.ids) == len(ids)
    assert len(page.raw["script"]) == len(page.raw["style"]) == 1
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"src", "style", "action", "srcset", "data", "srcdoc", "formaction", "ping"}, (tag, name)
            if name in {"href", "for", "aria-labelledby"}:
                assert value is not None
                assert value.removeprefix("#") in ids, (tag, name, value)
                assert name != "href" or value.startswith("#")


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_page_is_sound(report: Report) -> None:
    assert_sound(Page(page_of(report)))


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_same_report_gives_the_same_bytes(report: Report) -> None:
    assert page_of(report) == page_of(report)


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_policy_allows_the_two_shipped_texts_and_nothing_else(report: Report) -> None:
    page = Page(page_of(report))
    policy = next(meta["content"] or "" for meta in page.every("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for tag, file in (("style", "style.css"), ("script", "script.js")):
        (text,) = page.raw[tag]
        assert text == (PACKAGE / file).read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
        assert not re.search(r"https?:|//[a-z]|url\(|@import", text)


# --- names that are hostile ---

VOCABULARY = {tag for report in (REPORTS["rich"], REPORTS["two"]) for tag in Page(page_of(report)).tags}


def hostile_report(text: str) -> Report:
    """The sample's hostile report, with `text` also in what configurations, waivers and probes bring."""
    report = sample.hostile_report(text)
    waiver = Waiver(text, text, text, text, text, text, 1)
    given = signal([1.0, 0.5], inputs=text, activations=[{"module": text, "node": text, "kind": text}])
    for row in given["layers"]:
        row |= {"module": text, "node": text, "kind": text, "gradient": 1.0, "left_out": text}
    run = {"probe": text, "reason": text, "inputs": {
        "given": text, "arrays": [{"name": text, "kind": text, "dtype": text, "shape": [text]}]}}  # fmt: skip
    evidence = {
        "signal": given, "probes": [run], "gradients": {"layers": [{"layer": text, "variance": 1.0}], text: text},
        f"e{text}": {"outputs": [{text: text}], "nested": {text: {text: [{text: text}]}}},
    }  # fmt: skip
    rows: list[dict[str, Scalar]] = [{"group": text, "parameters": 1, "decay": None, "kinds": f"1 {text}"}]
    weights = decay_answer()._replace(question=text, title=text, answer=text, table=rows)
    review = report.reviews[0]
    review = review._replace(
        title=text, role=text, evidence=evidence, checklist=[*review.checklist, weights],
        findings=[review.findings[0]._replace(waived=waiver)],
    )  # fmt: skip
    uses = [WaiverUse(waiver, text, 1)]
    return report._replace(
        reviews=[review, *report.reviews], waivers=uses, settings={f"s{text}": {text: [{text: text}]}}
    )


def attributes_of(page: Page) -> set[tuple[str, str]]:
    return {(tag, name) for tag, attributes in page.elements for name in attributes}


ATTRIBUTES = set[tuple[str, str]]().union(*(attributes_of(Page(page_of(report))) for report in REPORTS.values()))


def assert_nothing_comes_from(text: str) -> None:
    report = hostile_report(text)
    alone = Page(page_of(report._replace(reviews=report.reviews[:1])))
    page = Page(page_of(report))
    assert_sound(alone)
    assert_sound(page)
    assert set(alone.tags) <= VOCABULARY
    assert set(page.tags) <= VOCABULARY
    assert attributes_of(page) <= ATTRIBUTES
    assert all(character.isprintable() or character == "\n" for character in page.text)
    labels = {"aria-label", "content"}  # plain words in both, whatever they are
    acting = [value for _, given in page.elements for name, value in given.items() if name not in labels and value]
    assert "<" not in "".join(acting)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_element_comes_from_a_name(text: str) -> None:
    assert_nothing_comes_from(text)


@settings(max_examples=80, deadline=None)
@given(text=st.one_of(TEXT, st.text(alphabet="<>&\"'`/=- \n.abcdio!\u202e\x00;#x", max_size=40)))
def test_no_element_comes_from_any_text(text: str) -> None:
    assert_nothing_comes_from(text)


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="<>&\"'/= abcdioscript;#", max_size=60))
def test_page_has_the_same_elements_whatever_a_name_is(text: str) -> None:
    name = f"neck{text}"  # never the same as another key or column of the sample
    named, usual = (Page(page_of(hostile_report(name))) for name in (name, "neck"))
    assert named.tags == usual.tags
    assert plain(name, 160) in named.text


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", '" onload="alert(1)', "</style>", "]]>-->"])
def test_what_breaks_out_elsewhere_is_text_here(text: str) -> None:
    page = Page(page_of(hostile_report(text)))
    assert_sound(page)
    assert plain(text) in page.text


def test_names_of_10_mb_are_cut() -> None:
    for name in ("backbone." + "x" * 10_000_000, "a." * 5_000_000, "<" * 10_000_000, "\x1b" * 10_000_000):
        began = time.perf_counter()
        written = page_of(hostile_report(name))
        assert len(written) < 900_000
        assert time.perf_counter() - began < 5
        assert_sound(Page(written))


def test_a_stream_of_another_encoding_gets_the_page_in_ascii() -> None:
    for encoding in ("ascii", "cp1252", "utf-8"):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
        write(hostile_report("Größe 車"), stream)
        stream.flush()
        assert "Größe 車" in Page(raw.getvalue().decode(encoding)).text


# --- what stands in it ---


def test_everything_of_the_report_can_be_read() -> None:
    report = rich_report()
    text = Page(page_of(report)).text
    review = report.reviews[0]
    told = [report.version, report.rules_digest, "bev detector", "3D detection", *review.limitations]
    told += [str(file[key]) for file in review.subject.values() for key in ("path", "sha256")]
    told += [words for answer in review.checklist for words in (answer.question, answer.answer)]
    told += [words for finding in review.findings for words in (finding.message, finding.rule, finding.fingerprint)]
    told += [outcome.rule for outcome in review.rules] + [outcome.reason for outcome in review.rules if outcome.reason]
    told += [
        "neck.bn1",
        "backbone.layer4.1.bn2",
        "waived until 2027-03-31",
        "In the baseline",
        "float32 8 × 3 × 64 × 64",
    ]
    told += ["the probe took longer than 300 s", "ref.onnx", "perception", "waivers.yaml:4", "fail_on"]
    missing = [words for words in told if " ".join(words.split()).lower() not in text.lower()]
    assert missing == []


def test_several_reviews_have_an_index_and_what_was_not_read_is_said() -> None:
    page = Page(page_of(sample.two_reviews()))
    links = [link["href"] for link in page.every("a")]
    assert {"#index", "#r1", "#r2"} <= set(links)
    assert "exports/cut-off.onnx" in page.text
    assert "the file ends in the middle of a tensor" in page.text
    assert page.text.index("Could not be reviewed") < page.text.index("Questions and answers")


def test_findings_are_told_apart_by_severity_question_and_status() -> None:
    page = Page(page_of(rich_report()))
    groups = [(group["data-severity"], group["data-item"]) for group in page.every("article", "group")]
    assert groups == [("error", "3"), ("error", "5"), ("warning", "7"), ("note", "3")]
    statuses = [finding["data-status"] for finding in page.every("div", "finding")]
    assert statuses == ["open", "open", "known", "waived", "open"]


def test_without_a_script_no_filter_is_shown_and_no_finding_is_hidden() -> None:
    page = Page(page_of(rich_report()))
    assert [form.get("hidden", "shown") for form in page.every("form")] == [None]
    assert [tag for tag, attributes in page.elements if "hidden" in attributes] == ["form"]


def test_a_review_without_findings_says_what_was_left_open() -> None:
    page = Page(page_of(Report("0.1.0", "sha256:0", [sample.clean_review()])))
    assert "No rule found anything; 1 of 2 rules could not be assessed." in page.text
    assert not page.every("form")


# --- the module tree ---


def review_of(answers: list[Answer], findings: list[Any] = [], rules: list[RuleOutcome] = []) -> Review:  # noqa: B006
    return Review({"model": {"path": "m.onnx"}}, Verdict.FAIL, answers, rules, findings)


def answered(verdict: Verdict, *layers: str) -> Answer:
    return Answer(3, "Batch statistics", sample.QUESTIONS[3], verdict, "…", [{"layer": name} for name in layers], 1, 1)


def tree_text(review: Review) -> str:
    text = Page(page_of(Report("0.1.0", "sha256:0", [review]))).text
    return text[text.index("named by findings and answers") : text.index("Written by avreview")]


def test_tree_tells_what_failed_from_what_was_looked_at_and_what_was_not() -> None:
    first = sample.findings()[0]._replace(also=[])
    failed = RuleOutcome("AV301", "x", 3, Verdict.FAIL)
    text = tree_text(review_of([answered(Verdict.FAIL, "neck.bn1", "neck.bn2")], [first], [failed]))
    assert "bn1✗ failAV301question 3" in text.replace(" ✗", "✗").replace("fail ", "fail").replace("AV301 ", "AV301")
    assert "bn2 ✓ no finding" in text
    assert "neck ✗ fail 1 of 2 modules" in text
    lower = RuleOutcome("AV301", "x", 3, Verdict.ATTENTION)
    assert "bn1 ! attention" in tree_text(review_of([], [first], [lower])).replace("neck.bn1", "bn1")
    assert "bn1 – accepted" in tree_text(review_of([], [first._replace(waived=WAIVER)], [failed]))
    assert "bn1 ? not assessed" in tree_text(review_of([answered(Verdict.NOT_ASSESSED, "neck.bn1")]))
    assert "no finding" not in tree_text(review_of([answered(Verdict.NOT_ASSESSED, "neck.bn1")]))


def test_tree_keeps_the_order_of_the_model_and_counts_numbers_as_numbers() -> None:
    text = tree_text(review_of([answered(Verdict.PASS, "stem.2.a", "stem.10.a", "stem.1.a", "head.z", "head.b")]))
    order = [text.index(name) for name in ("1.a", "2.a", "10.a", "head", "z ✓", "b ✓")]
    assert order == sorted(order)


def opened(*layers: str) -> list[bool]:
    page = Page(page_of(Report("0.1.0", "sha256:0", [review_of([answered(Verdict.PASS, *layers)])])))
    nodes = page.tags.index("footer")
    return ["open" in attributes for tag, attributes in page.elements[:nodes] if tag == "details"][1:]


def test_large_trees_are_folded_but_for_what_was_found_and_what_stands_alone() -> None:
    assert opened("a.x", "a.y", "b.x", "b.y") == [True, True]
    assert opened(*(f"m.{n // 9}.{n % 9}" for n in range(90))) == [True] + [False] * 10
    first = sample.findings()[0]._replace(also=[], location=Location("m", module="m.3.1"))
    answer = answered(Verdict.PASS, *(f"m.{n // 9}.{n % 9}" for n in range(90)))
    page = Page(page_of(Report("0.1.0", "sha256:0", [review_of([answer], [first])])))
    tree = [attributes for tag, attributes in page.elements if tag == "details"][-11:]
    assert ["open" in attributes for attributes in tree] == [True, *(n == 3 for n in range(10))]


def test_tree_links_to_findings_that_are_on_the_page() -> None:
    page = Page(page_of(sample.full_report()))
    assert {"#r1-AV301", "#r1-AV304", "#r1-AV502", "#r1-AV705"} <= {link["href"] for link in page.every("a")}


def test_deep_and_wide_trees_stay_small() -> None:
    deep = answered(Verdict.PASS, ".".join("a" * 400), "b." * 3000)
    wide = answered(Verdict.PASS, *(f"m{n}.x" for n in range(20_000)))
    for answer in (deep, wide):
        written = page_of(Report("0.1.0", "sha256:0", [review_of([answer])]))
        assert_sound(Page(written))
        assert len(written) < 1_500_000
    assert re.search(r"\d+ more modules are not shown", written)


# --- the pictures ---


def pictured(evidence: dict[str, Any], answers: list[Answer] | None = None) -> Page:
    review = review_of(answers or [])._replace(evidence=evidence)
    return Page(page_of(Report("0.1.0", "sha256:0", [review])))


def test_depth_plot_has_a_mark_for_each_layer_and_the_step_out_of_the_band_in_another_form() -> None:
    page = pictured({"signal": signal([1.0, 0.9, 0.1, 0.09])})
    assert len(page.every("circle", "within")) == 3 + 1  # one in the legend
    assert len(page.every("path", "outside")) == 1 + 1
    assert len(page.every("line", "step")) == 3
    assert len(page.every("polygon", "band")) == 1
    assert "layer 3, encoder.2.fc: variance 0.1, 0.1111 of the layer before" in page.text
    assert "from 1 at the first to 0.09 at the last" in page.text
    assert [row["scope"] for row in page.every("th")].count("row") >= 4  # the same in a table


def test_depth_plot_of_a_variance_that_falls_goes_down() -> None:
    page = pictured({"signal": signal([1.0, 0.1, 0.01, 0.001])})
    steps = [float(line["y2"] or 0) - float(line["y1"] or 0) for line in page.every("line", "step")]
    assert min(steps) > 0
    assert max(steps) - min(steps) < 0.3  # a logarithm: equal factors, equal steps


def test_depth_plot_takes_what_has_no_logarithm() -> None:
    for odd in (0.0, float("inf"), "inf"):
        given = signal([1.0, 0.5])
        given["layers"][1]["variance"] = odd
        page = pictured({"signal": given})
        assert len(page.every("line", "step")) == 1
        assert "A variance of 0 stands at the lower edge" in page.text
        assert "nan" not in " ".join(line["y2"] or "" for line in page.every("line", "step"))
    for none in (None, float("nan")):
        given = signal([1.0])
        given["layers"][0] |= {"variance": none, "left_out": "has another shape in each run"}
        page = pictured({"signal": given})
        assert "No variance could be measured." in page.text
        assert "has another shape in each run" in page.text


def test_gradients_stand_beside_the_signal() -> None:
    apart = pictured({"gradients": {"layers": [{"layer": f"fc{n}", "variance": 10.0**-n} for n in range(5)]}})
    assert "Gradients, backwards" in apart.text
    assert len(apart.every("line", "step")) == 4
    given = signal([1.0, 1.0, 1.0])
    for row in given["layers"]:
        row["gradient"] = 1e-3
    together = pictured({"signal": given})
    assert "Gradients, backwards" in together.text
    assert len(together.every("line", "step")) == 4
    assert "Gradients" not in pictured({"signal": signal([1.0, 1.0])}).text


def test_no_plot_without_a_signal() -> None:
    nothing: list[dict[str, Any]] = [{}, {"signal": {}}, {"signal": {"layers": []}}]
    for evidence in nothing:
        assert "Signal through depth" not in pictured(evidence).text


def test_decay_map_puts_parameters_together_by_their_decay() -> None:
    page = pictured({}, [decay_answer()])
    assert [figure["class"] for figure in page.every("figure")] == ["decayed", "free", "out"]
    assert "decay 0.05 3 parameters, 3,000 elements (98.7% of all)" in page.text
    assert "no decay 4 parameters, 32 elements" in page.text
    assert "no decay: 2 × bias, 1 × norm scale, 1 × position, query or token" in page.text
    bars = [svg["width"] for svg in page.every("svg") if svg.get("overflow") == "hidden"]
    assert bars[:2] == ["50.000%", "25.000%"]  # of the longest bar, which holds 4
    assert "Parameter groups of the optimizer" in page.text


def test_no_decay_map_without_groups() -> None:
    assert "Decay map" not in Page(page_of(sample.full_report())).text


# --- long reports ---


def test_thousands_of_findings_and_rows_stay_within_a_few_mb() -> None:
    first = sample.findings()[0]._replace(also=[])
    findings = [
        first._replace(rule=f"AV{300 + n % 9}", severity=Severity(1 + n % 3), location=Location("m", module=f"a.b{n}"))
        for n in range(9000)
    ]  # fmt: skip
    rows: list[dict[str, Any]] = [{"layer": f"layer{n}", "kind": "BatchNorm"} | {f"x{c}": n for c in range(30)}
                                  for n in range(20_000)]  # fmt: skip
    answer = Answer(3, "Batch statistics", sample.QUESTIONS[3], Verdict.FAIL, "…", rows, 1, 1)
    reasons = [RuleOutcome(f"AV{n}", "x", 3, Verdict.NOT_ASSESSED, f"reason {n}" * 50) for n in range(3000)]
    review = review_of([answer], findings, reasons)
    began = time.perf_counter()
    written = page_of(Report("0.1.0", "sha256:0", [review]))
    assert time.perf_counter() - began < 20
    assert len(written) < 4_500_000
    page = Page(written)
    assert_sound(page)
    shown = len(page.every("div", "finding"))
    assert shown > 500
    said = re.findall(r">(\d+) more findings? (?:of this rule )?(?:is|are) not shown", written)
    assert shown + sum(map(int, said)) == 9000
    assert f"{20_000 - 400} more rows are not shown" in page.text
    assert "more columns are not shown" in page.text
    groups = page.every("article", "group")
    assert groups[0]["data-severity"] == "error"
    assert {f"r1-AV{300 + n}" for n in range(9)} <= set(page.ids)  # no rule crowds out another


def test_hundreds_of_reviews_share_the_room() -> None:
    review = sample.full_review()
    written = page_of(Report("0.1.0", "sha256:0", [review] * 120))
    page = Page(written)
    assert_sound(page)
    assert len(written) < 12_000_000
    assert written.count("exports/bevfusion-r18.onnx") == 120 + 100  # the index has them all
    assert "20 more reviews are not shown" in page.text


# --- for everyone ---


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_headings_are_in_order(report: Report) -> None:
    levels = [int(tag[1]) for tag in Page(page_of(report)).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels


@pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)
def test_landmarks_tables_and_pictures_are_named(report: Report) -> None:
    page = Page(page_of(report))
    assert [page.tags.count(tag) for tag in ("main", "footer")] == [1, 1]
    assert page.elements[0] == ("html", {"lang": "en"})
    assert page.tags.count("caption") == page.tags.count("table")
    assert all(cell.get("scope") in ("col", "row") for cell in page.every("th"))
    labels = [nav["aria-label"] for nav in page.every("nav")]
    assert len(labels) == len(set(labels))
    for picture in page.every("svg"):
        assert picture.get("role") == "img" or picture.get("aria-hidden") == "true" or "width" not in picture
    assert page.every("a", "skip")[0]["href"] == "#report"


def test_no_verdict_and_no_severity_is_told_by_colour_alone() -> None:
    source = page_of(rich_report())
    for verdict in re.findall(r'<span class="verdict ([a-z-]+)">(.*?)</span></span>|', source):
        assert verdict == ("", "") or verdict[1]
    marks = re.findall(r'<span class="verdict [a-z-]+"><span aria-hidden="true">(.)</span> ([a-z ]+)</span>', source)
    assert len(marks) == source.count('class="verdict ') > 100
    assert {mark for mark, _ in marks} == {"✗", "!", "✓", "?", "–"}


def colours() -> dict[str, dict[str, str]]:
    style = (PACKAGE / "style.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    light, dark, printed = (dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return {"light": light, "dark": light | dark, "print": light | printed}


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_has_the_contrast_of_wcag_aa(theme: str) -> None:
    palette = colours()[theme]
    verdicts = ["fail", "attention", "pass", "not-assessed", "not-applicable"]
    pairs = [(ink, ground) for ink in ("ink", "quiet", "link", *verdicts) for ground in ("page", "sheet")]
    pairs += [("ink", "code"), ("quiet", "not-applicable-wash"), ("ink", "not-applicable-wash")]
    pairs += [(verdict, f"{verdict}-wash") for verdict in verdicts]
    pairs += [("ink", f"{kind}-{shade}") for kind in ("decay", "free") for shade in range(4)]
    for ink, ground in pairs:
        lighter, darker = sorted((luminance(palette[ink]), luminance(palette[ground])), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (ink, ground)


# --- in a browser ---


@needs_chromium
def test_script_runs_under_the_policy_and_shows_the_filters(tmp_path: Path) -> None:
    page = Page(in_chromium(page_of(rich_report()), tmp_path))
    assert "hidden" not in page.every("form")[0]
    assert "All 5 findings are shown." in page.text


FILTER = """
const form = document.querySelector("form.filters");
const say = () => { form.dispatchEvent(new Event("input")); return form.querySelector("output").textContent; };
const seen = () => Array.from(document.querySelectorAll(".finding")).filter(f => f.offsetParent).length;
const told = [];
form.elements.words.value = "NECK.BN3 negative"; told.push(say(), seen());
form.elements.words.value = ""; form.elements.question.value = "3"; told.push(say(), seen());
form.elements.question.value = ""; form.querySelector('[value="error"]').checked = false; told.push(say(), seen());
form.querySelector('[value="error"]').checked = true;
form.querySelector('[value="open"]').checked = false; told.push(say(), seen());
document.head.remove(); document.body.textContent = told.join("|");
"""


@needs_chromium
def test_filters_take_text_question_severity_and_status(tmp_path: Path) -> None:
    told = Page(in_chromium(page_of(rich_report()), tmp_path, script=FILTER)).text
    shown = "{} of 5 findings are shown.|{}".format
    assert told.strip() == "|".join([shown(1, 1), shown(3, 3), shown(3, 3), shown(2, 2)])


@needs_chromium
@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
@pytest.mark.parametrize("text", [None, "x" * 5000])
def test_page_is_no_wider_than_the_window(width: int, text: str | None, tmp_path: Path) -> None:
    report = rich_report() if text is None else sample.hostile_report(text)
    script = f"""
    document.querySelectorAll("details").forEach(part => part.open = true);
    const whole = document.documentElement.outerHTML.replace(/<script>[^]*?<\\/script>/g, "");
    document.body.innerHTML = `<iframe width={width} height=900 style="border: 0"></iframe>`;
    const frame = document.querySelector("iframe");
    const wide = () => frame.contentDocument.documentElement.scrollWidth;
    frame.onload = () => document.title = wide() + " of " + frame.clientWidth;
    frame.srcdoc = whole;
    """
    told = re.search(
        r"<title>(\d+) of (\d+)</title>", in_chromium(page_of(report), tmp_path, width=2000, script=script)
    )
    assert told is not None
    assert int(told[1]) <= int(told[2]) == width


@needs_chromium
def test_folded_evidence_is_open_while_it_is_printed(tmp_path: Path) -> None:
    script = """
    const open = () => document.querySelectorAll("details:not([open])").length;
    const told = [open() > 0];
    window.dispatchEvent(new Event("beforeprint")); told.push(open() === 0);
    window.dispatchEvent(new Event("afterprint")); told.push(open() > 0);
    document.head.remove(); document.body.textContent = told.join(" ");
    """
    assert Page(in_chromium(page_of(rich_report()), tmp_path, script=script)).text.strip() == "true true true"
