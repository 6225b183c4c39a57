"""Which parameter stands in which slot: a search over all ways to merge the groups' queues in the order of the model.

A group lists its parameters in the order in which the model was walked, so every group is a queue, and the model's
parameters, in order, each take the head of one queue or are left out. Of the ways that the shapes allow, the plausible
one changes rate and decay seldom among parameters of one role. States that agree in what is still to come are merged
(Viterbi), so that a second pass from the end gives, for each parameter, what its next best setting would cost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

WILD = -1  # the shape of a slot without state: it fits every parameter
UNSEEN = -1  # a role of which no parameter came yet
SKIPPED = -2  # left out of the optimizer
ROLES = ("matrix", "embedding", "scale", "shift", "bias", "vector")
_SHIFT, _BIAS = ROLES.index("shift"), ROLES.index("bias")

# What an assignment costs. The first five were tuned on 49,127 placements of known answer; the others decide between
# what these leave even.
_CHANGE = 1.0  # another rate or decay than the parameter of this role before
_SAME_SETTINGS = 0.05  # another group of the same settings
_BIASES_DIFFER = 0.2  # a norm's shift and a layer's bias have different settings
_SKIP_INSIDE, _SKIP_ACROSS = 0.3, 0.02  # left out, unlike the parameter before: of the same module, of another
_SKIP_ROLE = 0.3  # left out, unlike the parameter of this role before
_BACKWARDS = 0.1  # to a group before the one that this role came from
_SLOWER = 0.15  # to a lower rate, further along in the model
_LABEL = 1.0  # the group's label speaks of another role
_PASSIVE = 0.3  # a buffer by its name is in the optimizer
_WILD = 0.01

WINDOW = 1.0  # margins are known up to here
# Which of several equal parameters were left out is less certain than costs say: in models frozen up to an arbitrary
# layer, wrong answers had leads of 0.5 to 1.
_OF_SKIPPED = 0.5
_MOST_TWINS = 1
_COPIED = 20  # elements of a state besides its queues, and what handling it costs


class Settings(NamedTuple):
    """What a group does to its parameters."""

    rate: float | None
    decay: float | None


class Line(NamedTuple):
    """The parameters in the model's order, as the search sees them: one entry each in every list."""

    shapes: Sequence[int]
    roles: Sequence[int]
    modules: Sequence[str]
    passive: Sequence[bool]


class Queues(NamedTuple):
    """The groups: the shape and the group of each slot of each queue, and what the groups do.

    A queue is mostly one group; several in a row may stand in one.
    """

    shapes: Sequence[Sequence[int]]
    groups: Sequence[Sequence[int]]
    settings: Sequence[Settings]  # by group
    expected: Sequence[frozenset[int] | None]  # by group: the roles that its label speaks of


class Found(NamedTuple):
    """For each parameter: the queue and the place in it (None: left out), and the cost of the next best decay and of
    the next best rate over the best way's (`WINDOW` or more: no doubt).

    `is_whole` is False when states were dropped for want of width: a margin then speaks of those that were kept.
    """

    places: Sequence[tuple[int, int] | None]
    decay_margins: Sequence[float]
    rate_margins: Sequence[float]
    cost: float
    is_whole: bool


_Edge = tuple[int, float, int, int]  # the state before, what the step costs, the queue (SKIPPED), the place in it
_State = tuple[tuple[int, ...], tuple[int, ...], bool, tuple[int, ...]]  # queue heads, last by role, skipping, surplus


class Search:
    """All ways to stand `line` into `queues`."""

    def __init__(self, line: Line, queues: Queues) -> None:
        self._line = line
        self._queues = queues
        self._costs: dict[tuple[tuple[int, ...], int, int], tuple[float, tuple[int, ...]]] = {}
        self._left_over = self._count_surplus()
        shapes = sorted(shape for shape, extra in self._left_over.items() if extra > 0)
        self._surplus_place = {shape: place for place, shape in enumerate(shapes)}
        self.twins = self._number_twins()

    @property
    def is_possible(self) -> bool:
        """False when the queues hold a shape more often than the model."""
        return all(extra >= 0 for extra in self._left_over.values())

    def _number_twins(self) -> list[int]:
        """For each queue a number that it shares with those of the same shapes and the same decays."""
        numbers: dict[tuple[tuple[int, ...], tuple[float | None, ...]], int] = {}
        return [
            numbers.setdefault(
                (tuple(shapes), tuple(self._queues.settings[group].decay for group in groups)), len(numbers)
            )
            for shapes, groups in zip(self._queues.shapes, self._queues.groups, strict=True)
        ]

    def _count_surplus(self) -> dict[int, int]:
        left = dict.fromkeys(self._line.shapes, 0)
        for shape in self._line.shapes:
            left[shape] += 1
        for queue in self._queues.shapes:
            for shape in queue:
                if shape != WILD:
                    left[shape] = left.get(shape, 0) - 1
        return left

    def run(self, width: int, work: int, bound: float = float("inf")) -> Found | None:
        """The best way, or None when none is found within `width` states a step, `bound` + WINDOW in cost, and `work`
        elements of states written: a million take some tenths of a second."""
        if not self.is_possible:
            return None
        start: _State = (
            (0,) * len(self._queues.shapes), (UNSEEN,) * len(ROLES), False, (0,) * len(self._surplus_place)
        )  # fmt: skip
        states = [start]
        costs = [0.0]
        layers: list[list[list[_Edge]]] = []
        costs_by_layer = [costs]
        budget = work
        is_whole = True
        for index in range(len(self._line.shapes)):
            step = _Step(self, index)
            for number, state in enumerate(states):
                step.extend(number, state, costs[number])
            budget -= step.tried * (_COPIED + len(start[0]))
            is_whole = is_whole and step.reached <= width and not step.passed_over
            states, costs, edges = step.best(width, bound + WINDOW)
            if not states or budget < 0:
                return None
            layers.append(edges)
            costs_by_layer.append(costs)
        ends = tuple(len(queue) for queue in self._queues.shapes)
        final = [number for number, state in enumerate(states) if state[0] == ends]
        return self._trace(layers, costs_by_layer, final, is_whole) if final else None

    def assign_cost(self, last: tuple[int, ...], role: int, group: int) -> tuple[float, tuple[int, ...]]:
        """What it costs to put a parameter of a role into a group (SKIPPED: into none), and what came last then."""
        key = (last, role, group)
        known = self._costs.get(key)
        if known is None:
            known = self._costs[key] = (self._cost(last, role, group), (*last[:role], group, *last[role + 1 :]))
        return known

    def _cost(self, last: tuple[int, ...], role: int, group: int) -> float:
        before = last[role]
        cost = 0.0
        expected = self._queues.expected[group] if group >= 0 else None
        if expected is not None and role not in expected:
            cost += _LABEL
        if before == group:
            return cost
        if before != UNSEEN:
            if SKIPPED in (before, group):
                cost += _SKIP_ROLE
            else:
                cost += self._change(before, group)
        other = last[_BIAS] if role == _SHIFT else last[_SHIFT] if role == _BIAS else UNSEEN
        if other >= 0 and group >= 0 and self._queues.settings[other] != self._queues.settings[group]:
            cost += _BIASES_DIFFER
        return cost

    def _change(self, before: int, group: int) -> float:
        old, new = self._queues.settings[before], self._queues.settings[group]
        if old == new:
            return _SAME_SETTINGS
        slower = old.rate is not None and new.rate is not None and new.rate < old.rate
        return _CHANGE + (_BACKWARDS if group < before else 0.0) + (_SLOWER if slower else 0.0)

    def surplus_left(self, used: tuple[int, ...], shape: int) -> tuple[int, ...] | None:
        """`used` with one more parameter of this shape that no known slot takes; None when none is to spare."""
        place = self._surplus_place.get(shape)
        if place is None or used[place] >= self._left_over[shape]:
            return None
        return (*used[:place], used[place] + 1, *used[place + 1 :])

    @property
    def line(self) -> Line:
        return self._line

    @property
    def queues(self) -> Queues:
        return self._queues

    def _trace(
        self, layers: list[list[list[_Edge]]], costs: list[list[float]], final: list[int], is_whole: bool
    ) -> Found:
        """Backwards: the best way, and for each parameter the best cost of each setting that it could have."""
        best_end = min(final, key=costs[-1].__getitem__)
        total = costs[-1][best_end]
        to_go = dict.fromkeys(final, 0.0)
        places: list[tuple[int, int] | None] = []
        margins: list[tuple[float, float]] = []
        current = best_end
        for index in range(len(layers) - 1, -1, -1):
            before, by_setting = self._pull(layers[index], costs[index], to_go)
            source, _, queue, place = min(layers[index][current], key=lambda edge: costs[index][edge[0]] + edge[1])
            places.append(None if queue == SKIPPED else (queue, place))
            margins.append(self._margins(by_setting, self._settings(queue, place), total))
            to_go, current = before, source
        places.reverse()
        margins.reverse()
        return Found(places, [decay for decay, _ in margins], [rate for _, rate in margins], total, is_whole)

    def _settings(self, queue: int, place: int) -> Settings | None:
        return None if queue == SKIPPED else self._queues.settings[self._queues.groups[queue][place]]

    def _pull(
        self, edges: list[list[_Edge]], costs: list[float], to_go: Mapping[int, float]
    ) -> tuple[dict[int, float], dict[Settings | None, float]]:
        """One step backwards: the cost to go from each state before, and the least total of each setting."""
        before: dict[int, float] = {}
        by_setting: dict[Settings | None, float] = {}
        for number, rest in to_go.items():
            for source, cost, queue, place in edges[number]:
                onward = rest + cost
                if onward < before.get(source, float("inf")):
                    before[source] = onward
                setting = self._settings(queue, place)
                if costs[source] + onward < by_setting.get(setting, float("inf")):
                    by_setting[setting] = costs[source] + onward
        return before, by_setting

    @staticmethod
    def _margins(
        by_setting: Mapping[Settings | None, float], chosen: Settings | None, total: float
    ) -> tuple[float, float]:
        decay = rate = float("inf")
        for setting, cost in by_setting.items():
            if setting is None or chosen is None:
                if setting != chosen:
                    decay = min(decay, (cost - total) * _OF_SKIPPED)
                    rate = min(rate, (cost - total) * _OF_SKIPPED)
            elif setting.decay != chosen.decay:
                decay = min(decay, cost - total)
            if setting is not None and chosen is not None and setting.rate != chosen.rate:
                rate = min(rate, cost - total)
        return decay, rate


class _Step:
    """What one parameter can be: the states before it, each extended in every way."""

    def __init__(self, search: Search, index: int) -> None:
        line = search.line
        self._search = search
        self._shape = line.shapes[index]
        self._role = line.roles[index]
        self._passive = line.passive[index]
        self._same_module = index > 0 and line.modules[index] == line.modules[index - 1]
        self._numbers: dict[_State, int] = {}
        self._costs: list[float] = []
        self._edges: list[list[_Edge]] = []
        self.tried = 0
        self.passed_over = False

    def extend(self, number: int, state: _State, cost: float) -> None:
        heads, last, skipping, used = state
        queues = self._search.queues
        shape = self._shape
        begun: list[int] = []  # twins that could begin here: the first of them stands for all
        for queue, head in enumerate(heads):
            slots = queues.shapes[queue]
            if head >= len(slots) or (slots[head] != shape and slots[head] != WILD):
                continue
            if head == 0:
                twins = self._search.twins[queue]
                if begun.count(twins) >= _MOST_TWINS:
                    self.passed_over = True
                    continue
                begun.append(twins)
            spared: tuple[int, ...] | None = used
            step = _PASSIVE if self._passive else 0.0
            if slots[head] == WILD:
                spared = self._search.surplus_left(used, shape)
                step += _WILD
            if spared is None:
                continue
            extra, now = self._search.assign_cost(last, self._role, queues.groups[queue][head])
            step += extra + (self._toggle() if skipping else 0.0)
            moved = (*heads[:queue], head + 1, *heads[queue + 1 :])
            self._reach((moved, now, False, spared), number, cost, step, queue, head)
        spared = self._search.surplus_left(used, shape)
        if spared is not None:
            self._skip(number, state, cost, spared)

    def _skip(self, number: int, state: _State, cost: float, spared: tuple[int, ...]) -> None:
        heads, last, skipping, _ = state
        if self._passive:
            self._reach((heads, last, skipping, spared), number, cost, 0.0, SKIPPED, 0)
            return
        step, now = self._search.assign_cost(last, self._role, SKIPPED)
        step += 0.0 if skipping else self._toggle()
        self._reach((heads, now, True, spared), number, cost, step, SKIPPED, 0)

    def _toggle(self) -> float:
        return _SKIP_INSIDE if self._same_module else _SKIP_ACROSS

    def _reach(self, state: _State, source: int, cost: float, step: float, queue: int, place: int) -> None:
        self.tried += 1
        number = self._numbers.setdefault(state, len(self._costs))
        edge = (source, step, queue, place)
        if number == len(self._costs):
            self._costs.append(cost + step)
            self._edges.append([edge])
        else:
            self._costs[number] = min(self._costs[number], cost + step)
            self._edges[number].append(edge)

    @property
    def reached(self) -> int:
        """How many states there are now."""
        return len(self._costs)

    def best(self, width: int, bound: float) -> tuple[list[_State], list[float], list[list[_Edge]]]:
        """The cheapest states, at most `width`, none over `bound`."""
        states = list(self._numbers)
        order = [number for number, cost in enumerate(self._costs) if cost <= bound]
        if len(order) > width:
            order = sorted(order, key=self._costs.__getitem__)[:width]
        return (
            [states[number] for number in order],
            [self._costs[number] for number in order],
            [self._edges[number] for number in order],
        )
