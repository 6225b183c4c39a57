"""The report as YAML: the same structure as the JSON form, for people. ASCII, and one line for each short text."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from avreview.report.escape import is_risky
from avreview.report.structure import to_dict

_NEVER = (1 << 31) - 1  # columns at which a line is broken

if TYPE_CHECKING:
    import yaml

    from avreview.engine.review import Report


def write(report: Report, stream: TextIO) -> None:
    """Writes the whole report, in the structure that `schema/report-1.json` describes."""
    write_structure(to_dict(report), stream)


def write_structure(structure: Mapping[str, Any], stream: TextIO) -> None:
    """Writes a mapping of JSON's types as YAML without anchors or tags, in the order it has.

    Rows of tables and other mappings of plain values take one line each. No line is broken, so that no text can come
    to stand where a CI runner looks for a command; `##`, which some find anywhere, is escaped: it can only stand in
    a text, and every such text is double-quoted.
    """
    import yaml

    text = yaml.dump(
        structure, Dumper=_dumper(), sort_keys=False, default_flow_style=None, width=_NEVER, allow_unicode=False
    )
    stream.write(text.replace("##", "#\\x23"))


@functools.cache
def _dumper() -> type[yaml.SafeDumper]:
    """PyYAML's safe dumper, by libyaml where it is there: paragraphs of several lines as blocks, risky text quoted."""
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        risky = is_risky(text)
        style = '"' if risky else "|" if "\n" in text else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent)
    return Dumper
