"""The model registry: versions with their cards, and the pointers that say which of them serve."""

from shared.registry.ab_tests import AbTestState, asks_candidate
from shared.registry.cards import ModelCard
from shared.registry.registry import (
    AB_TEST,
    CARD,
    UNFINISHED,
    WEIGHTS,
    BrokenModel,
    Registry,
    RegistryError,
    UnknownModel,
    UnknownVersion,
    is_model_name,
)

__all__ = [
    "AB_TEST",
    "CARD",
    "UNFINISHED",
    "WEIGHTS",
    "AbTestState",
    "BrokenModel",
    "ModelCard",
    "Registry",
    "RegistryError",
    "UnknownModel",
    "UnknownVersion",
    "asks_candidate",
    "is_model_name",
]
