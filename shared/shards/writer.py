"""Writes shards: whole or not at all."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.durable import sync_path, sync_together, unfinished_folder
from shared.outcome_codec import EncodedOutcome
from shared.shards.names import PREFIX, UNFINISHED, shard_folders, shard_number
from shared.shards.reader import LINES, digest

INDEX_VERSION = 2
ALIGNMENT = 64
COMPRESSED = 4
"""Where what outcomes say is more than one part in so many of their images it is compressed: it shrinks to a tenth."""
Sender = tuple[str, int]
"""The worker that numbers an outcome, and the number."""


class ShardWriter:
    """Writes shards into `directory`; several processes may write into the same one. owner: tells them apart, if need be."""

    def __init__(self, directory: Path, owner: str = "") -> None:
        self.directory, self.owner = directory, f"{owner}-" if owner else ""
        directory.mkdir(parents=True, exist_ok=True)

    def write(self, outcomes: Sequence[EncodedOutcome], senders: Sequence[Sender | None] = ()) -> Path:
        """Writes one shard and returns its folder once it is on the disk. senders: who numbers each outcome, if anybody does.

        Raises ValueError for no outcomes and for an id given twice.
        """
        ids = [outcome.id for outcome in outcomes]
        if not ids:
            raise ValueError("expected at least one outcome for a shard, got none")
        if len(set(ids)) < len(ids):
            raise ValueError(f"expected distinct outcome ids, got {len(ids) - len(set(ids))} repeated ones")
        with unfinished_folder(self.directory / f"{UNFINISHED}{self.owner}{uuid.uuid4().hex}") as folder:
            write_files(folder, outcomes, numbering(senders or [None] * len(outcomes)))
            return self._publish(folder)

    def _publish(self, folder: Path) -> Path:
        folders = shard_folders(self.directory)
        number = shard_number(folders[-1].name) + 1 if folders else 1
        while True:
            shard = self.directory / f"{PREFIX}{number:06d}"
            try:
                os.rename(folder, shard)  # refuses a folder that holds files: another writer was first
            except OSError:
                if not shard.exists():
                    raise
                number += 1
                continue
            sync_path(self.directory)
            return shard

    def remove_unfinished(self) -> int:
        """Removes what a killed writer of this owner left behind; it must not write into the directory just now."""
        mine = re.compile(re.escape(f"{UNFINISHED}{self.owner}") + "[0-9a-f]{32}")
        leftovers = [path for path in self.directory.iterdir() if mine.fullmatch(path.name)]
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)
        return len(leftovers)


def write_files(folder: Path, outcomes: Sequence[EncodedOutcome], numbers: dict[str, Any]) -> None:
    """Writes the files of a shard into `folder`. numbers: see `numbering`."""
    lines, offsets, position = [], dict[str, int](), 0
    known = dict[int, str]()  # of the same bytes, which the outcomes of a scene share, the digest is made once
    with open(folder / "images.bin", "wb") as images:
        for outcome in outcomes:
            digests = {name: known.get(id(data)) or digest(data) for name, data in outcome.images.items()}
            known |= {id(data): digests[name] for name, data in outcome.images.items()}
            for name, data in outcome.images.items():
                if digests[name] not in offsets:
                    images.write(b"\0" * (-position % ALIGNMENT))
                    position += -position % ALIGNMENT
                    offsets[digests[name]] = position
                    images.write(data)
                    position += len(data)
            lines.append(_line(outcome, {name: offsets[key] for name, key in digests.items()}, digests))
    write_rows(folder, [outcome.id for outcome in outcomes], [outcome.kind for outcome in outcomes], lines, numbers)


def numbering(senders: Sequence[Sender | None]) -> dict[str, Any]:
    """What an index says of who numbered its outcomes."""
    ranges = dict[str, list[list[int]]]()
    for worker, number in (sender for sender in senders if sender):
        mine = ranges.setdefault(worker, [])
        if mine and mine[-1][1] + 1 == number:
            mine[-1][1] = number
        else:
            mine.append([number, number])
    return {"numbers": ranges, "unnumbered": [row for row, sender in enumerate(senders) if not sender]}


def write_rows(folder: Path, ids: list[str], kinds: list[str], lines: list[bytes], numbers: dict[str, Any]) -> None:
    """Writes outcomes.jsonl and index.json of a shard whose images are there already. numbers: see `numbering`. Then all of it
    is on the disk."""
    text, images = b"".join(line + b"\n" for line in lines), folder / "images.bin"
    if COMPRESSED * len(text) > (images.stat().st_size if images.exists() else 0):
        (folder / f"{LINES}.gz").write_bytes(gzip.compress(text, 1, mtime=0))
    else:
        (folder / LINES).write_bytes(text)
    index = {"v": INDEX_VERSION, "ids": ids, "kinds": kinds, "digests": [digest(line) for line in lines]} | numbers
    (folder / "index.json").write_text(json.dumps(index))
    sync_together([folder, *folder.iterdir()])


def _line(outcome: EncodedOutcome, at: dict[str, int], digests: dict[str, str]) -> bytes:
    head = json.dumps({"id": outcome.id, "kind": outcome.kind, "at": at, "digests": digests}).encode()
    # JSON has line breaks only between its tokens, where a space says the same.
    return head[:-1] + b', "meta": ' + b" ".join(outcome.meta.splitlines()) + b"}"
