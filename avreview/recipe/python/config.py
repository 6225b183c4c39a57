"""A Python configuration with its bases, as mmcv and mmengine compose it, without running any of it."""

from __future__ import annotations

import ast
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from avreview.errors import ArtifactError
from avreview.load.wording import one_line, quoted
from avreview.recipe.files import MOST_FILES, RecipeError, RecipeFiles
from avreview.recipe.model import Place, Unread
from avreview.recipe.python.evaluate import BASE
from avreview.recipe.python.execute import Executor
from avreview.recipe.python.limits import MOST_BASES, MOST_BYTES, Budget
from avreview.recipe.python.merging import handed_on, merged
from avreview.recipe.python.values import Imported, Row, Table, Unknown


class PythonConfig(NamedTuple):
    """What a configuration sets, with places, and what of it was not read."""

    values: Table
    unread: Sequence[Unread]


def read_config(path: str, text: str, files: RecipeFiles) -> PythonConfig:
    """The configuration in a file whose text is at hand. Raises RecipeError."""
    chain = _Chain(files)
    try:
        return PythonConfig(_without_imports(chain.load(path, text, ())), chain.unread)
    except RecursionError:
        raise RecipeError(path, None, "is nested too deep to be read", "write it flatter") from None


class _Chain:
    """The files of one configuration."""

    def __init__(self, files: RecipeFiles) -> None:
        self.unread: list[Unread] = []
        self._files = files
        self._budget = Budget()
        self._trees: dict[str, ast.Module] = {}
        self._loads = 0

    def load(self, path: str, text: str | None, above: tuple[str, ...]) -> Table:
        """What a file sets, its bases included. `above` are the files that led to it."""
        self._loads += 1
        if self._loads > MOST_FILES:
            raise RecipeError(path, None, f"is read as the base number {MOST_FILES}, more than are read", "shorten it")
        tree = self._trees.get(path)
        if tree is None:
            tree = self._trees[path] = _parsed(path, self._files.read(path) if text is None else text)
        above = (*above, os.path.normpath(path))
        executor = Executor(path, self._budget, lambda node: self._imported(node, path, above))
        base = self._bases(tree, executor, path, above)
        executor.variables.put(BASE, base, base.at)
        executor.run(tree.body)
        self.unread += executor.unread
        own = merged(_configured(executor.variables), base)
        return handed_on(own) if len(above) > 1 else own

    def _bases(self, tree: ast.Module, executor: Executor, path: str, above: tuple[str, ...]) -> Table:
        """All bases that a file names in `_base_`, together."""
        together = Table(Place(path, 1))
        nodes = [node for node in tree.body if isinstance(node, ast.Assign) and _names_base(node)]
        if not nodes:
            return together
        at = Place(path, nodes[-1].lineno)
        named = executor.evaluated(nodes[-1].value)
        listed = [named] if isinstance(named, str | Unknown) else named
        if not isinstance(listed, list | tuple) or (isinstance(listed, Row) and listed.rest is not None):
            self._missing(together, "its bases", "are not given as names of files", at)
            return together
        for entry in listed:
            if not isinstance(entry, str):
                why = entry.why if isinstance(entry, Unknown) else "is no name of a file"
                self._missing(together, "a base", why, at)
                continue
            self._add(together, entry, at, path, above)
        return together

    def _add(self, together: Table, entry: str, at: Place, path: str, above: tuple[str, ...]) -> None:
        """One base beside others. mmengine refuses a name that two of them set."""
        found = self._base(entry, at, path, above)
        if found is None:
            together.rest = Unknown(f"is perhaps set by the base {quoted(entry)}, which was not read", at)
            return
        for key, value in found.items():
            if key in together:
                value = Unknown("is set by two bases beside one another, which mmengine refuses", found.place(key))
            together.put(key, value, found.place(key))
        together.rest = together.rest or found.rest

    def _base(self, entry: str, at: Place, path: str, above: tuple[str, ...]) -> Table | None:
        what = f"the base {quoted(entry)}"
        if "::" in entry:
            self._note(what, "is part of another package, which is not read", at)
            return None
        if os.path.isabs(entry) or "\0" in entry or not entry.endswith(".py"):
            why = "is an absolute path, which is not followed" if os.path.isabs(entry) else "is no Python file"
            self._note(what, why, at)
            return None
        return self._file(os.path.normpath(os.path.join(os.path.dirname(path), entry)), what, at, above)

    def _file(self, target: str, what: str, at: Place, above: tuple[str, ...]) -> Table | None:
        if target in above:
            raise RecipeError(at.file, at.line, f"{what} leads back to this file", "take it out of `_base_`")
        if len(above) > MOST_BASES:
            raise RecipeError(at.file, at.line, f"is more than {MOST_BASES} bases deep", "shorten the chain")
        if not os.path.lexists(target):
            self._note(what, "is not there", at)
            return None
        try:
            return self.load(target, None, above)
        except RecipeError:
            raise
        except ArtifactError as error:
            raise RecipeError(at.file, at.line, f"{what} {error.wrong}", error.remedy) from None

    def _note(self, what: str, why: str, at: Place) -> None:
        self.unread.append(Unread(what, why, at))

    def _missing(self, together: Table, what: str, why: str, at: Place) -> None:
        self._note(what, why, at)
        together.rest = Unknown(f"is perhaps set by {what}, which {why}", at)

    def _imported(self, node: ast.ImportFrom, path: str, above: tuple[str, ...]) -> Mapping[str, Any]:
        """What `from .x import …` brings inside `with read_base():`."""
        at = Place(path, node.lineno)
        what = f"the base {quoted('.' * node.level + (node.module or ''))}"
        found = None
        if node.level:
            folder = os.path.join(os.path.dirname(path), *[".."] * (node.level - 1))
            target = os.path.normpath(os.path.join(folder, *(node.module or "__init__").split("."))) + ".py"
            found = self._file(target, what, at, above)
        else:
            self._note(what, "is part of another package, which is not read", at)
        if found is None:
            unknown = Unknown(f"comes from {what}, which was not read", at)
            return {alias.asname or alias.name: unknown for alias in node.names if alias.name != "*"}
        if any(alias.name == "*" for alias in node.names):
            return found
        chosen = Table(at)
        for alias in node.names:
            value = found.get(alias.name, Unknown(f"is not set by {what}", at))
            chosen.put(alias.asname or alias.name, value, found.place(alias.name))
        return chosen


def _parsed(path: str, text: str) -> ast.Module:
    """The syntax tree of a file. Raises RecipeError for what is no Python, or too much of it."""
    if len(text) > MOST_BYTES:
        raise RecipeError(path, None, f"is larger than {MOST_BYTES >> 20} MB, which no configuration is", "shorten it")
    wrong, line = "is nested too deep to be read", None
    try:
        return ast.parse(text)
    except SyntaxError as error:
        wrong, line = f"is no Python ({one_line(error.msg, 80)})", error.lineno
    except ValueError as error:
        wrong = f"is no Python ({one_line(str(error), 80)})"
    except (RecursionError, MemoryError):
        pass
    raise RecipeError(path, line, wrong, "mend it there" if line else "mend it")


def _names_base(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == BASE for target in node.targets)


def _configured(variables: Table) -> Table:
    """The variables that a file hands on: all but private ones. Those that import it see its imports as well."""
    own = Table(variables.at)
    for name, value in variables.items():
        if name != BASE and not name.startswith("__"):
            own.put(name, value, variables.place(name))
    return own


def _without_imports(values: Table) -> Table:
    """The settings: no modules, classes and functions."""
    for name in [name for name, value in values.items() if isinstance(value, Imported)]:
        del values[name]
    return values
