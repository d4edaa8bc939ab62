"""Names of shards: `shard-<n>`, and of one that was written in place of others, `shard-<first>-<last>-<generation>`."""

import re
from collections.abc import Sequence
from pathlib import Path

PREFIX = "shard-"
UNFINISHED = ".unfinished-"
_NAME = re.compile(rf"{PREFIX}(\d+)(?:-(\d+)-(\d+))?")


def shard_span(name: str) -> tuple[int, int, int]:
    """(first, last, generation) of the numbers that a shard holds; ValueError for another name."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"expected a name as {PREFIX}000001 or {PREFIX}000001-000032-1, got {name!r}")
    first, last, generation = found.groups()
    return int(first), int(last or first), int(generation or 0)


def shard_number(name: str) -> int:
    """The number of a shard by its folder's name, the last where it holds several: a later shard has a larger one."""
    return shard_span(name)[1]


def rewritten_name(names: Sequence[str]) -> str:
    """The name of the shard that is written in place of these."""
    spans = [shard_span(name) for name in names]
    return f"{PREFIX}{spans[0][0]:06d}-{spans[-1][1]:06d}-{1 + max(generation for _, _, generation in spans)}"


def shard_folders(directory: Path) -> list[Path]:
    """Finished shards in the order in which they were written. One in whose place another was written is none any more."""
    current, last = list[Path](), -1
    for _, path in _by_span(directory):
        if shard_number(path.name) > last:
            current.append(path)
            last = shard_number(path.name)
    return current


def replaced_folders(directory: Path) -> list[Path]:
    """Shards in whose place another was written, and that are still there because a kill came in between."""
    current = set(shard_folders(directory))
    return [path for _, path in _by_span(directory) if path not in current]


def _by_span(directory: Path) -> list[tuple[tuple[int, int, int], Path]]:
    """Of shards that begin with the same number the one that holds the most comes first, of equal ones the newest."""
    if not directory.is_dir():
        return []
    found = ((shard_span(path.name), path) for path in directory.iterdir() if _NAME.fullmatch(path.name))
    return sorted((((first, -last, -generation), path) for (first, last, generation), path in found), key=lambda each: each[0])
