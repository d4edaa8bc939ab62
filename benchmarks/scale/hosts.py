"""Hosts of a load on one machine: network namespaces, each with an address of its own behind one bridge."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

BRIDGE = "graspscale"
NETWORK = "10.213.7."
ADDRESS = f"{NETWORK}1"
"""Where the hosts reach queue and server."""
MOST_HOSTS = 200
NETWORK_NAMESPACE = 0x40000000
"""CLONE_NEWNET of Linux."""
NAMESPACES = Path("/run/netns")


@contextmanager
def network(count: int) -> Iterator[list[str]]:
    """Names of `count` hosts that reach this one at ADDRESS; all of it goes at the end.

    Raises SystemExit with what `ip` says where this user or this machine makes none.
    """
    with ExitStack() as undo:
        names = [f"{BRIDGE}{number}" for number in range(count)]
        if names:
            _ip(f"link add {BRIDGE} type bridge")
            undo.callback(_ip, f"link del {BRIDGE}")
            _ip(f"addr add {ADDRESS}/24 dev {BRIDGE}")
            _ip(f"link set {BRIDGE} up")
        for number, name in enumerate(names):
            _ip(f"netns add {name}")
            undo.callback(_ip, f"netns del {name}")
            _ip(f"link add {name} type veth peer name eth0 netns {name}")
            undo.callback(_ip, f"link del {name}")  # a namespace lives on while a process is in it, and keeps its cable
            _ip(f"link set {name} master {BRIDGE} up")
            _ip(f"-n {name} addr add {NETWORK}{number + 2}/24 dev eth0")
            _ip(f"-n {name} link set eth0 up")
        yield names


def enter(name: str) -> None:
    """Puts this thread, and those that it starts, on a host. Raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    with open(NAMESPACES / name) as namespace:
        if library.setns(namespace.fileno(), NETWORK_NAMESPACE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)


def _ip(command: str) -> None:
    try:
        subprocess.run(["ip", *command.split()], check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit("hosts need the command `ip` (package iproute2); leave --hosts out to run without them") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"ip {command}: {error.stderr.strip()} (hosts need root on Linux; leave --hosts out)") from None
