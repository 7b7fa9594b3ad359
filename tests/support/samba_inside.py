"""Runs in a network namespace of its own: Samba, whose ports are fixed, and a way in.

``python samba_inside.py DOMAIN_DIRECTORY LDAPS_FD LDAP_FD``: brings loopback up, starts the domain
controller in the foreground and hands every connection to the two listening sockets, which belong
to the namespace outside, on to its ports inside. Ends with the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from pathlib import Path

PORTS = (636, 389)


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def serve(directory: Path, listening: list[socket.socket]) -> int:
    server = await asyncio.create_subprocess_exec(
        "samba", "-i", "-M", "single", "-s", directory / "etc" / "smb.conf"
    )
    for port, sock in zip(PORTS, listening, strict=True):

        async def accept(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port
        ) -> None:
            try:
                inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer))

        await asyncio.start_server(accept, sock=sock)
    return await server.wait()


if __name__ == "__main__":
    sockets = [socket.socket(fileno=int(number)) for number in sys.argv[2:]]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    sys.exit(asyncio.run(serve(Path(sys.argv[1]), sockets)))
