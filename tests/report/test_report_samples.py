"""Every sample model in every format, each read back by what reads that format."""

from __future__ import annotations

import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml
from github_sarif import problems
from test_report_markdown import assert_only_ours
from test_report_sarif import schema  # noqa: F401 - a fixture

from avreview.api import review
from avreview.engine.review import Report
from avreview.report import FORMATS, write
from avreview.report.schema import report_schema

ROOT = Path(__file__).parents[2]
SAMPLES = sorted((ROOT / "sample_models").glob("*.onnx"))


@pytest.fixture(scope="module")
def reviewed() -> Report:
    """All samples in one report, named as from the top of the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        report = review([path.relative_to(ROOT) for path in SAMPLES])
    assert len(report.reviews) == len(SAMPLES) > 20
    assert not report.unreadable
    return report


def written(report: Report, format: str) -> str:
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        write(report, format, stream)
    return stream.getvalue()


def _is_report(structure: object) -> None:
    jsonschema.Draft202012Validator(report_schema()).validate(structure)


def _is_junit(text: str) -> None:
    (suite,) = ElementTree.fromstring(text)
    assert int(suite.get("tests", "0")) > 60


def _is_annotations(text: str) -> None:
    *commands, closing = text.splitlines()
    assert all(line.startswith(("::error file=", "::warning file=", "::notice file=")) for line in commands)
    assert closing.startswith("avreview: sample_models/")


def _is_quality(text: str) -> None:
    issues = json.loads(text)
    assert all((ROOT / issue["location"]["path"]).is_file() for issue in issues)


def _is_page(text: str) -> None:
    assert text.lstrip().lower().startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")


def _is_terminal(text: str) -> None:
    assert text.startswith("avreview ")


READERS: Mapping[str, Callable[[str], object]] = {
    "terminal": _is_terminal,
    "yaml": lambda text: _is_report(yaml.safe_load(text)),
    "json": lambda text: _is_report(json.loads(text)),
    "sarif": lambda text: _no_problems(json.loads(text)),
    "junit": _is_junit,
    "github": _is_annotations,
    "gitlab": _is_quality,
    "markdown": assert_only_ours,
    "html": _is_page,
}


def _no_problems(log: Mapping[str, object]) -> None:
    assert problems(log) == []


@pytest.mark.parametrize("format", FORMATS)
def test_every_sample_can_be_read_back(reviewed: Report, format: str) -> None:
    for result in reviewed.reviews:
        text = written(reviewed._replace(reviews=[result]), format)
        READERS[format](text)
        place = result.findings[0].location.entity if result.findings else None
        if format != "html" and place:
            assert place in text, place


@pytest.mark.parametrize("most", [20, len(SAMPLES)])
def test_the_samples_obey_the_official_schema_and_github(reviewed: Report, schema: object, most: int) -> None:  # noqa: F811
    log = json.loads(written(reviewed._replace(reviews=reviewed.reviews[:most]), "sarif"))
    assert len(log["runs"]) == (20 if most == 20 else 1)
    assert problems(log) == []
    validator = jsonschema.Draft4Validator(schema)  # type: ignore[arg-type]
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(log)] == []
