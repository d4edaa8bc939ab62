"""The trainer's registry and shards in a store that STORE_URL names."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shared.registry import RegistryError
from shared.retrying import Troubles
from shared.settings import TrainerSettings
from shared.store import Store, StoreConflict, StoreThread, StoreWriter
from trainer_job.data.replay_buffer import shards_folder

STORE_SECONDS = 1.0
"""Between looks at what the store lacks."""


@contextmanager
def kept_in_store(
    settings: TrainerSettings, stopping: threading.Event, troubles: Troubles, tell: Callable[[], None]
) -> Iterator[None]:
    """Continues what the store of `settings` has, if there is one, and keeps it up to date. Raises SystemExit where folders and
    store do not belong together."""
    if settings.store_url is None:
        yield
        return
    try:
        writer = StoreWriter(Store(settings.store_url), settings.models_dir, shards_folder(settings.data_dir))
        troubles.patiently("store", stopping, writer.begin, tell)
    except (ValueError, StoreConflict, RegistryError) as error:
        raise SystemExit(f"STORE_URL or --store-url: {error}") from None
    thread = StoreThread(writer.push, STORE_SECONDS, troubles, last=True)
    thread.start()
    try:
        yield
    finally:
        thread.stop()
