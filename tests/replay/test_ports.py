"""Ports that are held for servers to come."""

from __future__ import annotations

import socket
import sys

import pytest

from replay.ports import HOST, reserved
from tests.ports import free_ports
from traces.errors import InputError


def listening(port: int) -> socket.socket:
    """As servers do: a port whose last connections are not forgotten yet can be used."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((HOST, port))
    made.listen()
    return made


def test_a_port_in_use_is_told_and_those_before_it_are_let_go() -> None:
    port = free_ports(2)
    with listening(port + 1):
        with (
            pytest.raises(InputError, match=rf"^replay\.port: port {port + 1} is in use; stop what listens there"),
            reserved(port, 2),
        ):
            pass
        listening(port).close()


def test_ports_beyond_the_last_are_told() -> None:
    with pytest.raises(InputError, match=r"^replay\.port: 3 ports from 65534 on go beyond 65535"), reserved(65_534, 3):
        pass


def test_a_reserved_port_can_be_served_on_again_and_again() -> None:
    with reserved(port := free_ports(), 1):
        for _ in range(2):
            with listening(port), socket.create_connection((HOST, port), timeout=10):
                pass
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((HOST, port), timeout=10)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a port is only looked at")
def test_the_system_hands_a_reserved_port_to_no_one() -> None:
    with reserved(port := free_ports(), 1), socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, port))
