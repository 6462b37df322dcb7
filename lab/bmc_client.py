"""Ask the lab's gateway to turn a host off: bmc_client.py GATEWAY PORT WORD HOST. Ends with 0 only when it is off."""

import socket
import sys

_PATIENCE_S = 8.0


def main(gateway: str, port: str, word: str, host: str) -> int:
    """The exit code; what was said instead of "off" goes to standard error."""
    try:
        with socket.create_connection((gateway, int(port)), _PATIENCE_S) as line:
            line.sendall(f"{word} {host}\n".encode())
            said = line.makefile().readline().strip()
    except OSError as error:
        said = f"{gateway} does not answer: {error}"
    if said != "off":
        sys.stderr.write(f"{said}\n")
    return 0 if said == "off" else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
