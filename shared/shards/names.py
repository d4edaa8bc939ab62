"""Names of shards: `shard-<n>`, and of one that was written in place of others, `shard-<first>-<last>-<generation>`."""

import re
from collections.abc import Iterable, Sequence
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


def current_names(names: Iterable[str]) -> list[str]:
    """Of these shards those that count, in the order in which they were written: one in whose place another was written does
    not."""

    def widest_first(name: str) -> tuple[int, int, int]:
        first, last, generation = shard_span(name)
        return first, -last, -generation

    current, last = list[str](), -1
    for name in sorted(names, key=widest_first):
        if shard_number(name) > last:
            current.append(name)
            last = shard_number(name)
    return current


def shard_folders(directory: Path) -> list[Path]:
    """Finished shards in the order in which they were written."""
    return [directory / name for name in current_names(_names(directory))]


def replaced_folders(directory: Path) -> list[Path]:
    """Shards in whose place another was written, and that are still there because a kill came in between."""
    names = _names(directory)
    return [directory / name for name in set(names) - set(current_names(names))]


def _names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if _NAME.fullmatch(path.name)] if directory.is_dir() else []
