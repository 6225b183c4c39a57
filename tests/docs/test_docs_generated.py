"""The generated pages: what the cards say, whole, and never stale."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docs_pages import ROOT

from avreview.engine.cards import Card, shipped

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(generate: Any) -> dict[Path, str]:
    found: dict[Path, str] = generate.pages(shipped())
    return found


def test_no_generated_page_is_stale(pages: dict[Path, str]) -> None:
    stale = [path.name for path, text in pages.items() if not path.exists() or path.read_text("utf-8") != text]
    left = set((DOCS / "rules").glob("*.md")) - pages.keys()
    assert not stale, "run `python docs/generate.py`"
    assert not left, "run `python docs/generate.py`"


def test_there_is_a_page_for_every_rule_and_the_index_links_to_it(pages: dict[Path, str]) -> None:
    index = pages[DOCS / "rules" / "README.md"]
    for card in shipped():
        name = f"{card.id}-{card.name}.md"
        assert pages[DOCS / "rules" / name].count(f"\n# {card.id} {card.name}\n") == 1
        assert f"({name}) | {card.severity} |" in index


@pytest.mark.parametrize("card", list(shipped()), ids=lambda card: card.id)
def test_a_page_says_all_that_the_card_says(card: Card, pages: dict[Path, str]) -> None:
    """Every word of the card is on its page, in its order, whatever the markup around it."""
    page = pages[DOCS / "rules" / f"{card.id}-{card.name}.md"]
    shown = words(re.sub(r"\]\([^)\s]+\)", "]", page))
    for text in (card.summary, card.why, card.decides, card.remedy, card.blind_spots, card.suppress_when):
        assert words(text) in shown
    for example in (card.bad, card.good):
        assert words(example) in shown
    for name, threshold in card.thresholds.items():
        assert f"| `{name}` | {threshold.value} " in page
        assert words(threshold.unit + threshold.meaning) in shown
    for reference in card.sources:
        source = shipped().cite(reference)
        assert words(source.title) in shown
        assert not source.url or f"]({source.url})" in page


def words(text: str) -> str:
    """Letters and digits alone: what escapes, links and tables leave as it is."""
    return re.sub(r"[\W_]+", "", text)


def test_every_part_of_a_page_is_known(generate: Any) -> None:
    parts = generate._parts(shipped())
    used = {
        name for path in DOCS.glob("*.md") for name in re.findall(r"<!-- generated: (.+?) -->", path.read_text("utf-8"))
    }
    assert used <= parts.keys()
    assert {f"rules of question {item}" for item in shipped().questions} <= used
    assert "configuration keys" in used
    for path in DOCS.glob("*.md"):
        text = path.read_text("utf-8")
        assert text.count("<!-- generated: ") == text.count("<!-- end -->"), path.name


# The command, on a copy


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__", "examples"))
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    shutil.copytree(ROOT / "avreview", tmp_path / "avreview", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(copy: Path, *options: str) -> tuple[int, list[str]]:
    ended = subprocess.run(
        [sys.executable, str(copy / "docs" / "generate.py"), *options], capture_output=True, text=True, cwd=copy
    )
    assert ended.stderr == ""
    return ended.returncode, ended.stdout.splitlines()


def test_what_is_stale_is_named_and_then_written(copy: Path) -> None:
    assert run(copy, "--check") == (0, [])
    card = copy / "rules" / "3-batch-statistics" / "AV301-batch-statistics-at-inference.yaml"
    card.write_text(card.read_text("utf-8").replace("severity: error", "severity: note"), encoding="utf-8")
    (copy / "rules" / "4-export" / "AV413-exported-in-training-mode.yaml").unlink()
    (copy / "docs" / "ci" / "gitlab.yml").write_text("job: {}\n", encoding="utf-8")
    code, said = run(copy, "--check")
    assert code == 1
    named = {line.partition(":")[0] for line in said[:-1]}
    assert {"docs/rules/README.md", "docs/questions.md", "docs/ci.md", f"docs/rules/{card.stem}.md"} <= named
    assert "docs/rules/AV413-exported-in-training-mode.md: stale" in said
    assert said[-1] == "run `python docs/generate.py`"
    page = copy / "docs" / "rules" / f"{card.stem}.md"
    assert "| severity | error |" in page.read_text("utf-8")  # --check writes nothing
    assert run(copy)[0] == 0
    assert "| severity | note |" in page.read_text("utf-8")
    assert not (copy / "docs" / "rules" / "AV413-exported-in-training-mode.md").exists()
    assert run(copy, "--check") == (0, [])


def test_an_unknown_part_is_said(copy: Path) -> None:
    page = copy / "docs" / "questions.md"
    page.write_text("<!-- generated: nothing of the kind -->\n<!-- end -->\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, str(copy / "docs" / "generate.py"), "--check"], capture_output=True, text=True, cwd=copy
    )
    assert ended.returncode == 1
    assert "docs/questions.md" in ended.stderr
    assert "nothing of the kind" in ended.stderr
    assert "Traceback" not in ended.stderr


# Markdown


def test_text_of_a_card_is_text_and_code_is_code(generate: Any) -> None:
    card = shipped()["AV301"]
    said = generate._inline("a <b>, x * y of `*args`, AV201 as `AV201`, AV301 and AV000", card, shipped())
    assert said == ("a \\<b\\>, x \\* y of `*args`, [AV201](AV201-never-trained-module.md) as `AV201`, AV301 and AV000")


def test_paragraphs_and_lists_stay_what_they_are(generate: Any) -> None:
    card = shipped()["AV301"]
    text = "First:\n- one\n  goes on\n- two\n\nLast, - not a list."
    assert generate._text(text, card, shipped()) == "First:\n\n- one goes on\n- two\n\nLast, - not a list."


def test_a_threshold_s_source_is_a_citation_or_words(generate: Any) -> None:
    card = shipped()["AV101"]
    cited = generate._source(card.thresholds["gain_relu"], card, shipped())
    assert cited.startswith("[Delving Deep into Rectifiers")
    assert generate._source(card.thresholds["max_gain_ratio"], card, shipped()).startswith("chosen: ")


def anchors(path: Path) -> set[str]:
    """The anchors that a forge gives the headings of a page."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_between_pages_leads_somewhere() -> None:
    followed = 0
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *DOCS.glob("rules/*.md")]:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", path.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("https://", "http://")):
                continue
            file, _, anchor = target.partition("#")
            page = (path.parent / file).resolve() if file else path
            assert page.exists(), f"{path.name}: {target}"
            assert not anchor or anchor in anchors(page), f"{path.name}: {target}"
            followed += 1
    assert followed > 300
