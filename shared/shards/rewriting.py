"""Shards written anew in place of others: many small ones as one, or without outcomes that are not kept.

The new one holds from the moment that it has its name, in one rename; only then do the others go. A kill at any point leaves
the old ones or the new one to be read.
"""

import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from shared.durable import sync_path, unfinished_folder
from shared.shards.names import UNFINISHED, replaced_folders, rewritten_name
from shared.shards.reader import ShardReader
from shared.shards.writer import write_files

REMOVED = ".removed-"
REWRITING = f"{UNFINISHED}rewriting-"


def rewrite(
    shards: Sequence[ShardReader], kept: Sequence[Sequence[int]], prepare: Callable[[ShardReader, str], None] | None = None
) -> Path:
    """Writes one shard in place of consecutive ones, of the rows that are kept of each, and removes those; its folder.

    prepare: called with the new shard and the name that it will have, before it has it. Raises ShardError where what is kept is
    damaged.
    """
    directory, folders = shards[0].folder.parent, [shard.folder for shard in shards]
    name = rewritten_name([folder.name for folder in folders])
    unnumbered = {shard.folder: set(shard.unnumbered) for shard in shards}
    rows = [(shard, row) for shard, its in zip(shards, kept, strict=True) for row in its]
    with unfinished_folder(directory / f"{REWRITING}{uuid.uuid4().hex}") as folder:
        index = {
            "numbers": _all_numbers(shards),
            "unnumbered": [place for place, (shard, row) in enumerate(rows) if row in unnumbered[shard.folder]],
            "origins": [(number, len(list(its))) for number, its in groupby(shard.numbers_of_rows[row] for shard, row in rows)],
            "removed": sum(shard.removed + len(shard) for shard in shards) - len(rows),
        }
        write_files(folder, [shard.encoded(row) for shard, row in rows], index)
        if prepare:
            prepare(ShardReader(folder), name)
        os.rename(folder, directory / name)
    sync_path(directory)
    for old in folders:
        _remove(old)
    return directory / name


def finish_removals(directory: Path) -> None:
    """Finishes what a kill interrupted. For the one that rewrites there."""
    if directory.is_dir():
        for path in directory.iterdir():
            if path.name.startswith((REMOVED, REWRITING)):
                shutil.rmtree(path, ignore_errors=True)
        for folder in replaced_folders(directory):
            _remove(folder)


def _remove(folder: Path) -> None:
    """Renamed first: whoever opens a shard finds all of it or nothing."""
    gone = folder.with_name(f"{REMOVED}{folder.name}")
    os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)


def _all_numbers(shards: Sequence[ShardReader]) -> dict[str, list[list[int]]]:
    """Of each worker the ranges of its numbers in any of the shards."""
    found = dict[str, list[list[int]]]()
    for worker in dict.fromkeys(worker for shard in shards for worker in shard.numbers):
        for first, last in sorted(each for shard in shards for each in shard.numbers.get(worker, [])):
            mine = found.setdefault(worker, [])
            if mine and first <= mine[-1][1] + 1:
                mine[-1][1] = max(mine[-1][1], last)
            else:
                mine.append([first, last])
    return found
