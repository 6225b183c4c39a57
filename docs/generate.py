"""Writes the pages of docs/ that say what the rule cards and the schema say: one a rule, an index, and tables.

    python docs/generate.py            # writes what has changed
    python docs/generate.py --check    # writes nothing, and fails where a page is stale

In a page that people write, the parts between `<!-- generated: NAME -->` and `<!-- end -->` come from here.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))  # the cards and the code beside these pages, not those of an installation

from avreview.config.schemas import schema  # noqa: E402
from avreview.engine.cards import Card, Catalogue, Source, Threshold, shipped  # noqa: E402
from avreview.errors import AvreviewError  # noqa: E402
from avreview.report.catalogue import needs_in_words  # noqa: E402
from avreview.report.markdown_text import prose  # noqa: E402
from avreview.report.prose import pieces  # noqa: E402

_NO_LIMIT = 1 << 20  # cards are ours: nothing in them is cut
_RULE = re.compile(r"\bAV\d{3}\b")
_PART = re.compile(r"(<!-- generated: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
_BY_HAND = "Do not edit: written by docs/generate.py from"


def pages(rules: Catalogue) -> dict[Path, str]:
    """Every page that is generated, wholly or in part, with the text it should have."""
    found = {DOCS / "rules" / _page_name(card): _rule_page(card, rules) for card in rules}
    found[DOCS / "rules" / "README.md"] = _index(rules)
    parts = _parts(rules)
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text("utf-8")
        if unknown := {match[2] for match in _PART.finditer(text)} - parts.keys():
            raise AvreviewError(f"docs/{path.name}: nothing generated is called {', '.join(sorted(unknown))}")
        if _PART.search(text):
            found[path] = _PART.sub(lambda match: f"{match[1]}{parts[match[2]]()}{match[3]}", text)
    return found


def _parts(rules: Catalogue) -> Mapping[str, Callable[[], str]]:
    """The parts of pages by name."""
    by_item = {f"rules of question {item}": _rows_of(item, rules) for item in rules.questions}
    files = {f"file {path.name}": _file(path) for path in sorted((DOCS / "ci").iterdir())}
    keys = {"configuration keys": lambda: _key_table("config"), "recipe keys": lambda: _key_table("recipe")}
    return {**by_item, **files, **keys}


def _rows_of(item: int, rules: Catalogue) -> Callable[[], str]:
    return lambda: _rule_table([card for card in rules if card.item == item], rules, "rules/")


def _file(path: Path) -> Callable[[], str]:
    return lambda: f"```yaml\n{path.read_text('utf-8')}```\n"


# A page a rule


def _page_name(card: Card) -> str:
    return f"{card.id}-{card.name}.md"


def _rule_page(card: Card, rules: Catalogue) -> str:
    source = card.path.relative_to(rules.folder).as_posix()
    sections = [
        f"<!-- {_BY_HAND} rules/{source} -->\n# {card.id} {card.name}",
        f"**{_inline(card.summary, card, rules)}**",
        _facts(card, rules),
        _section("Why it matters", _text(card.why, card, rules)),
        _section("How it is decided", _text(card.decides, card, rules)),
        _section("Thresholds", _thresholds(card, rules)),
        _section("Bad", _example(card.bad)),
        _section("Good", _example(card.good)),
        _section("What to do", _text(card.remedy, card, rules)),
        _section("What it cannot see", _text(card.blind_spots, card, rules)),
        _section("When to suppress it", _suppress(card, rules)),
        _section("Sources", "\n".join(f"- {_cited(rules.cite(reference))}" for reference in card.sources)),
        f"[All rules](README.md) · [the card](../../rules/{source}) · `avreview explain {card.id}` prints this page.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _facts(card: Card, rules: Catalogue) -> str:
    question = rules.questions[card.item].question
    state = "planned: reported as not assessed, with what it needs" if card.planned else "decided by this version"
    needs = " · or: ".join(
        line.removeprefix("- ") for line in needs_in_words(card.needs).splitlines() if line[-1] != ":"
    )
    rows = [
        ("question", f"{card.item}. [{prose(question, _NO_LIMIT)}](../questions.md#{_anchor(card.item, question)})"),
        ("severity", str(card.severity)),
        ("state", state),
        ("needs", prose(needs, _NO_LIMIT)),
        ("decided from", _decided_from(card)),
    ]
    return "| | |\n|---|---|\n" + "\n".join(f"| {label} | {text} |" for label, text in rows)


def _section(title: str, text: str) -> str:
    return f"## {title}\n{text}" if text else ""


def _text(text: str, card: Card, rules: Catalogue) -> str:
    """A card's running text: paragraphs and lists, one line each, with rules linked."""
    written = ""
    listed = False
    for bullet, depth, words in pieces(text):
        lead = " " * depth + f"{bullet} " if bullet else ""
        if written:
            written += "\n" if bullet and listed else "\n\n"
        written += lead + _inline(words, card, rules)
        listed = bool(bullet)
    return written


def _inline(text: str, card: Card, rules: Catalogue) -> str:
    """Text in which code is code, every other rule is a link, and nothing else is markup."""

    def link(match: re.Match[str]) -> str:
        known = rules.cards.get(match[0])
        return f"[{match[0]}]({_page_name(known)})" if known is not None and known.id != card.id else match[0]

    parts = re.split(r"(`+[^`]+`+)", prose(text, _NO_LIMIT))
    return "".join(part if number % 2 else _RULE.sub(link, part) for number, part in enumerate(parts))


def _thresholds(card: Card, rules: Catalogue) -> str:
    if not card.thresholds:
        return ""
    rows = ["| threshold | value | meaning | source |", "|---|---|---|---|"]
    for name, threshold in card.thresholds.items():
        meaning = _inline(threshold.meaning, card, rules)
        unit = prose(threshold.unit, _NO_LIMIT)
        rows.append(f"| `{name}` | {threshold.value} {unit} | {meaning} | {_source(threshold, card, rules)} |")
    other = f"`rules: {{{card.id}: {{thresholds: {{{next(iter(card.thresholds))}: …}}}}}}`"
    return "\n".join([*rows, "", f"A [configuration](../configuration.md) can set others: {other}."])


def _source(threshold: Threshold, card: Card, rules: Catalogue) -> str:
    """Where a threshold comes from: a citation, or words."""
    try:
        return _cited(rules.cite(threshold.source))
    except AvreviewError:
        return _inline(" ".join(threshold.source.split()), card, rules)


def _cited(source: Source) -> str:
    title = prose(source.title, _NO_LIMIT)
    known = [source.authors, str(source.year or ""), source.place]
    details = ", ".join(prose(part, _NO_LIMIT) for part in known if part)
    return (f"[{title}]({source.url})" if source.url else title) + (f". {details}" if details else "")


def _example(text: str) -> str:
    shown = textwrap.dedent(text.expandtabs(4)).strip("\n")
    try:
        ast.parse(shown)
        language = "python"
    except SyntaxError:
        language = "yaml"
    return f"```{language}\n{shown}\n```" if shown else ""


def _suppress(card: Card, rules: Catalogue) -> str:
    how = "A [waiver](../configuration.md#waivers) accepts one finding, for a reason and until a date."
    return f"{_text(card.suppress_when, card, rules)}\n\n{how}" if card.suppress_when else how


# The index, and tables of rules


def _index(rules: Catalogue) -> str:
    parts = [
        f"<!-- {_BY_HAND} the cards in rules/ -->\n# The rules, by question",
        f"{len(rules.cards)} rules. [How each question is answered](../questions.md) says which file shows what.",
    ]
    for item, question in rules.questions.items():
        cards = [card for card in rules if card.item == item]
        parts.append(f"## {item}. {question.question}\n{_rule_table(cards, rules).rstrip()}")
    return "\n\n".join(parts) + "\n"


def _rule_table(cards: list[Card], rules: Catalogue, folder: str = "") -> str:
    rows = ["| rule | severity | what it finds | decided from |", "|---|---|---|---|"]
    for card in cards:
        name = f"[{card.id} {card.name}]({folder}{_page_name(card)})"
        rows.append(f"| {name} | {card.severity} | {prose(card.summary, _NO_LIMIT)} | {_decided_from(card)} |")
    return "\n".join(rows) + "\n"


def _decided_from(card: Card) -> str:
    """The ways to decide a rule, each by the inputs that a person gives."""
    ways = list(dict.fromkeys(_way(set(way)) for way in card.needs)) or ["any file"]
    return ", or ".join(ways)


def _way(way: set[str]) -> str:
    parts = list(_inputs(way))
    if len(parts) > 1:
        parts = [f"({part})" if " or " in part else part for part in parts]
    return " + ".join(parts)


def _inputs(way: set[str]) -> Iterator[str]:
    if "graph" in way:
        yield "export"
    if "module-tree" in way:
        yield "checkpoint with modules"
    elif "optimizer-state" in way:
        yield "checkpoint with optimizer state"
    elif "checkpoint" in way:
        yield "checkpoint"
    elif "weights" in way and "graph" not in way:
        yield "export or checkpoint"
    if "pretrained-base" in way:
        yield "`--pretrained`"
    if "reference-model" in way:
        yield "`--probe` with `--reference`"
    elif "input-data" in way:
        yield "`--probe` with `--inputs`"
    elif "running" in way:
        yield "`--probe`"
    if "recipe" in way:
        yield "training recipe"
    if "augmentation" in way:
        yield "a run of the augmentation"


def _anchor(item: int, question: str) -> str:
    """The anchor that a forge gives the heading `3. Which …?`."""
    return re.sub(r"[^\w\- ]", "", f"{item}. {question}".lower()).replace(" ", "-")


# The keys of a configuration and of a recipe


def _key_table(kind: str) -> str:
    """A table of every key of a `config` or `recipe`, from its schema."""
    whole = schema(kind)
    rows = ["| key | what it says | takes |", "|---|---|---|"]
    rows += [f"| `{key}` | {text} | {takes} |" for key, text, takes in _keys(whole, whole, "")]
    return "\n".join(rows) + "\n"


def _keys(node: Mapping[str, object], whole: Mapping[str, object], before: str) -> Iterator[tuple[str, str, str]]:
    node = _resolved(node, whole)
    entries = node.get("properties")
    if isinstance(entries, Mapping):
        for name, entry in entries.items():
            found = _resolved(entry, whole)
            if "description" in found:
                yield f"{before}{name}", prose(str(found["description"]), _NO_LIMIT), _takes(found, whole)
            yield from _keys(found, whole, f"{before}{name}.")
    items, others = node.get("items"), node.get("additionalProperties")
    if isinstance(items, Mapping):
        yield from _keys(items, whole, before.removesuffix(".") + "[].")
    if isinstance(others, Mapping):
        yield from _keys(others, whole, f"{before}RULE.")


def _resolved(node: object, whole: Mapping[str, object]) -> Mapping[str, object]:
    assert isinstance(node, Mapping)
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return node
    target: object = whole
    for part in reference.removeprefix("#/").split("/"):
        assert isinstance(target, Mapping)
        target = target[part]
    return {**_resolved(target, whole), **{key: value for key, value in node.items() if key != "$ref"}}


def _takes(node: Mapping[str, object], whole: Mapping[str, object]) -> str:
    """The values of a key in words."""
    choices = [node["const"]] if "const" in node else node.get("enum")
    if isinstance(choices, list):
        return ", ".join(f"`{choice}`" for choice in choices)
    kind = node.get("type")
    if isinstance(kind, list):
        return "one, or a list"
    numbers = [str(node[bound]) for bound in ("minimum", "maximum") if bound in node]
    if "minimum" in node and "maximum" not in node:
        numbers = [f"at least {node['minimum']}"]
    if kind == "array" and "enum" in (entries := _resolved(node.get("items", {}), whole)):
        return f"a list of {_takes(entries, whole)}"
    words = {"string": "text", "array": "a list", "object": "a mapping"}
    return words.get(str(kind), str(kind)) + (f", {' to '.join(numbers)}" if numbers else "")


def main() -> int:
    """Writes the pages, or compares them. Returns the exit code."""
    options = argparse.ArgumentParser(description="Write the generated pages of docs/.")
    options.add_argument("--check", action="store_true", help="write nothing, and fail where a page is stale")
    check = options.parse_args().check
    try:
        wanted = pages(shipped())
    except AvreviewError as error:
        print(error, file=sys.stderr)
        return 1
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    left = sorted(set((DOCS / "rules").glob("*.md")) - wanted.keys())
    for path in (*stale, *left):
        print(f"{path.relative_to(DOCS.parent)}: {'stale' if check else 'removed' if path in left else 'written'}")
    if check:
        if stale or left:
            print("run `python docs/generate.py`")
        return 1 if stale or left else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8", newline="\n")
    for path in left:
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
