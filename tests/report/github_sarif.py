"""What GitHub's code scanning asks of a SARIF log beyond the schema, as a list of what is wrong with one.

From its documentation, "SARIF support for code scanning", and from uploads that it refused: a result without a
physical location fails the whole file.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_SIZE = 10_000_000  # bytes, compressed
_TEXT = 1024  # characters of a description
_LEVELS = {"error", "warning", "note"}


def problems(log: Mapping[str, Any]) -> list[str]:
    """Every rule of GitHub's that the log breaks."""
    return [*_of_log(log), *(problem for run in log.get("runs", ()) for problem in _of_run(run))]


def _of_log(log: Mapping[str, Any]) -> Iterator[str]:
    if log.get("version") != "2.1.0" or "sarif" not in log.get("$schema", ""):
        yield "no version 2.1.0 or no $schema"
    if not 1 <= len(log.get("runs", ())) <= 20:
        yield f"{len(log.get('runs', ()))} runs"
    labels = [run.get("automationDetails", {}).get("id", "") for run in log.get("runs", ())]
    if len(set(labels)) < len(labels):
        yield f"two runs of one category: {labels}"
    if not all(re.fullmatch(r".+/", label) for label in labels):
        yield f"a run without a category: {labels}"
    if len(gzip.compress(json.dumps(log, indent=2).encode(), 6)) > _SIZE:
        yield "over 10 MB"


def _of_run(run: Mapping[str, Any]) -> Iterator[str]:
    driver = run["tool"]["driver"]
    rules = driver.get("rules")
    if not driver.get("name") or rules is None or len(rules) > 25_000:
        yield "no name of the tool, or no rules, or too many"
    ids = [rule.get("id") for rule in rules]
    if len(set(ids)) < len(ids):
        yield "a rule twice"
    for rule in rules:
        yield from _of_rule(rule)
    if len(run.get("results", [0] * 5001)) > 5000:
        yield "no results, or more than are kept"
    seen = set()
    for result in run["results"]:
        yield from _of_result(result, ids)
        place = result["locations"][0] if result.get("locations") else {}
        uri = place.get("physicalLocation", {}).get("artifactLocation", {}).get("uri")
        key = (result.get("ruleId"), uri, result.get("partialFingerprints", {}).get("primaryLocationLineHash"))
        if key in seen:
            yield f"two results that GitHub takes for one: {key}"
        seen.add(key)


def _of_rule(rule: Mapping[str, Any]) -> Iterator[str]:
    name = rule.get("id")
    if not 0 < len(rule.get("name", "x")) <= 255:
        yield f"{name}: the name is empty or too long"
    for key in ("shortDescription", "fullDescription"):
        if not 0 < len(rule.get(key, {}).get("text", "")) <= _TEXT:
            yield f"{name}: {key} is empty or too long"
    if not rule.get("help", {}).get("text"):
        yield f"{name}: no help.text"
    if rule.get("defaultConfiguration", {}).get("level") not in _LEVELS:
        yield f"{name}: no default level"
    properties = rule.get("properties", {})
    if len(properties.get("tags", ())) > 10:
        yield f"{name}: more tags than are kept"
    if properties.get("precision") not in {"very-high", "high", "medium", "low"}:
        yield f"{name}: no precision"
    if properties.get("problem.severity") not in {"error", "warning", "recommendation"}:
        yield f"{name}: no problem.severity"
    if ("security-severity" in properties) is not (name == "AV003"):
        yield f"{name}: security-severity is for unsafe pickles, and for nothing else"


def _of_result(result: Mapping[str, Any], ids: list[Any]) -> Iterator[str]:
    rule = result.get("ruleId")
    if rule not in ids or ids[result.get("ruleIndex", 0)] != rule:
        yield f"{rule}: not the rule at its index"
    if result.get("level") not in _LEVELS or result.get("kind", "fail") != "fail":
        yield f"{rule}: no level, or a kind that GitHub would show as an alert"
    if not result.get("message", {}).get("text"):
        yield f"{rule}: no message"
    if not result.get("partialFingerprints", {}).get("primaryLocationLineHash"):
        yield f"{rule}: no primaryLocationLineHash"
    if not 1 <= len(result.get("locations", ())) <= 10:
        yield f"{rule}: no location, or too many"
    if len(result.get("relatedLocations", ())) > 100:
        yield f"{rule}: too many related locations"
    for location in (*result.get("locations", ()), *result.get("relatedLocations", ())):
        physical = location.get("physicalLocation", {})
        uri = physical.get("artifactLocation", {}).get("uri", "")
        if not uri or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|/|\.\./", uri) or not re.fullmatch(r"[!-~]+", uri):
            yield f"{rule}: no relative URI but {uri!r}"
        region = physical.get("region", {})
        if not all(region.get(key, 0) >= 1 for key in ("startLine", "startColumn", "endLine", "endColumn")):
            yield f"{rule}: no whole region"
