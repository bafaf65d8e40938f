"""The kernel's table of sockets says the same by netlink and by /proc."""

import contextlib
import errno
import os
import socket

import pytest

from node_agent.reconciler import socket_table
from node_agent.reconciler.socket_table import ESTABLISHED, LISTEN

WAYS = (socket_table.by_netlink, socket_table.by_proc, socket_table.read)


@pytest.fixture
def sockets():
    """Listening on 127.0.0.1, on every address, and on those of IPv6; and a connection to the first."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_server((host, 0))) for host in ("127.0.0.1", "0.0.0.0")]
        if socket.has_ipv6:
            both = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
            made.append(stack.enter_context(both))
        stack.enter_context(socket.create_connection(made[0].getsockname()))
        made.append(stack.enter_context(made[0].accept()[0]))
        yield made


def entry(one: socket.socket) -> socket_table.Entry:
    host, port = one.getsockname()[:2]
    inode = os.fstat(one.fileno()).st_ino
    return socket_table.Entry(socket.inet_pton(one.family, host), port, os.geteuid(), inode)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_finds_what_listens_and_what_is_connected(sockets, way) -> None:
    *listening, connected = map(entry, sockets)
    assert set(listening) <= set(way(LISTEN))
    assert connected in set(way(ESTABLISHED))
    assert not {*listening} & set(way(ESTABLISHED))


def test_where_netlink_is_closed_to_us_the_table_is_read(sockets, monkeypatch) -> None:
    def closed(*_):
        raise PermissionError("Address family not supported by protocol")

    monkeypatch.setattr(socket_table.socket, "socket", closed)
    *listening, connected = map(entry, sockets)
    assert set(listening) <= set(socket_table.read(LISTEN))
    assert connected in set(socket_table.read(ESTABLISHED))


def test_a_kernel_that_knows_no_such_tables_is_not_taken_for_a_host_on_which_nobody_listens(
    sockets, monkeypatch
) -> None:
    """It ends its answer with an error, as this one does for a protocol that it does not know."""
    monkeypatch.setattr(socket_table.socket, "IPPROTO_TCP", 200)
    with pytest.raises(OSError, match="No such file") as caught:
        list(socket_table.by_netlink(LISTEN))
    assert caught.value.errno == errno.ENOENT
    assert set(map(entry, sockets[:-1])) <= set(socket_table.read(LISTEN))
