"""Versioned model store: `<root>/<name>/<version>/{weights.safetensors, card.json}` and the pointer `<root>/<name>/champion`.

A version is written whole into a temporary folder and renamed; a pointer is a small text file that is replaced
atomically. Readers follow only the pointers, so nobody ever sees half a version.
"""

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from grasp_client.contract import first_problem
from shared.durable import replace_file, sync_path, unfinished_folder, write_synced
from shared.registry.ab_tests import AbTestState
from shared.registry.cards import ModelCard

WEIGHTS, CARD, AB_TEST = "weights.safetensors", "card.json", "ab_test.json"
UNFINISHED = ".tmp-"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
MAX_POINTER = 32
"""Bytes of a pointer that are read."""


class RegistryError(Exception):
    """Base of what can go wrong with the registry."""


class UnknownModel(RegistryError):
    """No model of that name, or a model without a champion."""


class UnknownVersion(RegistryError):
    """The model has no such version."""


class BrokenModel(RegistryError):
    """A version whose card or weights cannot be trusted."""


def _number(text: str) -> int | None:
    return int(text) if _VERSION.fullmatch(text) else None


def is_model_name(name: str) -> bool:
    """Whether a model may have this name, which is then also that of its folder."""
    return _NAME.fullmatch(name) is not None


class Registry:
    """A registry on a file system; safe for many readers and one writer per model."""

    def __init__(self, root: Path | str, read_only: bool = False):
        self.root, self._read_only = Path(root), read_only

    def names(self) -> list[str]:
        """Models that have at least one version."""
        if not self.root.is_dir():
            return []
        return sorted(path.name for path in self.root.iterdir() if is_model_name(path.name) and self.versions(path.name))

    def versions(self, name: str) -> list[int]:
        """Versions of a model in rising order; empty for an unknown one."""
        folder = self._folder(name)
        if not folder.is_dir():
            return []
        found = (_number(path.name) for path in folder.iterdir() if (path / CARD).is_file())
        return sorted(number for number in found if number is not None)

    def champion(self, name: str) -> int | None:
        """The version that serves, or None."""
        return self._pointer(name, "champion")

    def candidate(self, name: str) -> int | None:
        """The version that is being judged, or None."""
        return self._pointer(name, "candidate")

    def ab_test(self, name: str) -> AbTestState | None:
        """How the candidate is being tested, or None: without one, or when nothing readable is written down of it."""
        try:
            state = AbTestState.model_validate_json((self._folder(name) / AB_TEST).read_bytes())
        except (OSError, ValidationError):
            return None
        return state if state.candidate == self.candidate(name) else None

    def set_ab_test(self, name: str, state: AbTestState) -> None:
        """Write down how the candidate is being tested: the server gives it the share of the requests that this says."""
        replace_file(self._folder(name) / AB_TEST, state.model_dump_json().encode())

    def previous(self, name: str) -> int | None:
        """The champion before this one, or None."""
        return self._pointer(name, "previous")

    def card(self, name: str, version: int) -> ModelCard:
        """The card of a version. Raises UnknownModel, UnknownVersion or BrokenModel."""
        path = self._version_folder(name, version) / CARD
        try:
            card = ModelCard.model_validate_json(path.read_bytes())
        except OSError as error:
            raise BrokenModel(f"the card {path} cannot be read: {error}") from error
        except ValidationError as error:
            raise BrokenModel(f"the card {path} cannot be read: {first_problem(error)}") from error
        return card.model_copy(update={"name": name, "version": version})

    def weights_path(self, name: str, version: int) -> Path:
        """Where the weights lie. Raises UnknownModel, UnknownVersion or BrokenModel when there are none."""
        path = self._version_folder(name, version) / WEIGHTS
        if not path.is_file():
            raise BrokenModel(f"{name} version {version} has no {WEIGHTS}")
        return path

    def read_weights(self, name: str, version: int) -> bytes:
        """The weights, checked against the card's sha256. Raises BrokenModel when they differ."""
        try:
            data = self.weights_path(name, version).read_bytes()
        except OSError as error:
            raise BrokenModel(f"the weights of {name} version {version} cannot be read: {error}") from error
        found, expected = hashlib.sha256(data).hexdigest(), self.card(name, version).sha256
        if found != expected:
            raise BrokenModel(
                f"{name} version {version}: sha256 of the weights is {found}, the card says {expected or 'nothing'}"
            )
        return data

    def cards(self, name: str) -> Iterator[ModelCard]:
        """Cards of all versions that can be read, the newest first."""
        for version in reversed(self.versions(name)):
            with suppress(BrokenModel):
                yield self.card(name, version)

    def fault(self, name: str, pointer: str = "champion") -> str | None:
        """Why a pointer cannot be followed; None when it can, or when there is none."""
        version = self._pointer(name, pointer)
        if version is None:
            path = self._folder(name) / pointer
            return f"{path} names no version" if path.exists() else None
        try:
            self.read_weights(name, version)
        except RegistryError as error:
            return str(error)
        return None

    def fallbacks(self, name: str) -> Iterator[int]:
        """Intact versions that may stand in for the champion, best first: the one before it, then those that were promoted
        once, then the rest, newest first."""
        previous, ranked = self.previous(name), list[tuple[bool, bool, int]]()
        for card in self.cards(name):
            if card.version != self.champion(name):
                promoted = any(decision.get("action") == "promoted" for decision in card.decisions)
                ranked.append((card.version == previous, promoted, card.version))
        for *_, version in sorted(ranked, reverse=True):
            with suppress(BrokenModel):
                self.read_weights(name, version)
                yield version

    def repair(self, name: str) -> list[str]:
        """Points at the best fallback where the champion pointer cannot be followed, and drops other pointers that cannot be;
        returns what was done and why. For the one that writes."""
        done = []
        if (reason := self.fault(name)) and (version := next(self.fallbacks(name), None)):
            self._point(name, "champion", version)
            self.record(name, version, {"action": "took the champion's place", "reason": reason})
            done.append(f"{name} version {version} takes the champion's place: {reason}")
        for pointer in ("candidate", "previous"):
            if (reason := self.fault(name, pointer)) or self._pointer(name, pointer) == self.champion(name) is not None:
                (self._folder(name) / pointer).unlink(missing_ok=True)
                done.append(f"{name} has no {pointer} any more: {reason or 'it is the champion'}")
        return done

    def publish(self, name: str, weights: bytes, card: ModelCard) -> int:
        """Store weights (safetensors bytes) as the next version and return its number; no pointer moves."""
        folder = self._folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        while True:
            version = max(self._taken(name), default=0) + 1
            filled = card.model_copy(
                update={
                    "name": name,
                    "version": version,
                    "sha256": hashlib.sha256(weights).hexdigest(),
                    "created": card.created or datetime.now(timezone.utc).isoformat(timespec="seconds"),
                }
            )
            try:
                with unfinished_folder(folder / f"{UNFINISHED}{uuid.uuid4().hex}") as temporary:
                    write_synced(temporary / WEIGHTS, weights)
                    write_synced(temporary / CARD, filled.model_dump_json(indent=2).encode())
                    sync_path(temporary)
                    temporary.rename(folder / str(version))
            except OSError:
                if not (folder / str(version)).exists():
                    raise
                continue  # another writer took the number: take the next
            sync_path(folder)
            return version

    def record(self, name: str, version: int, decision: dict[str, Any]) -> None:
        """Append a decision (promoted, rejected, rolled back, ...) to a version's card."""
        stamped = {"time": datetime.now(timezone.utc).isoformat(timespec="seconds"), **decision}
        self.update(name, version, decisions=[*self.card(name, version).decisions, stamped])

    def update(self, name: str, version: int, **changes: Any) -> None:
        """Replace fields of a version's card by what has been learned of it since."""
        card = self.card(name, version).model_copy(update=changes)
        replace_file(self._version_folder(name, version) / CARD, card.model_dump_json(indent=2).encode())

    def promote(self, name: str, version: int) -> None:
        """Make a version the champion; the champion until now becomes `previous`. Raises BrokenModel for a damaged one."""
        self.read_weights(name, version)
        current = self.champion(name)
        if current == version:
            return
        if current is not None:
            self._point(name, "previous", current)
        self._point(name, "champion", version)
        if self.candidate(name) == version:
            self.set_candidate(name, None)

    def rollback(self, name: str) -> int:
        """Move the champion pointer back to the previous champion and return it. Raises UnknownVersion without one.

        The previous pointer goes: a second rollback must not bring the bad version back.
        """
        current, previous = self.champion(name), self.previous(name)
        if previous is None or previous == current:
            raise UnknownVersion(f"{name} has no earlier champion to go back to (champion: {current})")
        self.read_weights(name, previous)
        self._point(name, "champion", previous)
        (self._folder(name) / "previous").unlink(missing_ok=True)
        return previous

    def set_candidate(self, name: str, version: int | None) -> None:
        """Point at the version that is being judged, or at none."""
        if version is None:
            (self._folder(name) / "candidate").unlink(missing_ok=True)
            (self._folder(name) / AB_TEST).unlink(missing_ok=True)
        else:
            self._version_folder(name, version)
            self._point(name, "candidate", version)

    def writable(self) -> bool:
        """Whether pointers can be moved from here (not in a read-only mount, nor in a copy of a store)."""
        if self._read_only:
            return False
        probe = self.root
        while not probe.exists() and probe != probe.parent:
            probe = probe.parent
        return os.access(probe, os.W_OK) and not os.statvfs(probe).f_flag & os.ST_RDONLY

    def _folder(self, name: str) -> Path:
        if not is_model_name(name):
            raise UnknownModel(f"{name!r} is no model name: expected small letters, digits, '.', '_' and '-', at most 64")
        return self.root / name

    def _version_folder(self, name: str, version: int) -> Path:
        folder = self._folder(name) / str(int(version))
        if not self.versions(name):
            raise UnknownModel(f"no model {name!r}; there are {', '.join(self.names()) or 'none'}")
        if not (folder / CARD).is_file():
            raise UnknownVersion(f"{name} has no version {version}; there are {self.versions(name)}")
        return folder

    def _taken(self, name: str) -> list[int]:
        numbers = (_number(path.name) for path in self._folder(name).iterdir())
        return [number for number in numbers if number is not None]

    def _pointer(self, name: str, pointer: str) -> int | None:
        try:
            text = (self._folder(name) / pointer).read_bytes()[:MAX_POINTER].decode(errors="replace")
        except OSError:
            return None
        return _number(text.strip())

    def _point(self, name: str, pointer: str, version: int) -> None:
        replace_file(self._folder(name) / pointer, f"{version}\n".encode())
