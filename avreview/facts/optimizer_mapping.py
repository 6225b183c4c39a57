"""From the slots of an optimizer's groups to parameter names.

A state_dict of an optimizer numbers its parameters and seldom names them. The steps: names that were recorded; then
what holds in whatever order, a shape that only groups of one setting hold; then the order of the model's parameters
(`optimizer_beam`); then sorted names. What remains open is open: a parameter's margin says how much dearer its next
best setting is, and margins under a rule's limit decide nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from avreview.engine.resolve import NotAvailable, fact
from avreview.facts import optimizer_roles as roles
from avreview.facts.optimizer_beam import ROLES, WILD, Found, Line, Queues, Search, Settings
from avreview.facts.optimizer_candidates import Candidate, candidates, trained_set
from avreview.facts.optimizer_groups import OptimizerGroup, OptimizerGroups
from avreview.facts.subject import TrainingState

CERTAIN = float("inf")
_ROLE_NUMBERS = {
    roles.EMBEDDING: ROLES.index("embedding"),
    roles.POSITION: ROLES.index("embedding"),
    roles.SCALE: ROLES.index("scale"),
    roles.SHIFT: ROLES.index("shift"),
    roles.BIAS: ROLES.index("bias"),
    roles.OTHER: ROLES.index("vector"),
}
# What ultralytics' `param_group` labels speak of.
_LABELS = {
    "weight": frozenset(ROLES.index(role) for role in ("matrix", "embedding", "vector")),
    "muon": frozenset(ROLES.index(role) for role in ("matrix", "embedding", "vector")),
    "bn": frozenset(ROLES.index(role) for role in ("scale", "vector")),
    "bias": frozenset(ROLES.index(role) for role in ("bias", "shift", "vector")),
}
_WRAPPERS = ("module.", "model.", "_orig_mod.", "_forward_module.", "_fsdp_wrapped_module.", "ema_model.")
_MANY_GROUPS, _MANY_SHAPES = 8, 3
_MOST_QUEUES = 128
# States kept a step, and the work after which a search is given up: one that finds, one that sees the alternatives.
_NARROW, _WIDE = (24, 1_200_000), (256, 400_000)


class Assignment(NamedTuple):
    """Where a parameter stands: its group (None: in none), and how sure its decay and its rate are.

    A margin is what the next best setting costs more than this one; infinite where none is nearly as good.
    """

    group: int | None  # the place in OptimizerGroups.all
    decay_margin: float = CERTAIN
    rate_margin: float = CERTAIN


class ParameterMapping(NamedTuple):
    """`assignments` by the names of `candidates`; `how` says what it rests on.

    `unmatched` counts slots that stand for no tensor of the file, such as a loss's own parameters.
    """

    artifact: str
    candidates: Sequence[Candidate]
    assignments: Mapping[str, Assignment]
    how: str
    unmatched: int = 0


@fact
def parameter_mapping(state: TrainingState, groups: OptimizerGroups) -> ParameterMapping:
    """Maps the slots to the weights that the optimizer trained. Raises NotAvailable when they do not fit."""
    weights = trained_set(state.checkpoint)
    if weights is None or not weights.tensors:
        raise NotAvailable("needs the weights beside the optimizer state; the file holds none")
    every = candidates(weights, state.checkpoint.modules)
    if not every:
        raise NotAvailable("needs weights in floating point beside the optimizer state; the file holds none")
    mapping = _by_names(state.artifact, every, groups) or _Mapper(state.artifact, every, groups).mapped()
    if mapping is None:
        raise NotAvailable(_why_not(every, groups))
    return mapping


def _by_names(artifact: str, every: Sequence[Candidate], groups: OptimizerGroups) -> ParameterMapping | None:
    """Step 1: the names that the optimizer recorded, if they are names of these tensors."""
    recorded = {
        slot.name: place for place, group in enumerate(groups.all) for slot in group.slots if slot.name is not None
    }
    if not recorded or any(slot.name is None for group in groups.all for slot in group.slots):
        return None
    known = {name: candidate for candidate in every for name in (candidate.name, *candidate.tied)}
    placed: dict[str, int] = {}
    for name, place in recorded.items():
        candidate = known.get(name) or known.get(_unwrapped(name, known))
        if candidate is not None:
            placed[candidate.name] = place
    if len(placed) * 2 < len(recorded):
        return None
    assignments = {candidate.name: Assignment(placed.get(candidate.name)) for candidate in every}
    return ParameterMapping(artifact, every, assignments, "recorded names", len(recorded) - len(placed))


def _unwrapped(name: str, known: Mapping[str, Candidate]) -> str:
    """The name without what wrappers put in front of it, or before a part of it."""
    for wrapper in ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."):
        name = name.replace(wrapper, "")
    while name not in known:
        wrapper = next((prefix for prefix in _WRAPPERS if name.startswith(prefix)), "")
        if not wrapper:
            break
        name = name[len(wrapper) :]
    return name


class _Mapper:
    """Steps 2 to 7, for slots without names."""

    def __init__(self, artifact: str, every: Sequence[Candidate], groups: OptimizerGroups) -> None:
        self._artifact = artifact
        self._every = every
        self._groups = [(place, group) for place, group in enumerate(groups.all) if group.slots]
        self._settings = [Settings(group.rate, group.decay) for group in groups.all]
        shapes = dict.fromkeys(candidate.tensor.shape for candidate in every)
        self._ids = {shape: number for number, shape in enumerate(shapes)}
        self._is_one_setting = len({self._settings[place] for place, _ in self._groups}) == 1
        self._shapes_are_known = all(slot.shape is not None for _, group in self._groups for slot in group.slots)
        self._slots = sum(len(group.slots) for _, group in self._groups)

    def mapped(self) -> ParameterMapping | None:
        if self._slots > len(self._every) or not self._shapes_fit():
            return None
        by_shape = self._by_shape()
        for how, order in (("order of registration", list(range(len(self._every)))), ("sorted names", self._sorted())):
            found = self._search(order)
            if found is not None:
                return self._merged(how, found, by_shape)
        if not by_shape:
            return None
        unknown = Assignment(None, 0.0, 0.0)
        assignments = {candidate.name: by_shape.get(candidate.name, unknown) for candidate in self._every}
        return ParameterMapping(self._artifact, self._every, assignments, "shapes alone")

    def _merged(
        self, how: str, found: Mapping[str, Assignment], by_shape: Mapping[str, Assignment]
    ) -> ParameterMapping:
        """An order that explains the slots; what the shapes alone tell is certain beside it."""
        assignments = dict(found)
        for name, told in by_shape.items():
            assignments[name] = Assignment(found[name].group, CERTAIN, max(told.rate_margin, found[name].rate_margin))
        return ParameterMapping(self._artifact, self._every, assignments, how)

    def _shapes_fit(self) -> bool:
        have = Counter(candidate.tensor.shape for candidate in self._every)
        want = Counter(slot.shape for _, group in self._groups for slot in group.slots if slot.shape is not None)
        return all(have[shape] >= number for shape, number in want.items())

    def _by_shape(self) -> dict[str, Assignment]:
        """Parameters of a shape that the slots hold as often as the model, all with one decay: in whatever order."""
        have = Counter(candidate.tensor.shape for candidate in self._every)
        places: dict[tuple[int, ...], list[int]] = {}
        for place, group in self._groups:
            for slot in group.slots:
                if slot.shape is not None:
                    places.setdefault(slot.shape, []).append(place)
        told: dict[str, Assignment] = {}
        for candidate in self._every:
            held = places.get(candidate.tensor.shape, [])
            if len(held) != have[candidate.tensor.shape] or len({self._settings[place].decay for place in held}) > 1:
                continue
            rates = {self._settings[place].rate for place in held}
            told[candidate.name] = Assignment(held[0], CERTAIN, CERTAIN if len(rates) == 1 else 0.0)
        return told

    def _sorted(self) -> list[int]:
        return sorted(range(len(self._every)), key=lambda number: self._every[number].name)

    def _search(self, order: Sequence[int]) -> dict[str, Assignment] | None:
        """The order-preserving assignment that costs least, and margins; None when the order forbids every one."""
        line = self._line(order)
        in_a_row = _cheapest(Search(line, self._queues([self._groups])))
        if in_a_row is not None and (in_a_row.cost == 0 or self._is_one_walk()):
            return self._named(order, [self._groups], in_a_row)
        queues = self._merged_queues()
        if len(queues) <= _MOST_QUEUES:
            bound = in_a_row.cost if in_a_row is not None else float("inf")
            found = _cheapest(Search(line, self._queues(queues)), bound)
            if found is not None:
                return self._named(order, queues, found)
        return self._named(order, [self._groups], in_a_row) if in_a_row is not None else None

    def _is_one_walk(self) -> bool:
        """True when groups that follow the model's order one behind the other cannot do so by chance.

        Either they are made in one walk, a group a parameter; or they account for every parameter of several shapes.
        """
        one_each = len(self._groups) >= _MANY_GROUPS and len(self._groups) * 2 >= self._slots
        is_all = self._slots == len(self._every) and len(self._ids) >= _MANY_SHAPES
        return one_each or (is_all and self._shapes_are_known)

    def _merged_queues(self) -> list[list[tuple[int, OptimizerGroup]]]:
        """One queue a group; where they are many, one queue a setting, which a walk over the model fills in order."""
        if len(self._groups) <= _MOST_QUEUES:
            return [[entry] for entry in self._groups]
        by_settings: dict[Settings, list[tuple[int, OptimizerGroup]]] = {}
        for place, group in self._groups:
            by_settings.setdefault(self._settings[place], []).append((place, group))
        return list(by_settings.values())

    def _line(self, order: Sequence[int]) -> Line:
        line = [self._every[number] for number in order]
        return Line(
            [self._ids[candidate.tensor.shape] for candidate in line],
            [_ROLE_NUMBERS.get(candidate.role, 0) for candidate in line],
            [candidate.module for candidate in line],
            [candidate.is_passive for candidate in line],
        )

    def _queues(self, queues: Sequence[Sequence[tuple[int, OptimizerGroup]]]) -> Queues:
        expected: list[frozenset[int] | None] = [None] * len(self._settings)
        for place, group in self._groups:
            expected[place] = _LABELS.get(group.label) if "param_group" in group.options else None
        return Queues(
            [
                [WILD if slot.shape is None else self._ids[slot.shape] for _, group in queue for slot in group.slots]
                for queue in queues
            ],
            [list(_places(queue)) for queue in queues],
            self._settings,
            expected,
        )

    def _named(
        self, order: Sequence[int], queues: Sequence[Sequence[tuple[int, OptimizerGroup]]], found: Found
    ) -> dict[str, Assignment]:
        places = [list(_places(queue)) for queue in queues]
        shapes = self._queues(queues).shapes
        named: dict[str, Assignment] = {}
        for number, at, decay, rate in zip(order, found.places, found.decay_margins, found.rate_margins, strict=True):
            group = None if at is None else places[at[0]][at[1]]
            # A search that dropped states has not seen all that is nearly as good: nothing is sure then.
            # Nor is a slot without a shape sure of its parameter, where it matters which one it holds.
            known = at is None or shapes[at[0]][at[1]] != WILD or self._is_one_setting
            margins = (decay, rate) if found.is_whole and known else (0.0, 0.0)
            named[self._every[number].name] = Assignment(group, *margins)
        return named


def _cheapest(search: Search, bound: float = float("inf")) -> Found | None:
    """The cheapest way, found narrowly at first: with its cost known, dearer ones can go early, and a wide search sees
    all that is nearly as good."""
    found = search.run(*_NARROW, bound)
    if found is not None and found.is_whole:
        return found
    return search.run(*_WIDE, bound if found is None else found.cost) or found


def _places(queue: Sequence[tuple[int, OptimizerGroup]]) -> Iterator[int]:
    """The group of every slot of a queue."""
    for place, group in queue:
        for _ in group.slots:
            yield place


def _why_not(every: Sequence[Candidate], groups: OptimizerGroups) -> str:
    """Why no mapping was found, and what to supply instead."""
    slots = [slot for group in groups.filled for slot in group.slots]
    remedy = "build the optimizer from model.named_parameters(), so that it stores names (PyTorch 2.6 and later)"
    flat = [slot for slot in slots if slot.shape is not None and len(slot.shape) == 1]
    if flat and len(flat) == len(slots) and len(slots) * 4 < len(every):
        return (
            "needs optimizer state by parameter; the file holds it flattened over many (ZeRO or FSDP): "
            "save a consolidated state"
        )
    if len(slots) > len(every):
        return (
            f"needs an optimizer of these weights; it holds {len(slots)} parameters, the file only {len(every)} "
            f"tensors that could be one: {remedy}"
        )
    return (
        f"needs to know which parameter stands in which group: {len(slots)} unnamed ones fit the file's {len(every)} "
        f"tensors in no order: {remedy}"
    )
