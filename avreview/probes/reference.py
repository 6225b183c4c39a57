"""What `--reference` names, as far as the parent has to know before a child opens it."""

from __future__ import annotations

import os
import re
import zipfile
from typing import NamedTuple

from avreview.engine.resolve import NotAvailable, fact
from avreview.errors import ArtifactError
from avreview.probes.probing import Probing

_FACTORY = re.compile(r"[\w.]+:[\w.]+")


def check_reference(text: str) -> None:
    """Raises ArtifactError for what is neither a file nor of the form of a factory; nothing is opened."""
    if not os.path.exists(text) and not _FACTORY.fullmatch(text):
        raise ArtifactError(text, "no such file", "check the path, or name a factory as pkg.module:factory")


class Reference(NamedTuple):
    """The text after `--reference`.

    `user_code` is True for `pkg.module:factory`, which runs code of the person's own; `recorded` for an .npz file,
    which brings the inputs with it.
    """

    text: str
    user_code: bool
    recorded: bool


@fact
def reference(probing: Probing) -> Reference:
    """The reference that was given. Raises NotAvailable where the probe or the reference was not asked for."""
    probing.require("parity")
    text = probing.request.reference
    if not text:
        raise NotAvailable(
            "needs something to compare with; pass --reference with a TorchScript, .pt2, ONNX or recorded .npz file, "
            "or pkg.module:factory"
        )
    exists = os.path.exists(text)
    return Reference(text, user_code=not exists, recorded=exists and _is_recorded(text))


def _is_recorded(path: str) -> bool:
    """Whether a file is an .npz archive, by its content."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)
