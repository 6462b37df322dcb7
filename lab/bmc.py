"""The lab's power behind a network: what a host of the lab asks, that cannot ask the engine, to fence another one.

    python -m lab.bmc --lab NAME        serves on the lab's gateway until it is ended

As a board's management controller does it: whoever knows the lab's word may turn its hosts off, and is told "off" only
when the host is certainly off.
"""

import argparse
import hmac
import secrets
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inventories.errors import DrError
from lab import power, state

PORT = 8623
_PATIENCE_S = 10.0


def word_of(lab: str) -> str:
    """The word that the lab's hosts know; made when it is missing."""
    path = state.files(lab).root / "bmc"
    if not path.exists():
        state.write_atomically(path, secrets.token_hex(16), 0o600)
    return path.read_text(encoding="utf-8")


def command(lab: str, host: str, program: Path) -> list[str]:
    """What a host of the lab runs to have another one turned off; `program` is bmc_client.py there."""
    return ["/usr/bin/python3", "-S", str(program), state.load(lab).gateway, str(PORT), word_of(lab), host]


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    lab = ""
    word = ""


class _Asked(socketserver.StreamRequestHandler):
    timeout = _PATIENCE_S

    def handle(self) -> None:
        said = self.rfile.readline(200).decode(errors="replace").split()
        assert isinstance(self.server, _Server)
        if len(said) != 2 or not hmac.compare_digest(said[0], self.server.word):
            self.wfile.write(b"that is not the word\n")
            return
        try:
            power.fence(self.server.lab, said[1])
            self.wfile.write(b"off\n")
        except DrError as error:
            self.wfile.write(f"{error}\n".encode())


@contextmanager
def serving(lab: str) -> Iterator[None]:
    """While the block runs, the lab's hosts can turn one another off."""
    with _Server((state.load(lab).gateway, PORT), _Asked) as server:
        server.lab, server.word = lab, word_of(lab)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lab.bmc", description="Serve the power of a lab's hosts.")
    parser.add_argument("--lab", required=True, metavar="NAME")
    with serving(parser.parse_args(argv).lab):
        threading.Event().wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
