"""Python configurations as data: what is computed, what stays unknown, and that nothing of them ever runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avreview.recipe.files import RecipeError, RecipeFiles
from avreview.recipe.python.config import PythonConfig, read_config
from avreview.recipe.python.limits import MOST_ITEMS
from avreview.recipe.python.values import Imported, Row, Table, Unknown, plain, tables


def read(text: str, path: str = "config.py") -> PythonConfig:
    return read_config(path, text, RecipeFiles())


def values(text: str) -> dict[str, Any]:
    shown: dict[str, Any] = plain(read(text).values)
    return shown


def unknown(text: str, name: str) -> Unknown:
    value = read(text).values[name]
    assert isinstance(value, Unknown), value
    return value


def write(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def composed(path: str) -> PythonConfig:
    files = RecipeFiles()
    return read_config(path, files.read(path), files)


@pytest.mark.parametrize(
    "expression",
    [
        "dict(a=1, b=[1, 2.5, 'x'], c=(None, True), **dict(d={}))",
        "{'a': 1, **{'b': 2}, 'a': 3}",
        "[*range(3), *(4, 5)][1:-1] * 2 + [6]",
        "dict([('a', 1)], b=2)['b']",
        "'%s of %03d' % ('a', 7) + f'{1/3:.2f}/{\"x\"!r:>5}' + '{}-{b}'.format(1, b=2)",
        "[x * y for x in range(4) if x % 2 for y in (1, 2)]",
        "{f'k{i}': i ** 2 for i in range(3)}",
        "len([1, 2]) // 2 if not [] else None",
        "max(3, -1) + abs(-2) + round(2.6) + int('7') + sum([1, 2])",
        "1 < 2 <= 2 and 'a' in 'cat' or None",
        "sorted({3, 1, 2})[::-1] == [3, 2, 1]",
        "' a,b '.strip().split(',')[-1].upper().replace('B', 'C')",
        "[1, 2].index(2) + (1, 1).count(1)",
        "dict(a=1).get('b', 4) + list(dict(a=1).items())[0][1]",
        "~5 & 3 | 1 << 4 ^ 2",
        "0.1 + 0.2, 1e308 * 10, -0.0, 7 // -2, 7 % -2",
        "list(zip('ab', enumerate('c')))",
    ],
)
def test_expressions_have_the_value_that_python_gives_them(expression: str) -> None:
    assert values(f"x = {expression}")["x"] == eval(expression)


def test_statements_change_values_in_place_as_python_does() -> None:
    text = """
base = dict(a=[1], b=dict(c=2))
same = base
same['a'].append(2)
same['b']['d'] = 3
base['a'] += [4]
other = dict(base)
other.update(a=0, e=5)
del base['b']['c']
import copy
apart = copy.deepcopy(base)
apart['a'].insert(0, 9)
first, (second, third) = 1, (2, 3)
second += third
for name in ('f', 'g'):
    base[name] = len(name)
if len(base) > 2:
    found = True
else:
    found = False
removed = base.pop('g')
number: int = 8
"""
    expected: dict[str, Any] = {}
    exec(text, expected)
    for name in ("__builtins__", "__annotations__", "copy"):
        del expected[name]
    assert values(text) == expected


def test_every_value_has_its_place() -> None:
    config = read("a = 1\nb = dict(\n    c=a,\n    d=[\n        dict(e=2)])\nb['f'] = 3\n")
    table = config.values["b"]
    assert config.values.place("a").line == 1
    assert [table.at.line, table.place("c").line, table.place("f").line] == [2, 3, 6]
    assert table["d"][0].place("e").line == 5
    spread = read("x = dict(p=1)\ny = dict(\n  **x,\n  q=2)").values["y"]
    assert (spread.place("p").line, spread.place("q").line) == (1, 4)


LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=15,
)
NAMES = st.sampled_from(["alpha", "beta", "gamma", "_delta", "lr"])


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Literal settings, and statements that use those before them."""
    lines, known = list[str](), list[str]()
    for _ in range(draw(st.integers(1, 6))):
        name = draw(NAMES)
        if draw(st.booleans()) and known:
            source: str = draw(st.sampled_from(known))
            shapes = ["dict(a={0}, b=[{0}])", "[{0}] + [{0}]", "({0}, 1)[0]", "{0} if {0} else {0!r}", "[{0}, *[{0}]]"]
            expression = draw(st.sampled_from(shapes)).format(source)
        else:
            expression = repr(draw(LITERALS))
        lines.append(f"{name} = {expression}")
        known.append(name)
    return "\n".join(lines)


@settings(max_examples=150, deadline=None)
@given(programs())
def test_literal_configurations_have_the_values_of_running_them(text: str) -> None:
    expected: dict[str, Any] = {}
    exec(text, expected)
    del expected["__builtins__"]
    config = read(text)
    assert plain(config.values) == expected
    assert [repr(plain(config.values[name])) for name in expected] == [repr(value) for value in expected.values()]


def test_names_of_other_modules_are_kept_and_never_imported() -> None:
    text = "import nowhere.at_all as n\nfrom gone import Head\nx = dict(type=Head, kind=n.Kind, y=Head(3), z=n.f())"
    table = read(text).values["x"]
    assert table["type"] == Imported("gone.Head")
    assert table["kind"].path == "nowhere.at_all.Kind"
    assert isinstance(table["y"], Unknown)
    assert table["y"].why == "is given by gone.Head, which is not run"
    assert table["z"].at.line == 3


def test_constants_and_pure_functions_of_libraries_are_computed() -> None:
    found = values(
        "import math, os.path as osp\nimport numpy as np\na = np.pi / 8\nb = osp.join('x', 'y')\nc = math.radians(180)"
    )
    assert found == {"a": math.pi / 8, "b": "x/y", "c": math.pi}


@pytest.mark.parametrize(
    ("text", "name", "why"),
    [
        ("x = lambda: 1", "x", "is written as a function"),
        ("x = y", "x", "uses 'y', which the file does not define"),
        ("x = 1 / 0", "x", "fails when it is computed (ZeroDivisionError"),
        ("x = [0] * 10 ** 9", "x", "is too long"),
        ("x = 'a' * 10 ** 9", "x", "is too long"),
        ("x = 10 ** 10 ** 10", "x", "is too large"),
        ("x = 1 << 10 ** 9", "x", "shifts too far"),
        ("x = range(10 ** 12)", "x", "is too long"),
        ("x = '{:>999999999}'.format(1)", "x", "has a format that is not read"),
        ("x = '%999999999d' % 1", "x", "has fields that are not read"),
        ("x = '{0.__class__}'.format(1)", "x", "has fields that are not read"),
        ("x = ().__class__.__bases__", "x", "fails when it is computed"),
        ("x = open('/etc/passwd').read()", "x", "uses 'open'"),
        ("x = __import__('os').system('true')", "x", "uses '__import__'"),
        ("import os\nx = os.environ['HOME']", "x", "takes a part of something that is no plain value"),
        ("x = list({'a', 'b'})", "x", "is in the order of a set"),
        ("x = [y for y in {'a', 'b'}]", "x", "is in the order of a set"),
        ("x = ','.join({'a', 'b'})", "x", "is in the order of a set"),
        ("x = [y for y in 5]", "x", "fails when it is computed"),
        ("x = (1,) * 3 + [1]", "x", "fails when it is computed"),
        ("x = 1" + " + 1" * 95, "x", "is nested more than"),
    ],
)
def test_what_cannot_be_told_is_unknown_and_says_why(text: str, name: str, why: str) -> None:
    value = unknown(text, name)
    assert why in value.why
    assert value.at.line == text.count("\n") + 1


def test_an_unknown_part_leaves_the_rest_known() -> None:
    table = read("x = dict(a=f(), b=2, **g())").values["x"]
    assert isinstance(table["a"], Unknown)
    assert table["b"] == 2  # a call with the same name twice would fail
    assert table.rest is not None
    spread = read("x = {'a': 1, **g(), 'b': 2}").values["x"]
    assert isinstance(spread["a"], Unknown)
    assert spread["b"] == 2


HOSTILE = """
import os, sys
marker = 'safe'
settings = dict(lr=1)
{attack}
"""


@pytest.mark.parametrize(
    ("attack", "what"),
    [
        ("os.system('touch {file}')", "a call of 'os.system'"),
        ("exec(\"open('{file}', 'w')\")", "a call of exec"),
        ("open('{file}', 'w').write('x')", "a call"),
        ("while True:\n    settings['lr'] += 1", "a `while` loop"),
        ("with open('{file}', 'w') as f:\n    settings = f", "a `with`"),
        ("try:\n    settings['lr'] = 2\nexcept Exception:\n    pass", "a `try`"),
        ("for i in range(3):\n    if i: break\n    settings['lr'] = i", "a loop"),
        ("if os.environ.get('X'):\n    settings['lr'] = 7", "a condition that only a run decides"),
        ("from evil import *", "everything from 'evil'"),
        ("raise SystemExit(3)", "an error that is raised"),
    ],
)
def test_nothing_is_run_and_what_it_may_change_is_unknown(attack: str, what: str, tmp_path: Path) -> None:
    target = tmp_path / "written"
    config = read(HOSTILE.format(attack=attack.replace("{file}", str(target))))
    assert not target.exists()
    assert [note.what for note in config.unread] == [what]
    assert config.unread[0].at.line == 5
    changed = config.values["settings"]
    if "settings" in attack:
        assert isinstance(changed, Unknown) or isinstance(changed["lr"], Unknown)
    elif "exec" not in attack:
        assert plain(changed) == {"lr": 1}
    assert isinstance(config.values["marker"], Unknown) == ("exec" in attack)


def test_a_function_that_sets_a_global_makes_it_unknown() -> None:
    config = read("lr = 1\ndef f():\n    global lr\n    lr = 2\nf()\nlr = 3\n")
    assert isinstance(config.values["lr"], Unknown)


def test_values_that_hold_themselves_or_one_another_many_times_are_bounded() -> None:
    cycle = read("a = [1]\na.append(a)\nb = dict(x=a)\nb['b'] = b\nc = a == a[1]\nd = str(a)")
    assert isinstance(cycle.values["c"], Unknown)
    assert isinstance(cycle.values["d"], Unknown)
    assert len(list(tables(cycle.values))) == 2
    plain(cycle.values)
    laughs = "a = ['lol']\n" + "a = [a, a, a, a, a, a, a, a]\n" * 40 + "b = a == [a]\nc = '%s' % (a,)\nd = f'{a}'\n"
    config = read(laughs + "import copy\ne = copy.deepcopy(a)\ng = dict(h=a)")
    assert all(isinstance(config.values[name], Unknown) for name in "bcd")
    assert len(str(plain(config.values))) < 10**6


def test_loops_end_with_the_budget() -> None:
    nested = "x = [" + "0 " + "".join(f"for v{i} in range(40) " for i in range(6)) + "]\ny = 1"
    config = read(nested)
    assert "more than is done" in config.values["x"].why
    grown = read("a = [0]\nfor i in range(40000):\n    a += a\nb = len(a)")
    assert isinstance(grown.values["b"], Unknown) or grown.values["b"] <= 2 * MOST_ITEMS


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("x = 1\ny = (\n", 2, "is no Python"),
        ("x = " + "-" * 100_000 + "1", None, "is nested too deep"),
        ("x = 1" + " + 1" * 100_000, None, "is nested too deep"),
        ("x = '\0'", None, "is no Python"),
        ("#" * (2 << 20), None, "is larger than 1 MB"),
    ],
)
def test_what_is_no_configuration_is_one_clear_line(text: str, line: int | None, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        read(text)
    assert caught.value.line == line
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_bases_are_merged_and_deleted_as_mmengine_does(tmp_path: Path) -> None:
    write(tmp_path, "_base_/model.py", "model = dict(type='A', head=dict(x=1, y=2), neck=dict(n=1))\n")
    write(tmp_path, "_base_/run.py", "run = dict(epochs=3)\nhooks = ['a']\nspare = 1\n")
    path = write(
        tmp_path,
        "config.py",
        "_base_ = ['_base_/model.py', './_base_/run.py']\n"
        "model = dict(head=dict(y=3), neck=dict(_delete_=True, m=2))\n"
        "hooks = {{_base_.hooks}} + ['b']\n"
        "twice = '{{_base_.run.epochs}}'\n"
        "name = '{{ fileBasenameNoExtension }}-1'\n"
        "again = _base_.model.head.x + 1\n"
        "del _base_.spare\n",
    )
    config = composed(path)
    assert plain(config.values) == {
        "model": {"type": "A", "head": {"x": 1, "y": 3}, "neck": {"m": 2}},
        "run": {"epochs": 3},
        "hooks": ["a", "b"],
        "twice": 3,
        "name": "config-1",
        "again": 2,
    }
    head = config.values["model"]["head"]
    assert (Path(head.place("x").file).name, head.place("x").line) == ("model.py", 1)
    assert (Path(head.place("y").file).name, head.place("y").line) == ("config.py", 2)
    assert not config.unread


def test_read_base_brings_names_and_values_that_can_be_changed_in_place(tmp_path: Path) -> None:
    write(
        tmp_path,
        "base/data.py",
        "from lib import Load\npipeline = [dict(type=Load)]\nloader = dict(batch=1, set=dict(p=pipeline))\n",
    )
    path = write(
        tmp_path,
        "config.py",
        "from mmengine.config import read_base\n"
        "with read_base():\n"
        "    from .base.data import *\n"
        "    from .base.data import loader as other\n"
        "pipeline.append(dict(type=Load, x=1))\n"
        "loader.update(dict(set=dict(q=2)))\n"
        "other.merge(dict(_delete_=True, batch=4))\n",
    )
    config = composed(path)
    first = {"type": "lib.Load"}
    assert plain(config.values) == {
        "pipeline": [first, {"type": "lib.Load", "x": 1}],
        "loader": {"batch": 1, "set": {"p": [first], "q": 2}},  # a base's settings share nothing, and update goes in
        "other": {"batch": 4},
    }


def test_a_base_that_is_not_there_leaves_what_it_may_say_open(tmp_path: Path) -> None:
    path = write(tmp_path, "config.py", "_base_ = ['../gone.py', 'pkg::x.py', '/abs.py', 'data.yaml']\nm = dict(a=1)\n")
    config = composed(path)
    assert [note.why for note in config.unread] == [
        "is not there",
        "is part of another package, which is not read",
        "is an absolute path, which is not followed",
        "is no Python file",
    ]
    assert {note.at.line for note in config.unread} == {1}
    assert config.values["m"]["a"] == 1
    assert config.values["m"].rest is not None


def test_bases_beside_one_another_may_not_set_one_name(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "x = 1\n")
    write(tmp_path, "b.py", "x = 2\n")
    config = composed(write(tmp_path, "config.py", "_base_ = ['a.py', 'b.py']\n"))
    assert isinstance(config.values["x"], Unknown)


@pytest.mark.parametrize("style", ["old", "new"])
def test_a_cycle_of_bases_is_one_clear_line(tmp_path: Path, style: str) -> None:
    template = "_base_ = '{0}.py'\n" if style == "old" else "with read_base():\n    from .{0} import *\n"
    write(tmp_path, "a.py", template.format("b"))
    write(tmp_path, "b.py", "\n" + template.format("a"))
    with pytest.raises(RecipeError, match="leads back to this file") as caught:
        composed(str(tmp_path / "a.py"))
    assert caught.value.path == str(tmp_path / "b.py")
    assert caught.value.line == (2 if style == "old" else 3)


def test_bases_that_multiply_are_bounded(tmp_path: Path) -> None:
    for level in range(30):
        imports = f"    from .l{level + 1} import a as b\n" * 3 if level < 29 else "    pass\n"
        write(tmp_path, f"l{level}.py", f"with read_base():\n{imports}a = 1\n")
    with pytest.raises(RecipeError, match="more than are read"):
        composed(str(tmp_path / "l0.py"))


def test_a_base_with_an_error_names_the_line_that_asked_for_it(tmp_path: Path) -> None:
    write(tmp_path, "bad.py", "x = (\n")
    with pytest.raises(RecipeError, match=r"bad\.py:1: is no Python"):
        composed(write(tmp_path, "config.py", "_base_ = 'bad.py'\n"))
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(RecipeError, match=r"config\.py:2: the base 'folder\.py' is a folder"):
        composed(write(tmp_path, "config.py", "\n_base_ = 'folder.py'\n"))


def test_rows_and_tables_are_pythons_own_lists_and_dicts() -> None:
    found = read("x = [dict(a=1)]").values["x"]
    assert isinstance(found, Row)
    assert isinstance(found[0], Table)
    assert found == [{"a": 1}]
