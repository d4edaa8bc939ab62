"""Shards of outcomes in a store, and back."""

import uuid
from contextlib import suppress
from pathlib import Path

from shared.durable import sync_path, unfinished_folder, write_synced
from shared.shards import UNFINISHED, current_names, shard_folders, shard_span
from shared.store.files import Store, StoreConflict

SHARDS, INDEX = "shards", "index.json"
FILES = frozenset({INDEX, "outcomes.jsonl", "outcomes.jsonl.gz", "images.bin"})


def push_shards(folder: Path, store: Store) -> int:
    """Copies shards that the store lacks, then removes those in whose place they stand; returns how many were new."""
    local, new = shard_folders(folder), 0
    there = {name for name in _shard_names(store) if store.read(SHARDS, name, INDEX) is not None}
    for shard in local:
        if shard.name in there:
            continue
        with suppress(FileNotFoundError):  # another was just written in its place
            for path in sorted(shard.iterdir(), key=lambda path: path.name == INDEX):
                store.write(path.read_bytes(), SHARDS, shard.name, path.name)
            there.add(shard.name)
            new += 1
    for name in there - set(current_names(there)):
        store.remove(SHARDS, name, INDEX)
        store.remove(SHARDS, name)
    return new


def pull_shards(store: Store, folder: Path) -> int:
    """Copies shards that the folder lacks; returns how many were new. One in place of others stands so here too. Raises
    StoreConflict where the folder has another shard of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    local, new = {shard.name: shard for shard in shard_folders(folder)}, 0
    there = {name: index for name in _shard_names(store) if (index := store.read(SHARDS, name, INDEX)) is not None}
    for name in current_names(there.keys() | local.keys()):
        if name in local:
            if name in there and (local[name] / INDEX).read_bytes() != there[name]:
                raise StoreConflict(
                    f"{local[name]} is another shard than that at {store.url}: two loops. Give one of them another URL, or an "
                    "empty folder"
                )
            continue
        with unfinished_folder(folder / f"{UNFINISHED}mirror-{uuid.uuid4().hex}") as temporary:
            for file in FILES & set(store.names(SHARDS, name)):
                write_synced(temporary / file, there[name] if file == INDEX else store.read(SHARDS, name, file) or b"")
            sync_path(temporary)
            temporary.rename(folder / name)
        sync_path(folder)
        new += 1
    return new


def _shard_names(store: Store) -> list[str]:
    found = []
    for name in store.names(SHARDS):
        with suppress(ValueError):
            shard_span(name)
            found.append(name)
    return found
