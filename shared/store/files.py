"""Registry and shards in a store that a URL names, and back: `python -m services.mirror push --url s3://bucket/loop`.

    python -m services.mirror push --url s3://bucket/loop --every 5     # where the trainer runs
    python -m services.mirror pull --url s3://bucket/loop --every 2     # where a server follows the champion
    python -m services.mirror pull --url s3://bucket/loop --shards      # another machine that trains

Services go on working with folders; those of `--data-dir` are copied. URLs are those of fsspec (`s3://` needs the extra `s3`).
A reader of the store never sees half a version or shard: what makes it one (card, index) comes last, and a pointer, in one
request, when the version is there that it names. So a kill at any point leaves a store that can be read, and the next run
goes on.
"""

import hashlib
import logging
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Literal

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, CliPositionalArg, SettingsConfigDict

from shared.durable import replace_file, sync_folder, unfinished_folder, write_synced
from shared.logs import setup
from shared.registry import AB_TEST, CARD, WEIGHTS, BrokenModel, ModelCard, Registry, RegistryError, is_model_name
from shared.shards import UNFINISHED, current_names, shard_folders, shard_span

log = logging.getLogger(__name__)

INDEX = "index.json"
SHARD_FILES = frozenset({INDEX, "outcomes.jsonl", "outcomes.jsonl.gz", "images.bin"})
POINTERS = ("previous", AB_TEST, "candidate", "champion")
"""In the order in which they are copied: what is told of a candidate, and where to go back, before who serves."""


class MirrorSettings(BaseSettings):
    __doc__ = __doc__

    model_config = SettingsConfigDict(
        cli_prog_name="python -m services.mirror", cli_kebab_case=True, cli_implicit_flags=True, protected_namespaces=()
    )

    direction: CliPositionalArg[Literal["push", "pull"]] = Field(description="into the store, or out of it")
    url: str = Field(description="store, as s3://bucket/loop or file:///mnt/loop")
    models_dir: Path = Field(Path("data/models"), description="registry")
    data_dir: Path = Field(Path("data"), description="its folder `shards` is copied with --shards")
    shards: bool = Field(False, description="copy the shards of outcomes too")
    every: float = Field(0.0, ge=0, description="seconds after which it is done again; 0: once")


class Store:
    """Files below a URL. Each is written in one request (up to the 50 MB at which s3fs splits), so that it is whole or absent.

    Raises OSError where the store is away.
    """

    def __init__(self, url: str) -> None:
        self.files, self.root = fsspec.url_to_fs(url, use_listings_cache=False)

    def read(self, *parts: str) -> bytes | None:
        """A file's content; None without one."""
        try:
            data: bytes = self.files.cat_file(self._path(*parts))
            return data
        except FileNotFoundError:
            return None

    def write(self, data: bytes, *parts: str) -> None:
        if isinstance(self.files, LocalFileSystem):
            path = Path(self._path(*parts))
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        else:
            self.files.pipe_file(self._path(*parts), data)

    def names(self, *parts: str) -> list[str]:
        """What lies in a folder."""
        try:
            return sorted(
                entry["name"].rstrip("/").rpartition("/")[2] for entry in self.files.ls(self._path(*parts), detail=True)
            )
        except FileNotFoundError:
            return []

    def remove(self, *parts: str) -> None:
        with suppress(FileNotFoundError):
            self.files.rm(self._path(*parts), recursive=True)

    def _path(self, *parts: str) -> str:
        return "/".join([self.root.rstrip("/"), *parts])


def push_registry(root: Path, store: Store) -> int:
    """Copies versions that the store lacks, cards that changed, then pointers; returns how many versions were new."""
    registry, new = Registry(root), 0
    for name in registry.names():
        there = set(store.names("models", name))
        pointers = {pointer: _read(root / name / pointer) for pointer in POINTERS}  # before versions: these are then copied
        for version in map(str, registry.versions(name)):
            folder, remote = root / name / version, ("models", name, version)
            card = store.read(*remote, CARD) if version in there else None
            if card is None:
                store.write(registry.read_weights(name, int(version)), *remote, WEIGHTS)
                new += 1
            if card != (current := (folder / CARD).read_bytes()):
                store.write(current, *remote, CARD)
        for pointer, told in pointers.items():
            if told is None:
                store.remove("models", name, pointer)
            elif store.read("models", name, pointer) != told:
                store.write(told, "models", name, pointer)
    return new


def pull_registry(store: Store, root: Path) -> int:
    """Copies what the store has beyond the registry, pointers last; returns how many versions were new. Raises RegistryError
    for weights that are not what their card says."""
    new = 0
    for name in filter(is_model_name, store.names("models")):
        pointers = {pointer: store.read("models", name, pointer) for pointer in POINTERS}  # of what is there, by now or later
        (root / name).mkdir(parents=True, exist_ok=True)
        for version in (each for each in store.names("models", name) if each.isdigit()):
            card, folder = store.read("models", name, version, CARD), root / name / version
            if card is None:
                continue  # on its way into the store
            if not (folder / CARD).exists():
                with unfinished_folder(root / name / f"{UNFINISHED}{uuid.uuid4().hex}") as temporary:
                    weights = store.read("models", name, version, WEIGHTS) or b""
                    if hashlib.sha256(weights).hexdigest() != ModelCard.model_validate_json(card).sha256:
                        raise BrokenModel(f"{name} version {version} in the store: its weights are not those of its card")
                    write_synced(temporary / WEIGHTS, weights)
                    write_synced(temporary / CARD, card)
                    sync_folder(temporary)
                    temporary.rename(folder)
                sync_folder(root / name)
                new += 1
            elif (folder / CARD).read_bytes() != card:
                replace_file(folder / CARD, card)
        for pointer, told in pointers.items():
            if told is None:
                (root / name / pointer).unlink(missing_ok=True)
            elif _read(root / name / pointer) != told:
                replace_file(root / name / pointer, told)
    return new


def push_shards(folder: Path, store: Store) -> int:
    """Copies shards that the store lacks, then removes those in whose place they stand; returns how many were new."""
    local, new = shard_folders(folder), 0
    there = {name for name in _shard_names(store) if store.read("shards", name, INDEX) is not None}
    for shard in local:
        if shard.name in there:
            continue
        with suppress(FileNotFoundError):  # another was just written in its place
            for path in sorted(shard.iterdir(), key=lambda path: path.name == INDEX):
                store.write(path.read_bytes(), "shards", shard.name, path.name)
            there.add(shard.name)
            new += 1
    for name in there - set(current_names(there)):
        store.remove("shards", name, INDEX)
        store.remove("shards", name)
    return new


def pull_shards(store: Store, folder: Path) -> int:
    """Copies shards that the folder lacks; returns how many were new. One in place of others stands so here too."""
    folder.mkdir(parents=True, exist_ok=True)
    local, new = {shard.name for shard in shard_folders(folder)}, 0
    there = {name: index for name in _shard_names(store) if (index := store.read("shards", name, INDEX)) is not None}
    for name in current_names(there):
        if name in local:
            continue
        with unfinished_folder(folder / f"{UNFINISHED}mirror-{uuid.uuid4().hex}") as temporary:
            for file in SHARD_FILES & set(store.names("shards", name)):
                write_synced(temporary / file, there[name] if file == INDEX else store.read("shards", name, file) or b"")
            sync_folder(temporary)
            temporary.rename(folder / name)
        sync_folder(folder)
        new += 1
    return new


def _shard_names(store: Store) -> list[str]:
    found = []
    for name in store.names("shards"):
        with suppress(ValueError):
            shard_span(name)
            found.append(name)
    return found


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def copy(settings: MirrorSettings, store: Store) -> dict[str, int]:
    """One run; what was new."""
    shards = settings.data_dir / "shards"
    if settings.direction == "push":
        return {
            "versions": push_registry(settings.models_dir, store),
            "shards": push_shards(shards, store) if settings.shards else 0,
        }
    return {
        "versions": pull_registry(store, settings.models_dir),
        "shards": pull_shards(store, shards) if settings.shards else 0,
    }


def main() -> None:
    settings = CliApp.run(MirrorSettings)
    setup("mirror", "info", "auto")
    while True:
        try:
            found = copy(settings, Store(settings.url))
            if any(found.values()) or not settings.every:
                log.info("copied", extra={"direction": settings.direction, **found})
        except (OSError, RegistryError) as error:
            if not settings.every:
                raise SystemExit(f"cannot {settings.direction} {settings.url}: {error}") from None
            log.warning("it is tried again", extra={"url": settings.url, "error": str(error)})
        if not settings.every:
            return
        time.sleep(settings.every)


if __name__ == "__main__":
    main()
