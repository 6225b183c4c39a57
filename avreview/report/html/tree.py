"""The module tree, coloured by verdict: what was found where, and what was looked at at all.

It is built from the dotted paths that findings and the tables of the answers name. A module that only a table names was
looked at and has no finding; one that only the table of an open question names was not assessed.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from avreview.engine.review import Finding, Review, RuleOutcome, Verdict
from avreview.report.html.markup import Markup, el, join, text
from avreview.report.html.parts import MARKS, anchor, name, section
from avreview.report.html.room import Room, left_out
from avreview.report.values import count

_COLUMNS = ("module", "layer")  # of a table, which hold paths
_LONGEST = 1000  # characters of a path that is taken apart
_DEEPEST = 24
_MODULES = 3000
_OPEN = 40  # modules up to which a tree is drawn open


class State(enum.IntEnum):
    """What is known of a module; a larger one is worse, and hides the smaller ones below it."""

    NOT_ASSESSED = 0
    NO_FINDING = 1
    ACCEPTED = 2  # its findings are waived or in the baseline
    ATTENTION = 3
    FAIL = 4

    @property
    def words(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def verdict(self) -> str:
        """The verdict whose mark and colour it has."""
        return _VERDICTS[self]


_VERDICTS = {
    State.NOT_ASSESSED: "not-assessed",
    State.NO_FINDING: "pass",
    State.ACCEPTED: "not-applicable",
    State.ATTENTION: "attention",
    State.FAIL: "fail",
}


class _Branch:
    """A module: what is known of itself, and the modules below it."""

    __slots__ = ("children", "items", "rules", "state")

    def __init__(self) -> None:
        self.children: dict[str, _Branch] = {}
        self.state: State | None = None  # None for one that is only a part of other modules' paths
        self.rules: set[str] = set()
        self.items: set[int] = set()

    def below(self) -> Iterator[_Branch]:
        """The module and all below it that are known by themselves."""
        if self.state is not None:
            yield self
        for child in self.children.values():
            yield from child.below()

    def note(self, state: State) -> None:
        self.state = state if self.state is None else max(self.state, state)


def tree_section(review: Review, prefix: str, level: int, anchors: Mapping[str, str], room: Room) -> Markup | None:
    """The tree, with links to the findings; None where no module is named."""
    root, cut = _grown(review)
    known = list(root.below())
    if not known:
        return None
    states = Counter(branch.state for branch in known if branch.state is not None)
    told = [join([_state(state), f" {states[state]}"]) for state in sorted(State, reverse=True) if states[state]]
    lead = el(
        "p", f"{count(len(known), 'module')} named by findings and answers: ", join(told, ", "), ".", class_="lead"
    )
    grown, more = _list(root, anchors, room, len(known) <= _OPEN)
    return section(
        level,
        anchor(prefix, "modules"),
        "Modules",
        lead,
        el("div", grown, class_="tree"),
        left_out(cut + more, "module"),
    )


def _grown(review: Review) -> tuple[_Branch, int]:
    """The tree, and the number of modules that found no place in it."""
    root = _Branch()
    outcomes = {outcome.rule: outcome for outcome in review.rules}
    places: dict[str, _Branch] = {}
    lost: set[str] = set()

    def place(path: object) -> _Branch | None:
        if not isinstance(path, str) or not path:
            return None
        if path not in places and len(places) >= _MODULES:
            lost.add(path)
            return None
        return places.setdefault(path, _descend(root, path))

    # Tables list modules in the order of the model; findings begin with the worst.
    for answer in review.checklist:
        state = State.NOT_ASSESSED if answer.verdict is Verdict.NOT_ASSESSED else State.NO_FINDING
        for row in answer.table:
            branch = next(filter(None, (place(row.get(column)) for column in _COLUMNS)), None)
            if branch is not None:
                branch.note(state)
                branch.items.add(answer.item)
    for finding in review.findings:
        for module in dict.fromkeys(location.module for location in (finding.location, *finding.also)):
            branch = place(module)
            if branch is not None:
                branch.note(_of_finding(finding, outcomes))
                branch.rules.add(finding.rule)
                branch.items.add(finding.item)
    return root, len(lost)


def _of_finding(finding: Finding, outcomes: Mapping[str, RuleOutcome]) -> State:
    if not finding.is_open:
        return State.ACCEPTED
    outcome = outcomes.get(finding.rule)
    return State.FAIL if outcome is not None and outcome.verdict is Verdict.FAIL else State.ATTENTION


def _descend(root: _Branch, path: str) -> _Branch:
    branch = root
    for part in path.split(".", _DEEPEST) if len(path) <= _LONGEST else [path]:
        branch = branch.children.setdefault(part, _Branch())
    return branch


def _list(branch: _Branch, anchors: Mapping[str, str], room: Room, open: bool) -> tuple[Markup, int]:
    """The modules below one, and the number of those for which there was no room."""
    more = 0

    def draw(entry: tuple[str, _Branch]) -> Markup:
        nonlocal more
        drawn, lost = _node(*entry, anchors, room, open, len(children) == 1)
        more += lost
        return drawn

    children = list(branch.children.items())
    if all(len(part) < 8 and part.isdecimal() for part in branch.children):
        children.sort(key=lambda entry: int(entry[0]))
    drawn, cut = room.fill(children, draw, _MODULES)
    lost = sum(1 for _, child in children[len(drawn) :] for _ in child.below()) if cut else 0
    return el("ul", *drawn), more + lost


def _node(
    path: str, branch: _Branch, anchors: Mapping[str, str], room: Room, open: bool, alone: bool
) -> tuple[Markup, int]:
    while branch.state is None and len(branch.children) == 1:  # `backbone.0.conv` on one line, where nothing parts it
        ((part, branch),) = branch.children.items()
        path = f"{path}.{part}"
    known = list(branch.below())
    worst = max(entry.state for entry in known if entry.state is not None)
    if not branch.children:
        return el("li", el("div", _label(path, branch, anchors), class_=f"node {worst.verdict}")), 0
    at_worst = sum(entry.state is worst for entry in known)
    says = join([_state(worst), f" {at_worst} of {count(len(known), 'module')}"])
    inner, more = _list(branch, anchors, room, open)
    summary = el("summary", el("span", name(path), " ", says, class_=f"node {worst.verdict}"))
    itself = None
    if branch.state is not None:
        itself = el("p", _label("itself", branch, anchors), class_=f"node {branch.state.verdict}")
    unfolded = open or alone or worst >= State.ATTENTION
    return el("li", el("details", summary, itself, inner, open=unfolded)), more


def _label(path: str, branch: _Branch, anchors: Mapping[str, str]) -> Markup:
    links = [
        el("a", rule, href=f"#{anchors[rule]}") if rule in anchors else text(rule, 40) for rule in sorted(branch.rules)
    ]
    shown = name(path) if path != "itself" else Markup("itself")
    state = State.NOT_ASSESSED if branch.state is None else branch.state
    asked = _questions(sorted(branch.items))
    return join([shown, " ", _state(state), join([" ", join(links, ", ")]) if links else None, " ", asked])


def _questions(items: Sequence[int]) -> Markup:
    noun = "question" if len(items) == 1 else "questions"
    return el("span", f"{noun} {', '.join(map(str, items))}", class_="quiet")


def _state(state: State) -> Markup:
    mark = el("span", MARKS[state.verdict], aria_hidden="true")
    return el("span", mark, " ", state.words, class_=f"verdict {state.verdict}")
