"""Registry, shards and other folders in a store that a URL names. Folders are what services work with: the store's cache.

A reader of the store never sees half a version or shard: what makes it one (card, index) comes last, and a pointer, in one
request, when the version is there that it names. So a kill at any point leaves a store that can be read, and the next run
goes on.
"""

from shared.store.files import Store, StoreConflict
from shared.store.folders import fetched, folder_or_url, pull_folder, push_folder
from shared.store.following import StoreThread, follow_registry
from shared.store.registries import pull_registry, push_registry
from shared.store.shards import pull_shards, push_shards
from shared.store.writing import StoreWriter

__all__ = [
    "Store",
    "StoreConflict",
    "StoreThread",
    "StoreWriter",
    "fetched",
    "folder_or_url",
    "follow_registry",
    "pull_folder",
    "pull_registry",
    "pull_shards",
    "push_folder",
    "push_registry",
    "push_shards",
]
