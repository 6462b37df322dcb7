"""TDengine's backups on the backup host: connector and programs, account, key, and the folder that holds them."""

from __future__ import annotations

from typing import Any

from pyinfra import host

from deploys import estate, jobs
from deploys.placed import Place, folder, placed
from deploys.postgresql.operations import packages
from deploys.tdengine import server
from deploys.text import as_file

SETTINGS = jobs.TD_SETTINGS
CIPHER = f"{server.ETC}/td-cipher.pass"
FOLDER = "/var/lib/mystocks-dr/tdengine"
DUMPS = "/var/lib/mystocks-dr/td-dumps"  # of the second engine, taosdump
PROOFS = "/var/lib/mystocks-dr/td-proofs.jsonl"
DUMP_PROOFS = "/var/lib/mystocks-dr/td-dump-proofs.jsonl"
OWNER = "postgres"  # whose cron runs every job of this host


def deploy() -> None:
    """What agents.tdengine.backup.rows and its like need. The server's programs too: a proof starts one."""
    packages(name="TDengine backups' packages", names=["python3-numpy", "zstd", "openssl"])
    server.install()
    server.settings("td_backup", OWNER)
    placed(
        name="TDengine backups",
        places=[
            *records(),
            Place(SETTINGS, "0644", text=as_file(settings()).getvalue()),
            Place(CIPHER, "0600", OWNER, f"{estate.secret()['td_cipher'].get_secret_value()}\n"),
        ],
    )


def records() -> list[Place]:
    """As deploys/jobs.py has those of PostgreSQL."""
    return [
        folder(FOLDER, "0700", OWNER),
        folder(DUMPS, "0700", OWNER),
        Place(PROOFS, "0644", OWNER),
        Place(DUMP_PROOFS, "0644", OWNER),
    ]


def settings() -> dict[str, Any]:
    """/etc/mystocks-dr/td-backup.json, see agents/tdengine/backup/settings.py."""
    return {
        "folder": FOLDER,
        "cipher": CIPHER,
        "proofs": PROOFS,
        "tdengine": f"{server.ETC}/tdengine.json",
        "database": host.data.get("tdengine_database"),
        "zstd_level": host.data.get("tdengine_zstd_level"),
    }
