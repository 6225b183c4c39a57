"""Holding a document against its JSON Schema, and saying in one line where it departs.

The part of draft 2020-12 that the schemas beside this module use: type, enum, const, properties,
additionalProperties, required, items, minItems, minLength, pattern, minimum, exclusiveMinimum, maximum and $ref to
`$defs`. A library would not know the lines of a YAML file nor suggest the right word, and costs more to import than
a review of a small model takes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from avreview.config.document import ConfigError, Document, Place
from avreview.load.wording import quoted

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int,), "number": (int, float),
    "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
_NAMES = {
    "object": "a mapping", "array": "a list", "string": "text", "integer": "a whole number", "number": "a number",
    "boolean": "true or false", "null": "nothing",
}  # fmt: skip
# Options of the command line that a person may look for in a file: what has something run is never asked for there.
_RUNS = {"augment": "--augment TARGET", "augmentation": "--augment TARGET"}


def validate(document: Document, schema: Mapping[str, Any]) -> None:
    """Raises ConfigError at the first place where the document is not what the schema says."""
    _Validator(document, schema).check(document.data, schema, ())


class _Validator:
    def __init__(self, document: Document, root: Mapping[str, Any]) -> None:
        self._document = document
        self._definitions: Mapping[str, Any] = root.get("$defs", {})

    def check(self, value: Any, schema: Mapping[str, Any], place: Place) -> None:
        if "$ref" in schema:
            self.check(value, self._definitions[schema["$ref"].rpartition("/")[2]], place)
        self._type(value, schema, place)
        if "const" in schema and value != schema["const"]:
            raise self._wrong(place, f"has to be {schema['const']!r}")
        if "enum" in schema and value not in schema["enum"]:
            raise self._wrong(place, f"{_shown(value)} is none of {', '.join(map(str, schema['enum']))}"
                              + suggestion(value, schema["enum"]))  # fmt: skip
        if isinstance(value, dict):
            self._mapping(value, schema, place)
        elif isinstance(value, list):
            self._list(value, schema, place)
        elif isinstance(value, str):
            self._text(value, schema, place)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._number(value, schema, place)

    def _type(self, value: Any, schema: Mapping[str, Any], place: Place) -> None:
        wanted = schema.get("type")
        if wanted is None:
            return
        kinds = [wanted] if isinstance(wanted, str) else list(wanted)
        is_bool = isinstance(value, bool)
        if not any(isinstance(value, _TYPES[kind]) and (not is_bool or kind == "boolean") for kind in kinds):
            raise self._wrong(place, f"has to be {' or '.join(_NAMES[kind] for kind in kinds)}, not {_kind(value)}")

    def _mapping(self, value: Mapping[str, Any], schema: Mapping[str, Any], place: Place) -> None:
        known: Mapping[str, Any] = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        for key, entry in value.items():
            if key in known:
                self.check(entry, known[key], (*place, key))
            elif others is False:
                runs = f"; what runs is asked for on the command line: {_RUNS[key]}" if key in _RUNS else ""
                hint = runs or suggestion(key, known) or f"; there are {', '.join(known)}"
                raise self._wrong((*place, key), f"{quoted(key)} is no key here{hint}", named=False)
            elif isinstance(others, Mapping):
                self.check(entry, others, (*place, key))
        for key in schema.get("required", ()):
            if key not in value:
                raise self._wrong(place, f"lacks {quoted(key)}", named=False)
        one_of = [key for entry in schema.get("anyOf", ()) for key in entry["required"]]
        if one_of and not value.keys() & set(one_of):
            raise self._wrong(place, f"lacks {', or '.join(map(quoted, one_of))}", named=False)

    def _list(self, value: list[Any], schema: Mapping[str, Any], place: Place) -> None:
        if len(value) < schema.get("minItems", 0):
            raise self._wrong(place, f"needs at least {schema['minItems']} entries")
        for number, entry in enumerate(value):
            self.check(entry, schema.get("items", {}), (*place, number))

    def _text(self, value: str, schema: Mapping[str, Any], place: Place) -> None:
        if len(value.strip()) < schema.get("minLength", 0):
            raise self._wrong(place, "is empty")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            raise self._wrong(place, f"{_shown(value)} is not {schema.get('description', schema['pattern'])}")

    def _number(self, value: float, schema: Mapping[str, Any], place: Place) -> None:
        least, above, most = (schema.get(key) for key in ("minimum", "exclusiveMinimum", "maximum"))
        if (least is not None and value < least) or (above is not None and value <= above):
            raise self._wrong(place, f"{value} is too small")
        if most is not None and value > most:
            raise self._wrong(place, f"{value} is too large")

    def _wrong(self, place: Place, wrong: str, *, named: bool = True) -> ConfigError:
        name = ".".join(map(str, place)) if named else ""
        return self._document.error(place, f"{name}: {wrong}" if name else wrong)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return _NAMES["boolean"]
    return next(_NAMES[name] for name, kinds in _TYPES.items() if isinstance(value, kinds))


def _shown(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else str(value)[:60]


def suggestion(word: Any, known: Any) -> str:
    """`; did you mean KEY?`, or "" where none of the known words is near."""
    near = difflib.get_close_matches(str(word), list(map(str, known)), n=1, cutoff=0.55)
    return f"; did you mean {near[0]}?" if near else ""
