"""Every command that the documentation shows is run, page by page, as somebody would who follows it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from docs_pages import PAGES, ROOT, Command, File, Reader, commands, expected, steps

from avreview.api import review
from avreview.cli.main import app
from avreview.engine.cards import shipped
from avreview.probes.request import PROBES, ProbeRequest


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


FIRST_STEPS = "docs/getting-started.md"
RUN = [name for name in PAGES if any(isinstance(step, Command) for step in steps(read(name)))]


@pytest.mark.parametrize("name", [name for name in RUN if name != FIRST_STEPS])
def test_a_page_can_be_followed_to_its_end(name: str, tmp_path: Path) -> None:
    assert Reader(tmp_path).follow(read(name))


def test_the_first_steps_stop_a_broken_model_with_the_right_annotation(tmp_path: Path) -> None:
    """The newcomer's path: configure two models, waive one finding, break a model, see the pull request fail."""
    printed = Reader(tmp_path).follow(read(FIRST_STEPS))
    checks = [line for line in printed if "avreview check" in line]
    assert len(checks) == 4  # a check that is run twice is one entry
    expired = next(out for line, out in printed.items() if line.startswith("SOURCE_DATE_EPOCH"))
    assert "AV306 norm-hides-absolute-scale" in expired
    annotations = printed["avreview check --format github"].splitlines()
    first = annotations[0]
    assert first.startswith(
        "::error file=models/lanes.onnx,title=AV701 dropout-active-at-inference::1 dropout still drops"
    )
    assert "Where: module head.dropout" in first
    assert not [line for line in annotations if "AV306" in line]  # it is waived


def test_pages_that_show_commands_are_run() -> None:
    """`avreview …` in a block of another language would be shown and never run."""
    assert {"README.md", FIRST_STEPS, "docs/configuration.md", "docs/probes.md", "docs/ci.md"} <= set(RUN)
    for name in PAGES:
        for language, body in re.findall(r"^```(\w*)\n(.*?)^```$", read(name), re.MULTILINE | re.DOTALL):
            shown = [line for line in body.splitlines() if re.match(r"(\.venv/bin/)?avreview [a-z]", line)]
            usage = [line for line in shown if "[" in line]
            assert language in ("sh", "text") or shown == usage, f"{name}: {shown}"


# The follower itself: what it overlooks would pass for followed


def test_a_page_is_read_as_files_commands_and_what_they_print() -> None:
    page = (
        "Write `a/b.yaml`:\n\n```yaml\nx: 1\n```\n\n"
        "```sh\npython3 -m venv .venv && .venv/bin/pip install . && .venv/bin/avreview check x.onnx\n"
        "avreview check \\\n  y.onnx     # ends with 1\npip install x\n```\n\n```text\nfail: …\n```\n"
    )
    assert steps(page) == [
        File("a/b.yaml", "x: 1\n"),
        Command("avreview check x.onnx", 0),
        Command("avreview check y.onnx", 1, "fail: …\n"),
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("avreview check sample_models/lane_head.onnx     # ends with 1", "ended with 0 instead of 1"),
        ("avreview check sample_models/nothing.onnx", "ended with 2 instead of 0"),
        ("avreview check --no-such-option     # ends with 1", "ended with 2 instead of 1"),
        ("false | cat", "ended with 1 instead of 0"),
    ],
)
def test_a_command_that_ends_otherwise_fails(line: str, fault: str, tmp_path: Path) -> None:
    (command,) = commands(line)
    with pytest.raises(AssertionError, match=fault):
        Reader(tmp_path).run(command)


def test_a_text_that_is_not_printed_fails(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="is not printed by"):
        Reader(tmp_path).run(Command("echo one", 0, "two\n"))
    assert re.search(expected("one … three\n"), "zero\none two   three", re.DOTALL)


# What the pages say is so


def test_the_page_on_probes_has_each_with_its_rules() -> None:
    """The rules that each probe decides, as reviews say it that lack one probe."""
    rows = re.findall(r"^\| `(\w+)` \|.*?\| ((?:AV\d{3}(?:, )?)+) \|", read("docs/probes.md"), re.MULTILINE)
    told = {probe: set(rules.split(", ")) for probe, rules in rows}
    assert told.keys() == PROBES.keys()
    model = ROOT / "sample_models" / "camera_bev_detector_unfolded.onnx"
    others = {"repeat": ["levels"], "levels": ["repeat"]}
    found: dict[str, set[str]] = {}
    for asked in ("repeat", "levels"):
        (entry,) = review([model], probes=ProbeRequest(frozenset(others[asked]), seconds=60)).reviews
        for outcome in entry.rules:
            wanted = re.search(r"pass --probe=(\w+), or --probe", outcome.reason or "")
            if wanted:
                found.setdefault(wanted[1], set()).add(outcome.rule)
    # A rule that a file decides as well is not assessed for want of a run only where the file does not.
    assert all(rules <= told[probe] for probe, rules in found.items())
    assert found.keys() == told.keys()


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("docs/")])
def test_every_option_and_rule_that_a_page_names_exists(name: str) -> None:
    tree: Any = typer.main.get_command(app)
    known = {"--version", "--help"}
    for command in tree.commands.values():
        known |= {option for part in command.params for option in (*part.opts, *part.secondary_opts)}
    text = re.sub(r"git init --quiet|generate\.py --check|pip install.*", "", read(name))
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known
    assert set(re.findall(r"\bAV\d{3}\b", text)) - {"AV999"} <= shipped().cards.keys()
