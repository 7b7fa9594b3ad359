"""``python -m loadtest.bench.live PORT``: the server behind the proxies for what nginx cannot
answer by itself: WebSockets that echo, and uploads that are read and thrown away.

Bare sockets and epoll: about 4 us for an echo, less than the cheapest of the proxies needs.
"""

from __future__ import annotations

import base64
import gc
import hashlib
import select
import socket
import sys

from loadtest.bench.websocket import FROM_CLIENT, answer

PAGE = b"x" * 1024
ECHO, HEAD, SINK = range(3)


class _Connection:
    __slots__ = ("data", "left", "sock", "state")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.state = HEAD
        self.data = b""
        self.left = 0


def serve(port: int) -> None:
    """Until killed."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    connections: dict[int, _Connection] = {}
    buffer = bytearray(1024 * 1024)
    view = memoryview(buffer)
    gc.disable()
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[sock.fileno()] = _Connection(sock)
                poll.register(sock, select.EPOLLIN)
                continue
            connection = connections[fd]
            try:
                count = connection.sock.recv_into(buffer)
            except ConnectionError:
                count = 0
            if not count:
                del connections[fd]
                connection.sock.close()
            elif connection.state == SINK:
                _sink(connection, count)
            else:
                _received(connection, bytes(view[:count]))


def _received(connection: _Connection, data: bytes) -> None:
    if connection.data:
        data = connection.data + data
        connection.data = b""
    if connection.state == ECHO:
        whole = len(data) // FROM_CLIENT
        connection.data = data[whole * FROM_CLIENT :]
        if whole:
            connection.sock.send(answer(data, whole))
        return
    head, end, rest = data.partition(b"\r\n\r\n")
    if not end:
        connection.data = data
        return
    fields = {
        name.lower(): value.strip()
        for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
    }
    if b"sec-websocket-key" in fields:
        connection.sock.send(_switch(fields[b"sec-websocket-key"]))
        connection.state = ECHO
    elif b"content-length" in fields:
        connection.left = int(fields[b"content-length"])
        connection.state = SINK
        _sink(connection, len(rest))
    else:
        connection.sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1024\r\n\r\n" + PAGE)


def _sink(connection: _Connection, count: int) -> None:
    connection.left -= count
    if connection.left <= 0:
        connection.state = HEAD
        connection.sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _switch(key: bytes) -> bytes:
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # RFC 6455 4.2.2
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
    )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
