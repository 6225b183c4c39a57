"""A Hugging Face folder, and weights that an index file splits over several files.

The folder's files are read as `transformers` and `diffusers` look for them; an index names files beside itself, and
nothing outside its folder is opened.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from avreview.artifact import Tensor
from avreview.errors import ArtifactError
from avreview.load.context import OpenContext
from avreview.load.pickles.inert import Instance
from avreview.load.pytorch.file import read_weights
from avreview.load.pytorch.reader import TorchFile
from avreview.load.pytorch.safetensors_file import strict_json
from avreview.load.source import Source, open_beside
from avreview.load.wording import quoted

_INDEX_SUFFIX = ".index.json"
# What transformers, diffusers, peft and sentence-transformers look for, in their order
WEIGHTS = tuple(
    name + suffix
    for name in (
        "model.safetensors", "pytorch_model.bin", "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.bin", "adapter_model.safetensors", "adapter_model.bin",
    )
    for suffix in ("", _INDEX_SUFFIX)
)  # fmt: skip
_CONFIGS = ("config.json", "adapter_config.json")
_LARGEST_JSON = 1 << 26
_LARGEST_CONFIG = 1 << 20
_MOST_SHARDS = 10_000


class Weights(NamedTuple):
    """What a file of weights, or an index with its shards, holds; `files` are all that were opened."""

    content: TorchFile
    files: list[Source]


def weights_file(folder: str) -> str | None:
    """The file in a folder that holds the model's weights, or the index to them; None without one."""
    return next((name for name in WEIGHTS if os.path.isfile(os.path.join(folder, name))), None)


def config_file(folder: str) -> str | None:
    """The file in a folder that describes the model; None without one."""
    return next((name for name in _CONFIGS if os.path.isfile(os.path.join(folder, name))), None)


def config(folder: str) -> tuple[Mapping[str, Any], Source | None]:
    """What the folder's configuration says, and its file. Raises ArtifactError when it cannot be read."""
    found = config_file(folder)
    if found is None:
        return {}, None
    source = open_beside(os.path.join(folder, found), found, "configuration")
    read = _json(source, _LARGEST_CONFIG)
    return read if isinstance(read, dict) else {}, source


def is_index(source: Source) -> bool:
    """Whether a JSON file says which file holds which weight."""
    return b'"weight_map"' in source.read(0, _LARGEST_JSON)


def read_index(source: Source, context: OpenContext) -> Weights:
    """The weights of all files that an index names. Raises ArtifactError when they are not as it says."""
    read = _json(source, min(_LARGEST_JSON, context.memory // 16))
    places = read.get("weight_map") if isinstance(read, dict) else None
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise ArtifactError(source.path, "does not say which file holds which weight", "write the index again")
    names = list(dict.fromkeys(places.values()))
    if not names or len(names) > _MOST_SHARDS:
        raise ArtifactError(source.path, f"names {len(names):,} files", "write the index again")
    contents: list[TorchFile] = []
    files: list[Source] = [source]
    joined: dict[str, Any] = {}
    for name in names:
        shard = open_beside(source.path, name, "shard")
        content = read_weights(shard, context)
        files.append(shard)
        contents.append(content)
        _join(joined, content.value, shard.path)
    _compare(source, places, joined)
    return Weights(_together(joined, contents, len(names)), files)


def _join(joined: dict[str, Any], value: Any, path: str) -> None:
    if not isinstance(value, dict) or isinstance(value, Instance):
        raise ArtifactError(path, "holds no table of weights", "write the weights again")
    for name, weight in value.items():
        if name in joined:
            raise ArtifactError(path, f"holds the weight {quoted(str(name))}, which another file holds too",
                                "write the weights again")  # fmt: skip
        joined[name] = weight


def _compare(source: Source, places: Mapping[str, str], joined: Mapping[str, Any]) -> None:
    """Compares what the files hold with what the index says they hold."""
    for more, less, wrong in (
        (places, joined, "names the weight {} that its files do not hold"),
        (joined, places, "does not name the weight {} that its files hold"),
    ):
        odd = next((name for name in more if name not in less), None)
        if odd is not None:
            raise ArtifactError(source.path, wrong.format(quoted(str(odd))), "write the index again")


def _together(joined: Mapping[str, Tensor], contents: list[TorchFile], shards: int) -> TorchFile:
    details = {**contents[0].details, "shards": shards}
    return TorchFile(
        joined,
        contents[0].format,
        [code for content in contents for code in content.code],
        [oddity for content in contents for oddity in content.oddities],
        [limitation for content in contents for limitation in content.limitations],
        details,
    )


def _json(source: Source, limit: int) -> Any:
    if source.size > limit:
        raise ArtifactError(
            source.path, f"has {source.size:,} bytes, more than the {limit:,} allowed", "check the file"
        )
    try:
        return strict_json(source.read(0, source.size), constant=float)  # Python writes NaN, which JSON has not
    except ValueError as error:
        raise ArtifactError(source.path, f"cannot be read ({error})", "write it again") from None
