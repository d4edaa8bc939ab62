"""Folders in a store that a URL names, and back, for what does not reach the store itself (STORE_URL).

    python -m services.mirror push --url s3://bucket/loop --shards         # registry and shards that are there already
    python -m services.mirror pull --url s3://bucket/loop --every 2        # beside a server
    python -m services.mirror push --url s3://bucket/cubes --folder data/cubes    # any folder: a collection, episodes

URLs are those of fsspec (`s3://` needs the extra `s3`). A reader of the store never sees half a version or shard.
"""

import logging
import time
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, CliApp, CliPositionalArg, SettingsConfigDict

from shared.logs import setup
from shared.registry import RegistryError
from shared.store import Store, StoreConflict, pull_folder, pull_registry, pull_shards, push_folder, push_registry, push_shards

log = logging.getLogger(__name__)


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
    folder: Path | None = Field(None, description="copy this folder as it is, in place of registry and shards")
    every: float = Field(0.0, ge=0, description="seconds after which it is done again; 0: once")


def copy(settings: MirrorSettings, store: Store) -> dict[str, int]:
    """One run; what was new."""
    shards, pushes = settings.data_dir / "shards", settings.direction == "push"
    if settings.folder is not None:
        return {"files": push_folder(settings.folder, store) if pushes else pull_folder(store, settings.folder)}
    if pushes:
        versions, copied = push_registry(settings.models_dir, store), settings.shards and push_shards(shards, store)
    else:
        versions, copied = pull_registry(store, settings.models_dir), settings.shards and pull_shards(store, shards)
    return {"versions": versions, "shards": int(copied)}


def main() -> None:
    settings = CliApp.run(MirrorSettings)
    setup("mirror", "info", "auto")
    while True:
        try:
            found = copy(settings, Store(settings.url))
            if any(found.values()) or not settings.every:
                log.info("copied", extra={"direction": settings.direction, **found})
        except (OSError, RegistryError, StoreConflict, ValueError) as error:
            if not settings.every or isinstance(error, ValueError):
                raise SystemExit(f"cannot {settings.direction} {settings.url}: {error}") from None
            log.warning("it is tried again", extra={"url": settings.url, "error": str(error)})
        if not settings.every:
            return
        time.sleep(settings.every)


if __name__ == "__main__":
    main()
