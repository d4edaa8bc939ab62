"""Files below a URL, whatever store it names."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from shared.durable import replace_file


class StoreConflict(Exception):
    """Folder and store hold different things under one name, or another trainer writes to the store."""


class Store:
    """Files below a URL of fsspec. Each is written in one request (up to the 50 MB at which s3fs splits), so that it is whole
    or absent.

    Raises ValueError for a URL that is none, or needs what is not installed, and OSError where the store is away.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.files, self.root = fsspec.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            way_out = "pip install 'grasploop[s3]'" if url.startswith("s3:") else str(error)
            raise ValueError(f"the store {url} needs a package that is not installed: {way_out}") from None
        except ValueError as error:
            raise ValueError(f"the store {url!r}: expected a URL as s3://bucket/loop or file:///mnt/loop ({error})") from None

    def read(self, *parts: str) -> bytes | None:
        """A file's content; None without one."""
        try:
            with self._reached():
                data: bytes = self.files.cat_file(self._path(*parts))
            return data
        except FileNotFoundError:
            return None

    def write(self, data: bytes, *parts: str) -> None:
        with self._reached():
            if isinstance(self.files, LocalFileSystem):
                path = Path(self._path(*parts))
                path.parent.mkdir(parents=True, exist_ok=True)
                replace_file(path, data)
            else:
                self.files.pipe_file(self._path(*parts), data)

    def names(self, *parts: str) -> list[str]:
        """What lies in a folder."""
        try:
            with self._reached():
                entries = self.files.ls(self._path(*parts), detail=True)
            return sorted(entry["name"].rstrip("/").rpartition("/")[2] for entry in entries)
        except FileNotFoundError:
            return []

    def remove(self, *parts: str) -> None:
        with suppress(FileNotFoundError), self._reached():
            self.files.rm(self._path(*parts), recursive=True)

    def stamps(self, *parts: str) -> dict[str, str]:
        """Of each file below a folder, by its path there, what changes when its content does. One request per 1,000 files."""
        root = self._path(*parts)
        with self._reached():
            found = self.files.find(root, detail=True)
        return {name.removeprefix(root).lstrip("/"): stamp_of(entry) for name, entry in found.items()}

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Makes an OSError of whatever a store's own package raises while the store is away or refuses."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"the store {self.url} does not answer: {type(error).__name__}: {error}") from error

    def _path(self, *parts: str) -> str:
        return "/".join([self.root.rstrip("/"), *parts])


def stamp_of(entry: object) -> str:
    return hashlib.sha256(repr(entry).encode()).hexdigest()
