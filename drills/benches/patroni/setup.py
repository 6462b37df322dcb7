"""What Patroni's lab consists of: packages, settings and the commands that make them of three bare hosts.

    app1       etcd, which no crash touches: one node, so that no election of its own is measured
    pg1, pg2   PostgreSQL 17 and Patroni, as Debian's own unit runs it

The files are JSON, which is YAML.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from lab.spec import HOSTS, HostSpec
from lab.state import LabState

STORE, NODES = "app1", ("pg1", "pg2")
SPECS: tuple[HostSpec, ...] = tuple(host for host in HOSTS if host.name in (STORE, *NODES))
STORE_PACKAGES = ("etcd-server", "etcd-client")
# Patroni takes any of five stores; for etcd, of either version of its protocol, it imports python3-etcd.
NODE_PACKAGES = ("postgresql-17", "patroni", "python3-etcd")
CONFIG, STORE_CONFIG = "/etc/patroni/config.yml", "/etc/default/etcd"
SERVER, REST, ETCD = 5432, 8008, 2379
DATABASE = "postgres"


@dataclass(frozen=True)
class Pace:
    """Patroni's three clocks, in seconds; `loop_wait + 2 * retry_timeout` may be `ttl` at most."""

    ttl: int
    loop_wait: int
    retry_timeout: int

    def __str__(self) -> str:
        return f"ttl {self.ttl}, loop_wait {self.loop_wait}, retry_timeout {self.retry_timeout}"

    def as_settings(self) -> dict[str, int]:
        return asdict(self)


DEFAULTS = Pace(30, 10, 10)
# The least that Patroni 4 takes of each: what is below it sets back to these.
FASTEST = Pace(20, 1, 3)

# A cluster that nobody asked for would take the port. The lists may be older than the mirror.
INSTALL = """
set -eu
mkdir -p /etc/postgresql-common
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
install() { apt-get -q -y --no-install-recommends -o Dpkg::Options::=--force-confold install "$@" >&2; }
install "$@" || { apt-get -q update >&2 && install "$@"; }
dpkg-query --show --showformat '${Package} ${Version}\\n' "$@"
"""
# Standard input becomes the file of that name; its user may read it, and nobody else.
PLACE = """
set -eu
mkdir -p "$(dirname "$1")"
cat >"$1"
chown "$2" "$1"
chmod 0640 "$1"
systemctl enable "$3"
systemctl restart "$3"
"""


def store_settings(lab: LabState) -> str:
    """Of etcd's unit: reached by others than its own host, which is not its default."""
    mine = lab.hosts[STORE].address
    return (
        f"ETCD_LISTEN_CLIENT_URLS=http://0.0.0.0:{ETCD}\n"
        f"ETCD_ADVERTISE_CLIENT_URLS=http://{mine}:{ETCD}\n"
    )


def node_settings(lab: LabState, name: str, pace: Pace, password: str) -> str:
    """Of Patroni on one host. Apart from the pace all that is its own default stays that."""
    mine = lab.hosts[name].address
    document: dict[str, Any] = {
        "scope": lab.name,
        "name": name,
        "restapi": {"listen": f"0.0.0.0:{REST}", "connect_address": f"{mine}:{REST}"},
        "etcd3": {"hosts": [f"{lab.hosts[STORE].address}:{ETCD}"]},
        "bootstrap": {
            "dcs": {**pace.as_settings(), "postgresql": {"use_pg_rewind": True}},
            "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
        },
        "postgresql": {
            "listen": f"0.0.0.0:{SERVER}",
            "connect_address": f"{mine}:{SERVER}",
            "data_dir": "/var/lib/postgresql/17/patroni",
            "bin_dir": "/usr/lib/postgresql/17/bin",
            "authentication": {
                "superuser": {"username": "postgres", "password": password},
                "replication": {"username": "replicator", "password": password},
            },
            "pg_hba": [
                "local all all peer",
                "host all all 127.0.0.1/32 scram-sha-256",
                f"host all all {lab.subnet} scram-sha-256",
                f"host replication replicator {lab.subnet} scram-sha-256",
            ],
            "parameters": {"unix_socket_directories": "/var/run/postgresql"},
            # A crashed primary is to be a standby again before the next crash, whatever it takes.
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
        },
    }
    return json.dumps(document, indent=2) + "\n"


def versions(said: str) -> dict[str, str]:
    """By package, as `INSTALL` prints them at its end."""
    lines = (line.split() for line in said.splitlines())
    wanted = {*STORE_PACKAGES, *NODE_PACKAGES}
    return {words[0]: words[1] for words in lines if len(words) == 2 and words[0] in wanted}
