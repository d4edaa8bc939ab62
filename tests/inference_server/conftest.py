"""One running server for tests that only read from it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from serving import Running, publish_dense, serving, settings


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An open server with one version of `dense` and without an outcome queue."""
    models = tmp_path_factory.mktemp("models")
    publish_dense(models, 0)
    with serving(settings(models, reload_seconds=3600)) as running:  # nobody moves its champion: it need not look
        yield running
