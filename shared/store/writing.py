"""What one trainer keeps in a store: its registry and its shards, copied as they change."""

import uuid
from pathlib import Path

from shared.durable import replace_file
from shared.registry import CARD
from shared.shards import shard_folders
from shared.store.files import Store, StoreConflict, stamp_of
from shared.store.registries import POINTERS, pull_registry, push_registry
from shared.store.shards import pull_shards, push_shards

WRITER = "writer"
"""File of the store: the token of the registry that was copied there last."""
WRITER_FILE = ".writer"
"""The same in the registry's folder."""


class StoreWriter:
    """Copies a registry and shards into a store. `begin` comes first; `push` raises OSError where the store is away.

    Only one trainer writes: another that begins on a folder of its own takes over, and the first then gets StoreConflict.
    """

    def __init__(self, store: Store, models_dir: Path, shards_dir: Path) -> None:
        self.store, self.models_dir, self.shards_dir = store, models_dir, shards_dir
        self._pushed = ""
        self._token = b""

    def begin(self) -> None:
        """Continues the store: from this folder where it was the last that wrote there, else from what the store has."""
        path = self.models_dir / WRITER_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        self._token = path.read_bytes() if path.exists() else uuid.uuid4().hex.encode()
        if self.store.read(WRITER) not in (None, self._token):
            pull_registry(self.store, self.models_dir)
        pull_shards(self.store, self.shards_dir)
        replace_file(path, self._token)
        self.store.write(self._token, WRITER)

    def push(self) -> None:
        """Copies what has changed since the last call."""
        seen = self._seen()
        if seen == self._pushed:
            return
        if self.store.read(WRITER) != self._token:
            raise StoreConflict(f"another trainer writes to {self.store.url} now: stop this one, or give it another URL")
        push_registry(self.models_dir, self.store)
        push_shards(self.shards_dir, self.store)
        self._pushed = seen

    def _seen(self) -> str:
        """Changes when a version, card, pointer or shard does."""
        files = [path for name in (*POINTERS, f"*/{CARD}") for path in sorted(self.models_dir.glob(f"*/{name}"))]
        stats = [(str(path), path.stat().st_mtime_ns, path.stat().st_ino) for path in files]
        return stamp_of((stats, [folder.name for folder in shard_folders(self.shards_dir)]))
