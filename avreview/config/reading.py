"""Reading a configuration: finding it, checking it, and putting it together with what it builds on."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avreview.config.document import ConfigError, Document, Place, read_document
from avreview.config.pyproject import read_pyproject
from avreview.config.schemas import schema
from avreview.config.settings import NO_RECIPE, OFF, Override, Planned, Settings
from avreview.config.validation import suggestion, validate
from avreview.engine.cards import Catalogue
from avreview.engine.review import Severity
from avreview.errors import UsageError
from avreview.load.wording import quoted

_LONGEST_CHAIN = 10  # files that build on one another
_ADDED = ("overrides", "reviews")  # lists to which a file adds; every other value takes the place of the earlier
_PATHS = ("waivers", "baseline", "rule_folders")
_REVIEW_PATHS = ("model", "checkpoint", "pretrained", "inputs")


def read_settings(path: Path | None, profile: str | None, shipped: Catalogue) -> Settings:
    """The settings of a configuration file (none: of the profile alone); `profile` outranks the file's.

    Raises ConfigError, with line and column, for whatever is wrong.
    """
    documents = _chain(path) if path is not None else []
    stated = next((document.data["profile"] for document in documents if "profile" in document.data), "default")
    chosen = profile or stated
    known = schema("config")["properties"]["profile"]["enum"]
    if chosen not in known:
        raise UsageError(f"no profile is called {quoted(chosen)}; there are {', '.join(known)}")
    documents.append(read_document(Path(__file__).parent / "profiles" / f"{chosen}.yaml"))
    reader = _Reader(shipped, [document.path for document in documents[:-1]])
    settings = Settings(profile=chosen)
    for document in reversed(documents):  # the profile first, the file that was named last
        settings = reader.add(settings, document)
    return settings


def _chain(path: Path) -> list[Document]:
    """The file and what it builds on, nearest first."""
    documents: list[Document] = []
    seen: set[str] = set()
    following: Path | None = path
    while following is not None:
        document = _read(following)
        validate(document, schema("config"))
        documents.append(document)
        seen.add(os.path.realpath(following))
        base = document.data.get("extends")
        if base is None:
            break
        following = following.parent / base
        inside = os.path.realpath(following).startswith(os.path.join(os.path.realpath(path.parent), ""))
        if not inside or "://" in base:
            raise document.error(("extends",), f"{quoted(base)} lies outside the folder of the configuration")
        if os.path.realpath(following) in seen:
            raise document.error(("extends",), f"{quoted(base)} builds on this file again")
        if len(documents) >= _LONGEST_CHAIN:
            raise document.error(("extends",), f"is the {_LONGEST_CHAIN}th file in a row that builds on another")
    return documents


def _read(path: Path) -> Document:
    if path.suffix != ".toml":
        document = read_document(path)
        return document._replace(data={}) if document.data is None else document
    found = read_pyproject(path)
    if found is None:
        raise ConfigError(path, None, "has no [tool.avreview]")
    return found


class _Reader:
    """Adds documents to settings, one after the other."""

    def __init__(self, shipped: Catalogue, files: Sequence[Path]) -> None:
        self._shipped = shipped
        self._files = tuple(map(str, files))
        self._catalogue = shipped

    def add(self, settings: Settings, document: Document) -> Settings:
        """The settings after what a document says."""
        data = document.data
        plain = {key: data[key] for key in ("memory",) if key in data}
        paths = {key: _listed(data[key]) for key in ("waivers", "rule_folders") if key in data}
        changed: dict[str, Any] = {
            **plain,
            **{key: tuple(_from(document, entry) for entry in entries) for key, entries in paths.items()},
            **{key: tuple(_listed(data[key])) for key in ("select", "ignore") if key in data},
            "files": self._files,
        }
        if "baseline" in data:
            changed["baseline"] = _from(document, data["baseline"])
        if "fail_on" in data:
            changed["fail_on"] = Severity.parse(data["fail_on"])
        for key, name in (("timeout", "probe_timeout"), ("memory", "probe_memory"), ("seed", "seed")):
            if key in data.get("probe", {}):
                changed[name] = data["probe"][key]
        settings = settings._replace(**changed)
        if "rule_folders" in data:
            self._catalogue = self._with_folders(document, settings.rule_folders)
        for key in ("select", "ignore"):
            self._check_words(document, key)
        settings = self._add_rules(settings, document)
        overrides = (self._override(document, number) for number in range(len(data.get("overrides", ()))))
        reviews = (_planned(document, entry) for entry in data.get("reviews", ()))
        return settings._replace(overrides=(*settings.overrides, *overrides), reviews=(*settings.reviews, *reviews))

    def _with_folders(self, document: Document, folders: Sequence[str]) -> Catalogue:
        """The rules with those of the folders. Raises ConfigError, with the place, for one that is not there."""
        listed = isinstance(document.data["rule_folders"], list)
        for number, folder in enumerate(folders):
            if not os.path.isdir(folder):
                place: Place = ("rule_folders", number) if listed else ("rule_folders",)
                raise document.error(place, f"{quoted(folder)} is no folder; name one that holds rule cards")
        return self._shipped.with_folders(map(Path, folders))

    def _check_words(self, document: Document, key: str) -> None:
        value = document.data.get(key, ())
        for number, word in enumerate(_listed(value)):
            self._select(document, (key, number) if isinstance(value, list) else (key,), word)

    def _select(self, document: Document, place: Place, word: str) -> set[str]:
        try:
            return self._catalogue.select(word)
        except UsageError as error:
            raise document.error(place, str(error)) from None

    def _add_rules(self, settings: Settings, document: Document) -> Settings:
        severities, thresholds = dict(settings.severities), dict(settings.thresholds)
        for word, entry in document.data.get("rules", {}).items():
            for rule in self._select(document, ("rules", word), word):
                if "severity" in entry:
                    severities[rule] = _severity(entry["severity"])
                for name, value in entry.get("thresholds", {}).items():
                    known = self._catalogue[rule].thresholds
                    if name not in known:
                        there = suggestion(name, known) or (f"; there are {', '.join(known)}" if known else "")
                        wrong = f"{rule} has no threshold {quoted(name)}{there}"
                        raise document.error(("rules", word, "thresholds", name), wrong)
                    thresholds[rule] = {**thresholds.get(rule, {}), name: value}
        return settings._replace(severities=severities, thresholds=thresholds)

    def _override(self, document: Document, number: int) -> Override:
        entry, place = document.data["overrides"][number], ("overrides", number)
        severities: dict[str, Severity | None] = {}
        for word in _listed(entry.get("ignore", ())):
            severities |= dict.fromkeys(self._select(document, (*place, "ignore"), word))
        for word, severity in entry.get("severity", {}).items():
            chosen = self._select(document, (*place, "severity", word), word)
            severities |= dict.fromkeys(chosen, _severity(severity))
        return Override(tuple(_listed(entry["modules"])), severities)


def _planned(document: Document, entry: Mapping[str, Any]) -> Planned:
    paths: dict[str, Any] = {key: _from(document, entry[key]) for key in _REVIEW_PATHS if key in entry}
    if entry.get("recipe", NO_RECIPE) != NO_RECIPE:
        paths["recipe"] = _from(document, entry["recipe"])
    manifests = entry.get("manifests", {})
    paths["manifests"] = tuple(
        (role, _from(document, path)) for role, named in manifests.items() for path in _listed(named)
    )
    reference = entry.get("reference")
    if reference is not None and (document.path.parent / reference).exists():
        paths["reference"] = _from(document, reference)
    return Planned(**{**entry, **paths})


def _from(document: Document, path: str) -> str:
    """A path of a document as a person in the working folder gives it."""
    joined = os.path.join(document.path.parent, path)
    return os.path.normpath(joined)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _severity(word: str) -> Severity | None:
    return None if word == OFF else Severity.parse(word)
