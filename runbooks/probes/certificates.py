"""Until when a host's certificates are good: what lies in the file, and what the server shows that loaded it."""

from __future__ import annotations

from dataclasses import dataclass

from runbooks.hosts import Host

# A server loads its certificate when it starts or is told to: the file alone says nothing of what clients are shown.
_LOOK = """
ends() {
  told=$(openssl x509 -noout -enddate 2>/dev/null) || { echo -; return; }
  date -u -d "${told#notAfter=}" +%s
}
shown() { timeout 1 openssl s_client -connect "$@" 2>/dev/null </dev/null | ends; }
told() { test ! -e "$2" || echo "$1 $(ends < "$2") $(shift 2; shown "$@")"; }
told PostgreSQL /etc/postgresql/mystocks/host.crt 127.0.0.1:5432 -starttls postgres
told pgBackRest /etc/pgbackrest/host.crt 127.0.0.1:8432
"""


@dataclass(frozen=True)
class Certificate:
    """Of one service of a host, in unix seconds; None where the file cannot be read, or no server answers."""

    service: str
    file_ends: float | None
    served_ends: float | None


def look(host: Host, timeout: float) -> tuple[Certificate, ...]:
    """Raises DrError when the host does not answer."""
    return parse(host.run(_LOOK, timeout=timeout).stdout)


def parse(said: str) -> tuple[Certificate, ...]:
    rows = (line.split() for line in said.splitlines())
    return tuple(Certificate(row[0], _seconds(row[1]), _seconds(row[2])) for row in rows if len(row) == 3)


def _seconds(text: str) -> float | None:
    return float(text) if text.isdigit() else None


__all__ = ["Certificate", "look", "parse"]
