"""Any folder in a store, and back: collections, recorded episodes, a registry that is only read."""

import argparse
import hashlib
import json
import os
import tempfile
from pathlib import Path

from shared.durable import private_folder, replace_file
from shared.store.files import Store

KNOWN = ".store.json"
"""In a copied folder: what each file was in the store when it was copied."""


def push_folder(folder: Path, store: Store) -> int:
    """Copies the files that the store lacks or has otherwise, in the order of their paths; returns how many."""
    copied = 0
    for path in sorted(each for each in folder.rglob("*") if each.is_file() and each.name != KNOWN):
        parts, data = path.relative_to(folder).parts, path.read_bytes()
        if store.read(*parts) != data:
            store.write(data, *parts)
            copied += 1
    return copied


def pull_folder(store: Store, folder: Path) -> int:
    """Makes a folder what the store has; returns how many files were copied. Raises FileNotFoundError where it has nothing."""
    stamps, known = store.stamps(), _known(folder)
    if not stamps:
        raise FileNotFoundError(f"{store.url} holds no files: is the URL right?")
    if astray := [name for name in stamps if ".." in name.split("/")]:
        raise ValueError(f"{store.url} holds {astray[0]!r}: expected files below it")
    changed = [name for name, stamp in stamps.items() if known.get(name) != stamp or not (folder / name).is_file()]
    for name in changed:
        data = store.read(*name.split("/"))
        if data is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            replace_file(folder / name, data)
    for name in known.keys() - stamps.keys():
        (folder / name).unlink(missing_ok=True)
    replace_file(folder / KNOWN, json.dumps(stamps).encode())
    return len(changed)


def fetched(place: str) -> Path:
    """The folder of that path, or of that URL: then a copy in `~/.cache/grasploop`, of which only what changed is fetched.

    Raises ValueError for a URL that cannot be used, and OSError where the store is away or empty.
    """
    if "://" not in place:
        return Path(place)
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if not os.access(caches if caches.exists() else caches.parent, os.W_OK):
        caches = Path(tempfile.gettempdir())
    folder = private_folder(caches / "grasploop" / hashlib.sha256(place.encode()).hexdigest()[:16])
    pull_folder(Store(place), folder)
    return folder


def folder_or_url(place: str) -> Path:
    """`fetched` as the type of an option of argparse, which then tells what is wrong."""
    try:
        return fetched(place)
    except (ValueError, OSError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _known(folder: Path) -> dict[str, str]:
    try:
        known: dict[str, str] = json.loads((folder / KNOWN).read_bytes())
        return known
    except (OSError, ValueError):
        return {}
