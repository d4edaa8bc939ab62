"""Asking a server for an answer of every model: what ships answers, what is broken or missing is named."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from places import SHIPPED
from serving import serving, settings

from services import smoke_test
from shared.registry import Registry


def test_every_planner_of_a_model_and_the_models_without_one_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("suction-dense", "heatmap", "efficientnet-suction", "push-value"):
        shutil.copytree(SHIPPED / name, tmp_path / name)
    assert smoke_test.main(["--models", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert {"suction_dense (suction-dense): answers", "heatmap (heatmap): answers"} < set(said)
    assert {"/gqcnn (efficientnet-suction): answers", "/predict_action (push-value): answers"} < set(said)


@contextmanager
def server_of_this_process(models: Path) -> Iterator[httpx.Client]:
    with serving(settings(models)) as running:
        yield running.client


def test_a_broken_model_and_one_that_is_missing_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smoke_test, "server", server_of_this_process)
    shutil.copytree(SHIPPED / "suction-dense", tmp_path / "suction-dense")
    registry = Registry(tmp_path)
    with open(registry.weights_path("suction-dense", registry.champion("suction-dense") or 0), "ab") as weights:
        weights.write(b"more")
    assert smoke_test.main(["--models", str(tmp_path), "--names", "suction-dense", "efficientnet-suction"]) == 1
    said = capsys.readouterr().out
    assert "suction_dense (suction-dense): status" in said
    assert "/gqcnn (efficientnet-suction): status 404" in said


def test_nothing_to_ask_is_no_success(tmp_path: Path) -> None:
    assert smoke_test.main(["--models", str(tmp_path)]) == 1
