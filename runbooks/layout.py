"""Where things lie on a PostgreSQL host: the paths that deploys/ put there and that actions and probes use."""

from __future__ import annotations

from dataclasses import dataclass

FENCED = "/etc/mystocks-dr/fenced"
PERMIT = "/run/mystocks-dr-start-permit.json"  # lets PostgreSQL start once; the start guard takes it away
CA = "/etc/mystocks-dr/ca.crt"
PASSFILE = "/var/lib/postgresql/.mystocks.pgpass"
KEPT = "/var/lib/postgresql/mystocks-kept"  # copies of what a recovery step is about to erase
PROOFS = "/var/lib/mystocks-dr/proofs.jsonl"  # on the backup host: a line for each backup that was tried
STANZA = "main"
ASKED = "/run/postgresql/mystocks-asked"  # what the archive was asked ahead of a promotion
PROVISIONED = "/etc/mystocks-dr/provisioned"  # a deploy got as far as it must before data may come
DATA = "data"  # what a rewind, a re-clone and a restore work on, as their units' names say it


@dataclass(frozen=True)
class Layout:
    """Paths of one PostgreSQL major version in Debian's layout."""

    version: int

    @property
    def data(self) -> str:
        return f"/var/lib/postgresql/{self.version}/main"

    def beside(self, name: str) -> str:
        """A path in the directory that holds the data directory."""
        return f"/var/lib/postgresql/{self.version}/{name}"

    @property
    def etc(self) -> str:
        return f"/etc/postgresql/{self.version}/main"

    @property
    def bin(self) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin"

    @property
    def unit(self) -> str:
        return f"postgresql@{self.version}-main.service"

    @property
    def synchronous(self) -> str:
        """Present on a primary that waits for its standby, absent otherwise."""
        return f"{self.etc}/conf.d/90-synchronous.conf"


def slot(host: str) -> str:
    """The replication slot's name of a host."""
    return "".join(letter if letter.isalnum() else "_" for letter in host.lower())
SQLITE_PROGRAM, SQLITE_USER = "sqlite.restore", "mystocks"  # on an application host, see agents/sqlite/restore.py
