"""What a recipe answers to questions 8 and 9 in a sentence and a table, and what of it could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from avreview.checks.recipe import told
from avreview.checks.words import count, listed, verb
from avreview.engine.checks import AnswerText, answer, limitation
from avreview.engine.review import Scalar
from avreview.facts.recipe_steps import MOST_STEPS, PlacedStep, Walk, walks
from avreview.load.wording import one_line
from avreview.recipe.model import Does, Recipe, Setting, Step, Upon

_REASONS = 4  # for which settings could not be read, that are named
_CHANGING = frozenset(Does) - {
    Does.LOAD, Does.FORMAT, Does.COLLECT, Does.TEST_TIME, Does.PAD, Does.OTHER, Does.NORMALIZE, Does.RANGE_FILTER,
    Does.LABEL_FILTER, Does.SWEEPS,
}  # fmt: skip
# What has to do with time, or moves objects and so their velocities.
_TEMPORAL = frozenset(
    {Does.SWEEPS, Does.DROP_FRAMES, Does.JITTER_TIME, Does.REVERSE_TIME, Does.MOVE_OBJECTS, Does.PASTE}
)


@answer(8)
def what_augmentations_change(recipe: Recipe) -> AnswerText:
    """Says how many steps change data at random, and lists every step."""
    every = walks(recipe.pipelines)
    rows = told.rows(every, lambda walk, placed: True)
    if not rows:
        return AnswerText(f"The recipe ({recipe.dialect}) states no pipeline.{_unread(recipe)}")
    training = [placed for walk in every if walk.pipeline.role == "train" for placed in walk.all]
    testing = [placed for walk in every if walk.pipeline.role != "train" for placed in walk.all]
    testing = list({(placed.step.at, placed.module.partition(".")[2]): placed for placed in testing}.values())
    words = [_pipeline_words("Training", training), _pipeline_words("Validation and test", testing)]
    return AnswerText(" ".join([*filter(None, words)]) + _unread(recipe), rows)


def _pipeline_words(name: str, steps: Sequence[PlacedStep]) -> str:
    if not steps:
        return f"{name}: the recipe states no pipeline."
    changing = [placed.step for placed in steps if _changes(placed)]
    unknown = sum(not placed.step.is_known for placed in steps)
    kinds = Counter(kind.value for step in changing for kind in Does if kind in step.does & _CHANGING)
    also = f", {unknown} of them not known" if unknown else ""
    how = f", {len(changing)} of which {verb(len(changing), 'change')} data at random ({listed(kinds, 8)})"
    return f"{name}: {count(len(steps), 'step')}{also}{how if changing else ', none known to change data at random'}."


def _changes(placed: PlacedStep) -> bool:
    """Whether it can change data at random; a mirror of probability 0 cannot."""
    step = placed.step
    real = placed.moves | (step.does & _CHANGING - {Does.FLIP, Does.ROTATE, Does.SCALE, Does.TRANSLATE, Does.SHEAR})
    return step.is_known and step.is_active and step.is_random is True and bool(real & _CHANGING)


def _unread(recipe: Recipe) -> str:
    number = len(recipe.unread)
    return f" {count(number, 'setting')} of the recipe could not be read." if number else ""


@answer(9)
def what_recipe_says_of_time(recipe: Recipe) -> AnswerText:
    """Says what is predicted of motion and from how much time, and lists the steps that touch it."""
    velocity = _whether(recipe.velocity, "predicts velocity", "predicts no velocity")
    tracking = _whether(recipe.tracking, "predicts tracks", "predicts no tracks")
    says = [words for words in (velocity, tracking) if words]
    sentence = f"The model {' and '.join(says)}." if says else "The recipe does not say whether velocity is predicted."
    sweeps = ", ".join(f"{one_line(role, 20)} {_value(setting)}" for role, setting in recipe.sweeps.items())
    frames = ", ".join(f"{one_line(role, 20)} {_value(setting)}" for role, setting in recipe.frames.items())
    sentence += f" Sweeps: {sweeps}." if sweeps else ""
    sentence += f" Frames: {frames}." if frames else ""
    every = walks(recipe.pipelines)
    steps = [placed for walk in every for placed in walk.all if _touches_time(walk, placed)]
    alone = [placed for placed in steps if Does.MOVE_OBJECTS in placed.step.does and placed.step.is_active]
    sentence += f" {count(len(alone), 'step')} {verb(len(alone), 'move')} objects one by one." if alone else ""
    return AnswerText(sentence, [*_settings(recipe), *told.rows(every, _touches_time)])


def _whether(setting: Setting | None, yes: str, no: str) -> str:
    return "" if setting is None else yes if setting.value else no


def _value(setting: Setting) -> str:
    value = setting.value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return one_line(str(value), 40)


def _touches_time(walk: Walk, placed: PlacedStep) -> bool:
    step: Step = placed.step
    if not step.does.isdisjoint(_TEMPORAL) or not step.upon.isdisjoint({Upon.VELOCITIES, Upon.TIMES, Upon.POSES}):
        return Does.LOAD not in step.does or Does.SWEEPS in step.does
    return walk.pipeline.role == "train" and bool(placed.moves_scene)


def _settings(recipe: Recipe) -> Iterator[dict[str, Scalar]]:
    single = {"velocity": recipe.velocity, "tracking": recipe.tracking}
    stated = [("", name, setting) for name, setting in single.items() if setting is not None]
    named = {"sweeps": recipe.sweeps, "time channel": recipe.time_channel, "frames": recipe.frames}
    stated += [(role, name, setting) for name, roles in named.items() for role, setting in roles.items()]
    for role, name, setting in stated:
        yield {
            "split": one_line(role, 20), "step": name, "does": "", "upon": "", "how much": _value(setting),
            "at": told.place(setting.at),
        }  # fmt: skip


@limitation
def unread_settings(recipe: Recipe) -> Iterator[str]:
    """What of the recipe could not be read: the most frequent reasons, each behind what it is the reason of."""
    reasons: dict[str, list[str]] = {}
    for entry in recipe.unread:
        named = f"{one_line(entry.what, 60)} ({told.place(entry.at)})"
        reasons.setdefault(one_line(entry.why, 100), []).append(named)
    if reasons:
        frequent = sorted(reasons.items(), key=lambda reason: -len(reason[1]))
        said = [f"{listed(names, 3)}: {why}" for why, names in frequent[:_REASONS]]
        rest = sum(len(names) for _, names in frequent[_REASONS:])
        yield (
            f"{count(len(recipe.unread), 'setting')} of the recipe could not be read. {'; '.join(said)}"
            f"{f'; and {rest} more for other reasons' if rest else ''}."
        )


@limitation
def unknown_steps(recipe: Recipe) -> Iterator[str]:
    """Transforms that no rule judges: nobody here knows them, or they are too many."""
    if any(len(pipeline.steps) > MOST_STEPS for pipeline in recipe.pipelines):
        yield f"A pipeline of the recipe has more than {MOST_STEPS:,} steps: those behind them were not judged."
    unknown = Counter(
        one_line(step.name, 60) for pipeline in recipe.pipelines for step in pipeline.steps if not step.is_known
    )
    if unknown:
        yield (
            f"{count(len(unknown), 'transform')} of the recipe {verb(len(unknown), 'are', 'is')} not known here "
            f"({listed(unknown, 6)}): what {'they do' if len(unknown) != 1 else 'it does'} was not judged. "
            "`avreview augment` measures it."
        )
