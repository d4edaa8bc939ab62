"""A registry in a store, and back."""

import hashlib
import uuid
from pathlib import Path

from pydantic import ValidationError

from grasp_client.contract import first_problem
from shared.durable import replace_file, sync_path, unfinished_folder, write_synced
from shared.registry import AB_TEST, CARD, UNFINISHED, WEIGHTS, BrokenModel, ModelCard, Registry, is_model_name
from shared.store.files import Store, StoreConflict

MODELS = "models"
POINTERS = ("previous", AB_TEST, "candidate", "champion")
"""In the order in which they are copied: what is told of a candidate, and where to go back, before who serves."""


def push_registry(root: Path, store: Store) -> int:
    """Copies versions that the store lacks, cards that changed, then pointers; returns how many versions were new. Raises
    StoreConflict where the store has another version of that number."""
    registry, new = Registry(root), 0
    for name in registry.names():
        there = set(store.names(MODELS, name))
        pointers = {pointer: _read(root / name / pointer) for pointer in POINTERS}  # before versions: these are then copied
        for version in map(str, registry.versions(name)):
            folder, remote = root / name / version, (MODELS, name, version)
            card = store.read(*remote, CARD) if version in there else None
            current = (folder / CARD).read_bytes()
            if card is None:
                store.write(registry.read_weights(name, int(version)), *remote, WEIGHTS)
                new += 1
            else:
                _check_same(card, current, folder, store)
            if card != current:
                store.write(current, *remote, CARD)
        for pointer, told in pointers.items():
            if told is None:
                store.remove(MODELS, name, pointer)
            elif store.read(MODELS, name, pointer) != told:
                store.write(told, MODELS, name, pointer)
    return new


def pull_registry(store: Store, root: Path) -> int:
    """Copies what the store has beyond the registry, pointers last; returns how many versions were new. Raises BrokenModel for
    a card that cannot be read, or weights that are not what it says, and StoreConflict where the registry has another version
    of that number."""
    new = 0
    for name in filter(is_model_name, store.names(MODELS)):
        pointers = {pointer: store.read(MODELS, name, pointer) for pointer in POINTERS}  # of what is there, by now or later
        (root / name).mkdir(parents=True, exist_ok=True)
        for version in (each for each in store.names(MODELS, name) if each.isdigit()):
            card, folder = store.read(MODELS, name, version, CARD), root / name / version
            if card is None:
                continue  # on its way into the store
            if not (folder / CARD).exists():
                with unfinished_folder(root / name / f"{UNFINISHED}{uuid.uuid4().hex}") as temporary:
                    weights = store.read(MODELS, name, version, WEIGHTS) or b""
                    if hashlib.sha256(weights).hexdigest() != _weights_of(card, f"{store.url}, {name} version {version}"):
                        raise BrokenModel(f"{name} version {version} in the store: its weights are not those of its card")
                    write_synced(temporary / WEIGHTS, weights)
                    write_synced(temporary / CARD, card)
                    sync_path(temporary)
                    temporary.rename(folder)
                sync_path(root / name)
                new += 1
            elif (current := (folder / CARD).read_bytes()) != card:
                _check_same(card, current, folder, store)
                replace_file(folder / CARD, card)
        for pointer, told in pointers.items():
            if told is None:
                (root / name / pointer).unlink(missing_ok=True)
            elif _read(root / name / pointer) != told:
                replace_file(root / name / pointer, told)
    return new


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _weights_of(card: bytes, where: str) -> str:
    """Checksum of the weights that a card is of. Raises BrokenModel."""
    try:
        return ModelCard.model_validate_json(card).sha256
    except ValidationError as error:
        raise BrokenModel(f"{where}: the card cannot be read: {first_problem(error)}") from error


def _check_same(card: bytes, current: bytes, folder: Path, store: Store) -> None:
    if _weights_of(card, f"{store.url}, as {folder}") != _weights_of(current, str(folder)):
        raise StoreConflict(
            f"{folder} holds other weights than the same version at {store.url}: two registries. Give one of them another "
            "URL, or an empty folder"
        )
