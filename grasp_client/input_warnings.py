"""What a server found odd about an input, as Python warnings: once per kind and process."""

import warnings
from collections.abc import Iterable


class InputWarning(UserWarning):
    """Something looks odd about what was sent: the answer may be confident and wrong."""


_told: set[str] = set()


def warn_of_input(texts: Iterable[str]) -> None:
    """Warn of each kind of oddity (`kind: text`) that this process has not been warned of."""
    for text in texts:
        kind = text.partition(":")[0]
        if kind not in _told:
            _told.add(kind)
            warnings.warn(text, InputWarning, stacklevel=5)  # to whoever called the client
