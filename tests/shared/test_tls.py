"""A queue behind TLS (`rediss://`): the certificate is checked; nothing that is said crosses the network in the clear."""

from __future__ import annotations

import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from grasp_client.contract import SceneRequest
from shared.streams import SceneRequestStream, connect

pytestmark = pytest.mark.skipif(not shutil.which("openssl"), reason="makes its certificates with openssl")


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """(certificate, key) of 127.0.0.1, signed by itself."""
    made = folder / f"{name}.pem", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    command += ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    return made


class TlsProxy(socketserver.ThreadingTCPServer):
    """Ends TLS in front of a queue that knows none, as the bundled server does not, and keeps what came over the network."""

    allow_reuse_address, daemon_threads = True, True

    def __init__(self, queue_port: int, certificate: Path, key: Path) -> None:
        self.queue_port, self.seen = queue_port, bytearray()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        super().__init__(("127.0.0.1", 0), Relay)


class Relay(socketserver.BaseRequestHandler):
    server: TlsProxy

    def handle(self) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.server.context.wrap_bio(incoming, outgoing, server_side=True)
        with suppress(OSError, ssl.SSLError), socket.create_connection(("127.0.0.1", self.server.queue_port)) as queue:
            threading.Thread(target=self._back, args=(queue, tls, outgoing, lock := threading.Lock()), daemon=True).start()
            while data := self.request.recv(65536):
                self.server.seen += data
                incoming.write(data)
                with lock, suppress(ssl.SSLWantReadError):
                    try:
                        while plain := tls.read():
                            queue.sendall(plain)
                    finally:
                        self.request.sendall(outgoing.read())

    def _back(self, queue: socket.socket, tls: ssl.SSLObject, outgoing: ssl.MemoryBIO, lock: threading.Lock) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := queue.recv(65536):
                with lock:
                    tls.write(data)
                    self.request.sendall(outgoing.read())


@pytest.fixture
def proxy(tmp_path: Path, queue_server, redis_url: str) -> Iterator[TlsProxy]:
    with TlsProxy(queue_server.port.number, *certificate(tmp_path, "queue")) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.01,))
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()


def url(proxy: TlsProxy, authority: Path, scheme: str = "rediss") -> str:
    return f"{scheme}://127.0.0.1:{proxy.server_address[1]}/0?ssl_ca_certs={authority}"


def test_a_queue_behind_tls_is_used_as_any_other(proxy: TlsProxy, tmp_path: Path, redis_url: str) -> None:
    with connect(url(proxy, tmp_path / "queue.pem")) as client, connect(redis_url) as plain:
        SceneRequestStream(client).issue(SceneRequest(id="behind-tls", seed=1))
        taken = SceneRequestStream(plain).take("w")
        assert taken is not None
        assert taken[1].id == "behind-tls"
    assert b"behind-tls" not in proxy.seen
    assert len(proxy.seen) > 200


def test_another_certificate_is_refused(proxy: TlsProxy, tmp_path: Path) -> None:
    other, _ = certificate(tmp_path, "other")
    with connect(url(proxy, other)) as client, pytest.raises(redis.ConnectionError, match="certificate verify failed"):
        client.ping()


def test_without_tls_it_does_not_answer(proxy: TlsProxy, tmp_path: Path) -> None:
    plain = url(proxy, tmp_path / "queue.pem", "redis").partition("?")[0]
    with connect(plain) as client, pytest.raises(redis.RedisError):
        client.ping()
