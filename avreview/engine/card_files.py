"""Reading the files of a rule folder: YAML of people who are trusted, with errors that name the file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from avreview.errors import AvreviewError


def load_yaml(path: Path) -> Any:
    """A YAML file of the rule folder."""
    return parse_yaml(path, read_text(path))


def read_text(path: Path) -> str:
    """A text file of the rule folder. Raises AvreviewError when it cannot be read."""
    return read_with_digest(path)[0]


def read_with_digest(path: Path) -> tuple[str, str]:
    """The same, with the sha256 of its bytes."""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AvreviewError(f"{path}: cannot be read: {error}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n"), hashlib.sha256(raw).hexdigest()


def parse_yaml(path: Path, text: str) -> Any:
    """The YAML in `text`, which came from `path`; parsed by libyaml where PyYAML has it."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader, either way
    except yaml.YAMLError as error:
        raise AvreviewError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
