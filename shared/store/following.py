"""A thread that keeps folder and store alike, and what a server does in it."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from shared.registry import RegistryError
from shared.retrying import AWAY, Troubles
from shared.store.files import Store, StoreConflict
from shared.store.registries import MODELS, pull_registry
from shared.store.writing import WRITER, WRITER_FILE

log = logging.getLogger(__name__)


def follow_registry(store: Store, root: Path) -> Callable[[], None]:
    """Returns what brings a folder up to date with the store's registry; one request where nothing has changed there. A folder
    that a trainer copies into the store (`make run`) is left to it."""
    seen: dict[str, str] | None = None
    own = root / WRITER_FILE

    def look() -> None:
        nonlocal seen
        if own.exists() and store.read(WRITER) == own.read_bytes():
            return
        if (stamps := store.stamps(MODELS)) != seen:
            pull_registry(store, root)
            seen = stamps

    return look


class StoreThread(threading.Thread):
    """Calls `action` every so many seconds, until stopped and then once more if `last`. While the store is away it waits;
    what is wrong in it is logged once, and looked at again."""

    def __init__(self, action: Callable[[], None], seconds: float, troubles: Troubles, last: bool = False) -> None:
        super().__init__(name="store", daemon=True)
        self._action, self._seconds, self._troubles, self._last = action, seconds, troubles, last
        self._stopping = threading.Event()
        self._said = ""
        self.looked = threading.Event()
        """Set when the first call has returned, or the store is found away, or something wrong in it."""

    def run(self) -> None:
        while True:
            self._once()
            self.looked.set()
            if self._stopping.wait(self._seconds):
                break
        if self._last:
            self._once()

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(timeout=20)

    def _once(self) -> None:
        try:
            with suppress(*AWAY):  # raised where it is still away at the end
                self._troubles.patiently("store", self._stopping, self._action, self.looked.set)
            self._said = ""
        except (RegistryError, StoreConflict) as error:
            if str(error) != self._said:
                log.error("%s", error)
            self._said = str(error)
