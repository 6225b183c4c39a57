"""Read every recipe below folders, and say how much was recovered: python benchmarks/recipes.py FOLDER…

By dialect: how many files were read fully (nothing that concerns a pipeline is in `unread`, and every transform is
known), how many partly, and how many not; then why, and the transforms that nobody here knows, by frequency. The
folders hold copies of public repositories; nothing of them is run.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from avreview.errors import ArtifactError
from avreview.recipe.dialects import open_recipe
from avreview.recipe.model import Recipe

SUFFIXES = (".py", ".yaml", ".yml", ".json")
CONCERNS = ("pipeline", "transform", "dataset", "the base", "everything from", "data", "Hook", "custom_hooks")


def candidates(folders: Sequence[str], below: str) -> Iterator[str]:
    """The files that may be recipes: below a folder whose name holds `below`."""
    for folder in folders:
        for here, inner, names in os.walk(folder):
            inner.sort()
            if below in Path(here).as_posix().lower():
                yield from (
                    os.path.join(here, name)
                    for name in sorted(names)
                    if name.endswith(SUFFIXES) and name != "__init__.py"
                )


def concerning(recipe: Recipe) -> list[str]:
    """What is not known of the recipe's pipelines."""
    notes = [f"{note.what}: {note.why}" for note in recipe.unread if any(word in note.what for word in CONCERNS)]
    unknown = [step.name for pipeline in recipe.pipelines for step in pipeline.steps if not step.is_known]
    return notes + [f"unknown transform {name}" for name in unknown]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    parser.add_argument("--below", default="config", help="only files in folders whose name holds this")
    parser.add_argument("--show", type=int, default=25, help="how many reasons of each kind to print")
    options = parser.parse_args()
    counts, why, unknown, refused = Counter[tuple[str, str]](), Counter[str](), Counter[str](), Counter[str]()
    start, paths = time.perf_counter(), list(candidates(options.folders, options.below))
    for path in paths:
        try:
            recipe = open_recipe(path)
        except ArtifactError as error:
            refused[error.wrong] += 1
            continue
        notes = concerning(recipe)
        if not recipe.pipelines:
            counts[recipe.dialect, "without pipelines"] += 1
        else:
            counts[recipe.dialect, "partly" if notes else "fully"] += 1
        why.update(set(notes))
        unknown.update(step.name for pipeline in recipe.pipelines for step in pipeline.steps if not step.is_known)
    seconds = time.perf_counter() - start
    print(f"{len(paths)} files in {seconds:.1f} s")
    for (dialect, how), count in sorted(counts.items()):
        print(f"{dialect:16} {how:18} {count}")
    for title, counter in (("not read", refused), ("why partly", why), ("unknown transforms", unknown)):
        print(f"\n{title}: {sum(counter.values())}")
        for text, count in counter.most_common(options.show):
            print(f"{count:6}  {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
