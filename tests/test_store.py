"""A store by URL holds what the folders hold, whole at every moment, and gives it back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from records import store as store_shard
from waiting import PATIENCE, wait_until

from grasp_client.contract import Grasp, GraspMeta, Outcome
from shared.outcome_codec import build_outcome
from shared.registry import BrokenModel, ModelCard, Registry, RegistryError
from shared.retrying import Troubles
from shared.settings import TrainerSettings
from shared.shards import ShardReader, rewrite, shard_folders
from shared.store import (
    Store,
    StoreConflict,
    StoreThread,
    StoreWriter,
    fetched,
    follow_registry,
    pull_registry,
    pull_shards,
    push_folder,
    push_registry,
    push_shards,
)
from trainer_job.service.store import kept_in_store


def any_outcome(number: int) -> Outcome:
    """Of any grasp."""
    pose = np.eye(4).tolist()
    grasp = Grasp(kind="parallel_jaw", quality=0.5, center_px=[4, 3], angle=0.1, depth=0.5, width=0.04, pose_camera=pose)
    fields = {"grasp": grasp, "planner": "antipodal", "success": True}
    return build_outcome(GraspMeta, f"w:{number}:0", np.full((64, 64), 0.5 + number), None, fields)


STARTS = 3
START_SECONDS = 40.0


class Killed(BaseException):
    """In place of a kill: nothing catches it."""


class KilledStore(Store):
    """Ends before its request of this number that changes something."""

    def __init__(self, url: str, requests: int) -> None:
        super().__init__(url)
        self.left = requests

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def write(self, data: bytes, *parts: str) -> None:
        self._count()
        super().write(data, *parts)

    def remove(self, *parts: str) -> None:
        self._count()
        super().remove(*parts)


@pytest.fixture(
    params=["file", pytest.param("s3", marks=pytest.mark.s3)],
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty store."""
    if request.param == "file":
        return f"file://{tmp_path}/store"
    return f"s3://{request.getfixturevalue('bucket')}/{tmp_path.name}"


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """In a real S3 server: SeaweedFS."""
    folder = tmp_path_factory.mktemp("weed")
    for attempt in range(STARTS):
        server, s3 = _start_weed(folder / str(attempt))
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in {**keys, "AWS_DEFAULT_REGION": "us-east-1"}.items():
                patch.setenv(name, value)
            try:
                if _bucket_made(server):
                    yield "loop"
                    return
            finally:
                server.kill()
                server.wait()
    pytest.fail(
        f"SeaweedFS did not start {STARTS} times; its last words: {(folder / str(attempt) / 'log').read_text()[-2000:]}"
    )


def _start_weed(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A server, and the port of its S3."""
    folder.mkdir()
    named = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    ports = dict(zip(named, _free_ports(len(named)), strict=True))
    command = [
        str(Path(os.environ["S3_TOOLS"]) / "bin" / "weed"), "server", f"-dir={folder}", "-ip=127.0.0.1", "-filer", "-s3",
        *(f"-{name}={port}" for name, port in ports.items()), "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=20",
        "-master.volumeSizeLimitMB=64",
    ]  # fmt: skip
    with open(folder / "log", "w") as log:
        keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **keys}), ports["s3.port"]


def _bucket_made(server: subprocess.Popen[bytes]) -> bool:
    """Whether a server took a bucket; False where it ended or did not answer: another process may have taken one of its ports
    between our look and its start."""
    # An instance of its own: one that is kept from an earlier start knows that one's address.
    files = fsspec.filesystem(
        "s3", skip_instance_cache=True, config_kwargs=dict.fromkeys(("connect_timeout", "read_timeout"), 5)
    )
    until = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < until:
        try:
            files.mkdir("loop")
            return True
        except Exception:  # of a server that starts, whatever its client makes of it
            time.sleep(0.5)
    return False


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def registry_of(root: Path) -> Registry:
    registry = Registry(root)
    for number in range(3):
        registry.publish("dense", b"weights %d" % number, ModelCard(name="dense", architecture="dense"))
    registry.promote("dense", 1)
    registry.promote("dense", 2)
    registry.set_candidate("dense", 3)
    return registry


def same(one: Path, other: Path) -> None:
    contents = [
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()} for root in (one, other)
    ]
    assert contents[0] == contents[1]


def test_a_registry_comes_back_and_follows(url: str, tmp_path: Path) -> None:
    registry, copy = registry_of(tmp_path / "models"), tmp_path / "copy"
    assert push_registry(registry.root, Store(url)) == 3
    assert pull_registry(Store(url), copy) == 3
    same(registry.root, copy)
    registry.promote("dense", 3)
    registry.record("dense", 2, {"action": "rolled back"})
    assert (push_registry(registry.root, Store(url)), pull_registry(Store(url), copy)) == (0, 0)
    same(registry.root, copy)
    assert Registry(copy).champion("dense") == 3
    assert Registry(copy).candidate("dense") is None


def test_shards_come_back_and_follow(url: str, tmp_path: Path) -> None:
    shards, copy = tmp_path / "shards", tmp_path / "copy"
    for number in range(4):
        store_shard(shards, [any_outcome(number)])
    assert push_shards(shards, Store(url)) == pull_shards(Store(url), copy) == 4
    same(shards, copy)
    readers = [ShardReader(folder) for folder in shard_folders(shards)[:3]]
    rewrite(readers, [[0], [], [0]])
    assert push_shards(shards, Store(url)) == pull_shards(Store(url), copy) == 1
    store = Store(url)
    there = [name for name in store.names("shards") if store.read("shards", name, "index.json")]
    assert there == [folder.name for folder in shard_folders(shards)]
    assert [folder.name for folder in shard_folders(copy)] == [folder.name for folder in shard_folders(shards)]
    assert [ShardReader(folder).ids() for folder in shard_folders(copy)] == [["w:0:0", "w:2:0"], ["w:3:0"]]
    assert push_shards(shards, Store(url)) == pull_shards(Store(url), copy) == 0


def kills(folder: Path, action: Callable[[Any], object]) -> Iterator[int]:
    """Runs into a new store each time, with ever more requests before the kill, until one ends by itself."""
    for requests in range(200):
        try:
            action(KilledStore(f"file://{folder}/store-{requests}", requests))
        except Killed:
            yield requests
        else:
            return


def test_a_kill_at_any_request_leaves_what_can_be_read(tmp_path: Path) -> None:
    registry, shards, seen = registry_of(tmp_path / "models"), tmp_path / "shards", 0
    for number in range(3):
        store_shard(shards, [any_outcome(number)])
    for seen in kills(tmp_path, lambda store: (push_registry(registry.root, store), push_shards(shards, store))):
        url, copy = f"file://{tmp_path}/store-{seen}", tmp_path / f"copy-{seen}"
        pull_registry(Store(url), copy / "models")
        found = Registry(copy / "models")
        assert [found.fault(name, pointer) for name in found.names() for pointer in ("champion", "candidate", "previous")] == [
            None for _ in found.names() for _ in range(3)
        ]
        pull_shards(Store(url), copy / "shards")
        for folder in shard_folders(copy / "shards"):
            assert len(list(ShardReader(folder))) == 1
        push_registry(registry.root, Store(url))
        pull_registry(Store(url), copy / "models")
        same(registry.root, copy / "models")
    assert seen > 12


def test_weights_that_are_not_those_of_the_card_are_not_taken(tmp_path: Path) -> None:
    registry, store = registry_of(tmp_path / "models"), Store(f"file://{tmp_path}/store")
    push_registry(registry.root, store)
    store.write(b"others", "models", "dense", "2", "weights.safetensors")
    with pytest.raises(RegistryError, match="version 2 in the store"):
        pull_registry(store, tmp_path / "copy")
    assert Registry(tmp_path / "copy").champion("dense") is None


def test_a_url_that_cannot_be_used_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="expected a URL as s3://bucket/loop"):
        Store("nonsense://bucket/loop")

    def lacking(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", lacking)
    with pytest.raises(ValueError, match=r"pip install 'grasploop\[s3\]'"):
        Store("s3://bucket/loop")


def test_two_registries_are_not_mixed(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store")
    push_registry(registry_of(tmp_path / "models").root, store)
    other = Registry(tmp_path / "other")
    other.publish("dense", b"of another loop", ModelCard(name="dense", architecture="dense"))
    with pytest.raises(StoreConflict, match="two registries"):
        push_registry(other.root, store)
    with pytest.raises(StoreConflict, match="two registries"):
        pull_registry(store, other.root)
    assert other.read_weights("dense", 1) == b"of another loop"


def test_shards_of_two_loops_are_not_mixed(tmp_path: Path) -> None:
    store = Store(f"file://{tmp_path}/store")
    for name in ("one", "other"):
        store_shard(tmp_path / name, [any_outcome(len(name))])
    push_shards(tmp_path / "one", store)
    with pytest.raises(StoreConflict, match="two loops"):
        pull_shards(store, tmp_path / "other")


def writer(url: str, folder: Path) -> StoreWriter:
    """A trainer on that folder, as it begins."""
    begun = StoreWriter(Store(url), folder / "models", folder / "data" / "shards")
    begun.begin()
    return begun


def test_a_trainer_goes_on_from_the_store_on_another_machine(url: str, tmp_path: Path) -> None:
    first = writer(url, tmp_path / "first")
    registry = registry_of(first.models_dir)
    store_shard(first.shards_dir, [any_outcome(1)])
    first.push()
    follow = follow_registry(Store(url), tmp_path / "server")
    follow()
    assert Registry(tmp_path / "server").champion("dense") == 2
    registry.promote("dense", 3)  # while the store was away, before a restart
    assert writer(url, tmp_path / "first").push() is None
    follow()
    assert Registry(tmp_path / "server").champion("dense") == 3
    second = writer(url, tmp_path / "second")
    same(registry.root / "dense", second.models_dir / "dense")
    same(first.shards_dir, second.shards_dir)
    Registry(second.models_dir).rollback("dense")
    store_shard(second.shards_dir, [any_outcome(2)])
    second.push()
    follow()
    assert Registry(tmp_path / "server").champion("dense") == 2
    registry.record("dense", 1, {"action": "rejected"})
    with pytest.raises(StoreConflict, match="another trainer"):
        first.push()
    assert writer(url, tmp_path / "first").push() is None  # on the old folder: what the second wrote counts
    assert registry.champion("dense") == 2
    assert len(shard_folders(first.shards_dir)) == 2


def test_a_server_leaves_the_folder_of_the_trainer_beside_it_alone(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    trainer = writer(url, tmp_path)
    registry = registry_of(trainer.models_dir)
    trainer.push()
    registry.promote("dense", 3)
    follow_registry(Store(url), trainer.models_dir)()
    assert registry.champion("dense") == 3


def test_nothing_is_asked_of_the_store_while_nothing_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"file://{tmp_path}/store"
    trainer, follow = writer(url, tmp_path), follow_registry(Store(url), tmp_path / "server")
    registry_of(trainer.models_dir)
    trainer.push()
    follow()

    def asked(*_: object) -> None:
        raise AssertionError("the store was asked")

    for name in ("read", "write", "names"):
        monkeypatch.setattr(Store, name, asked)
    trainer.push()
    follow()
    Registry(trainer.models_dir).promote("dense", 3)
    with pytest.raises(AssertionError):
        trainer.push()


def test_any_folder_is_read_by_its_url(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(FileNotFoundError, match="holds no files"):
        fetched(f"{url}/episodes")
    episodes = tmp_path / "episodes"
    for number in range(2):
        (episodes / f"episode-{number}").mkdir(parents=True)
        (episodes / f"episode-{number}" / "about.json").write_text(f"{number}")
    push_folder(episodes, Store(f"{url}/episodes"))
    found = fetched(f"{url}/episodes")
    assert [path.read_text() for path in sorted(found.glob("episode-*/about.json"))] == ["0", "1"]
    (episodes / "episode-1" / "about.json").write_text("changed")
    push_folder(episodes, Store(f"{url}/episodes"))
    Store(f"{url}/episodes").remove("episode-0")
    assert fetched(f"{url}/episodes") == found
    assert [path.read_text() for path in found.glob("episode-*/about.json")] == ["changed"]
    assert fetched(str(episodes)) == episodes


def test_a_file_astray_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(Store, "stamps", lambda self: {"../out": "1"})
    with pytest.raises(ValueError, match="expected files below it"):
        fetched(f"file://{tmp_path}/store")


def test_a_trainer_on_foreign_folders_ends_with_what_is_wrong(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    registry_of((one := writer(url, tmp_path / "one")).models_dir)
    one.push()
    Registry(tmp_path / "other").publish("dense", b"others", ModelCard(name="dense", architecture="dense"))
    settings = TrainerSettings(store_url=url, models_dir=tmp_path / "other", data_dir=tmp_path / "data")
    with (
        pytest.raises(SystemExit, match=r"STORE_URL .* two registries"),
        kept_in_store(settings, threading.Event(), Troubles(), lambda: None),
    ):
        pass


def test_what_comes_last_is_in_the_store_when_the_trainer_ends(tmp_path: Path) -> None:
    settings = TrainerSettings(store_url=f"file://{tmp_path}/store", models_dir=tmp_path / "models", data_dir=tmp_path / "data")
    with kept_in_store(settings, threading.Event(), Troubles(), lambda: None):
        registry_of(settings.models_dir)
    pull_registry(Store(f"file://{tmp_path}/store"), tmp_path / "copy")
    same(settings.models_dir / "dense", tmp_path / "copy" / "dense")


def test_a_store_that_is_away_holds_nobody_up() -> None:
    def away() -> None:
        raise OSError("away")

    thread = StoreThread(away, 0.01, Troubles())
    thread.start()
    assert thread.looked.wait(PATIENCE)
    thread.stop()
    assert not thread.is_alive()


def test_a_card_that_cannot_be_read_ends_no_thread(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(f"file://{tmp_path}/store")
    push_registry(registry_of(tmp_path / "models").root, store)
    whole = store.read("models", "dense", "1", "card.json")
    assert whole is not None
    store.write(b"{", "models", "dense", "1", "card.json")
    with pytest.raises(BrokenModel, match="the card cannot be read"):
        push_registry(tmp_path / "models", store)
    thread = StoreThread(follow_registry(store, tmp_path / "copy"), 0.001, Troubles())
    thread.start()
    wait_until(lambda: caplog.records, lambda: "it is said")
    store.write(whole, "models", "dense", "1", "card.json")
    wait_until(lambda: Registry(tmp_path / "copy").champion("dense") == 2, lambda: "the store is followed again")
    thread.stop()


def test_what_is_wrong_in_the_store_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    looks: list[int] = []

    def broken() -> None:
        looks.append(1)
        raise StoreConflict("two registries")

    thread = StoreThread(broken, 0.001, Troubles())
    thread.start()
    wait_until(lambda: len(looks) > 2, lambda: "it is looked at again")
    thread.stop()
    assert [record.message for record in caplog.records] == ["two registries"]


def test_the_command_copies_there_and_back(tmp_path: Path) -> None:
    registry_of(tmp_path / "models")
    store_shard(tmp_path / "data" / "shards", [any_outcome(1)])
    command = [sys.executable, "-m", "services.mirror"]
    where = ["--url", f"file://{tmp_path}/store", "--shards"]
    there = ["--models-dir", str(tmp_path / "models"), "--data-dir", str(tmp_path / "data")]
    back = ["--models-dir", str(tmp_path / "copy"), "--data-dir", str(tmp_path / "copied")]
    subprocess.run([*command, "push", *where, *there], check=True)
    subprocess.run([*command, "pull", *where, *back], check=True)
    same(tmp_path / "models", tmp_path / "copy")
    same(tmp_path / "data", tmp_path / "copied")
