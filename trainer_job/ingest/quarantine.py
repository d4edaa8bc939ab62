"""Damaged shards are set aside with the reason; what of them can be read stays in their place, each outcome in its row."""

import json
import logging
import os
import shutil
import zlib
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from shared.durable import replace_file, sync_path, unfinished_folder
from shared.shards import (
    DAMAGED_KIND,
    ShardError,
    ShardReader,
    ShardRow,
    digest,
    numbering,
    shard_folders,
    shard_number,
    text_of,
    write_rows,
)

log = logging.getLogger(__name__)

QUARANTINE = "shards-damaged"
"""Folder beside that of the shards. A text file beside each damaged shard says what is wrong with it."""
SALVAGED = ".salvaged-"

Row = tuple[bytes, str, str]
"""A line with its id and kind."""


def quarantined(directory: Path) -> list[Path]:
    """Damaged shards that were set aside from the shards in `directory`."""
    home = directory.parent / QUARANTINE
    return sorted(path for path in home.iterdir() if path.suffix != ".txt") if home.is_dir() else []


def check_shards(directory: Path) -> None:
    """Sets aside what is damaged among the shards in `directory`. For the one that writes there."""
    for salvaged in directory.glob(f"{SALVAGED}*"):  # a kill interrupted this
        folder = directory / salvaged.name.removeprefix(SALVAGED)
        if folder.exists():
            shutil.rmtree(salvaged)
        else:
            os.rename(salvaged, folder)
    for folder in shard_folders(directory):
        try:
            ShardReader(folder).check()
        except ShardError as error:
            set_aside(error)


def set_aside(error: ShardError) -> None:
    """Moves the damaged shard away, and puts a shard of the same number in its place of what of it can be read."""
    folder, directory = error.folder, error.folder.parent
    if not folder.exists():
        return
    rows = _readable(folder)
    numbers = _numbers(folder, len(rows))
    salvaged = directory / f"{SALVAGED}{folder.name}"
    shutil.rmtree(salvaged, ignore_errors=True)
    if kept := sum(kind != DAMAGED_KIND for _, _, kind in rows):
        with unfinished_folder(salvaged):
            _write(salvaged, folder, rows, numbers)
            reader = ShardReader(salvaged)
            rows = [row if _whole(reader, i) else _lost(folder, i) for i, row in enumerate(rows)]
            kept = sum(kind != DAMAGED_KIND for _, _, kind in rows)
            _write(salvaged, folder, rows, numbers)
    home = directory.parent / QUARANTINE
    home.mkdir(exist_ok=True)
    names = (folder.name if copy == 1 else f"{folder.name}-{copy}" for copy in range(1, 2 + len(list(home.iterdir()))))
    target = next(home / name for name in names if not (home / name).exists())
    story = f"{error.reason}\n{kept} of {len(rows)} outcomes could be read and stay in {folder}\n"
    replace_file(target.with_suffix(".txt"), story.encode(errors="replace"))
    os.rename(folder, target)
    if kept:
        os.rename(salvaged, folder)
    shutil.rmtree(salvaged, ignore_errors=True)
    sync_path(directory)
    log.error("damaged shard set aside", extra={"shard": str(target), "reason": error.reason, "outcomes_kept": kept})


def _readable(folder: Path) -> list[Row]:
    """Lines of a shard, as far as they are; what stands for those that cannot be read in their places."""
    digests = list[str]()
    with suppress(ShardError):
        digests = ShardReader(folder).digests
    text = b""
    with suppress(OSError, ValueError, zlib.error):
        for piece in text_of(folder):
            text += piece
    rows = []
    for i, line in enumerate(text.splitlines()):
        try:
            row = ShardRow.model_validate_json(line)
        except ValidationError:
            rows.append(_lost(folder, i))
        else:
            whole = not digests or digest(line) in digests
            rows.append((line, row.id, row.kind) if whole else _lost(folder, i))
    return rows


def _numbers(folder: Path, rows: int) -> dict[str, Any]:
    """Who numbered a shard's outcomes, lost ones included, as far as its index can be read."""
    try:
        reader = ShardReader(folder)
    except ShardError:
        return numbering([None] * rows)
    # A line may have been torn in two, so that there are more of them than the index knows.
    told = reader.numbers_of_rows[:rows] + [shard_number(folder.name)] * (rows - len(reader))
    origins = [(number, len(list(its))) for number, its in groupby(told)]
    unnumbered = [row for row in reader.unnumbered if row < rows]
    return {"numbers": reader.numbers, "unnumbered": unnumbered, "origins": origins, "removed": reader.removed}


def _lost(folder: Path, row: int) -> Row:
    name = f"{DAMAGED_KIND}:{folder.name}:{row}"
    return json.dumps({"id": name, "kind": DAMAGED_KIND, "at": {}, "meta": {}}).encode(), name, DAMAGED_KIND


def _write(salvaged: Path, folder: Path, rows: list[Row], numbers: dict[str, Any]) -> None:
    images = salvaged / "images.bin"
    if (folder / "images.bin").is_file() and not images.exists():
        os.link(folder / "images.bin", images)  # no copy: the disk may be full
    columns = [name for _, name, _ in rows], [kind for _, _, kind in rows], [line for line, _, _ in rows]
    write_rows(salvaged, *columns, numbers)


def _whole(reader: ShardReader, i: int) -> bool:
    """Whether an outcome's images are there as they were written."""
    try:
        for name in reader.rows[i].at:
            reader.image(i, name)
    except ShardError:
        return False
    return True
