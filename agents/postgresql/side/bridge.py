"""A socket of this host that leads to a side cluster on another one, over TLS, for who reads it as if it were here.

    python3 -m agents.postgresql.side.bridge --folder DIR --port 5433 --to 10.0.0.22 --name pg2

Runs as postgres until it is stopped. Both ends show the certificates that they have for pgBackRest, of the estate's own
CA; the side cluster lets in nobody but the database hosts. What PostgreSQL's programs say goes through as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import ssl
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.base.errors import AgentError, run
from agents.postgresql.side.settings import CA, CERTIFICATE, KEY

_ASK_FOR_TLS = struct.pack("!ii", 8, 80877103)  # PostgreSQL's SSLRequest; the answer is one letter
_CONNECT_S = 10.0
_PIECE = 1 << 18


@dataclass(frozen=True)
class Far:
    """Where the side cluster is: address and port that are dialled, and the name that its certificate must have."""

    address: str
    port: int
    name: str


def trusted(ca: str = CA, certificate: str = CERTIFICATE, key: str = KEY) -> ssl.SSLContext:
    """Who is there is checked, and who we are is shown. Raises AgentError."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=ca)
        context.load_cert_chain(certificate, key)
    except OSError as error:
        sentence = f"The certificates of this host cannot be read: {error}."
        raise AgentError(sentence, "./dr deploy puts them here.") from error
    return context


async def serve(folder: Path, far: Far, context: ssl.SSLContext) -> None:
    """Take connections until the process ends."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, away = await _dialled(far, context)
            await asyncio.gather(_pass_on(reader, away), _pass_on(there, writer))
        except (OSError, ssl.SSLError, AgentError) as error:
            print(f"{far.name}: {error}", file=sys.stderr, flush=True)
        finally:
            writer.close()

    path = folder / f".s.PGSQL.{far.port}"
    path.unlink(missing_ok=True)
    before = os.umask(0o077)
    server = await asyncio.start_unix_server(client, path)
    os.umask(before)
    async with server:
        await server.serve_forever()


async def _dialled(far: Far, context: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    raw = await asyncio.get_running_loop().run_in_executor(None, _asked_for_tls, far)
    return await asyncio.open_connection(sock=raw, ssl=context, server_hostname=far.name, limit=_PIECE)


def _asked_for_tls(far: Far) -> socket.socket:
    raw = socket.create_connection((far.address, far.port), _CONNECT_S)
    try:
        raw.sendall(_ASK_FOR_TLS)
        if raw.recv(1) != b"S":
            raise AgentError("it speaks no TLS", "Restore it again.")
    except BaseException:
        raw.close()
        raise
    raw.setblocking(False)
    return raw


async def _pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Until the source ends; then the target hears of it."""
    try:
        while piece := await source.read(_PIECE):
            target.write(piece)
            await target.drain()
    finally:
        target.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python3 -m agents.postgresql.side.bridge", description="A socket that leads to another host's server."
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the socket is to be; for postgres alone")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--to", required=True, help="address of the other host")
    parser.add_argument("--name", required=True, help="its name, as its certificate has it")
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.folder, Far(options.to, options.port, options.name), trusted()))
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
