"""The page of plain instructions in an escrow bundle, for somebody who has the bundle, blank machines and a shell."""

from __future__ import annotations

from collections.abc import Sequence

from inventories import secrets
from inventories.inventory import Inventory
from runbooks.escrow import sealed

_PAGE = """\
What is in here opens every backup of the estate {estate}. Keep it where the machines of the estate do not reach.

WITH THE TOOL
  ./dr keys.restore FILE --to ~/.config/mystocks-dr
  cp ~/.config/mystocks-dr/inventory/{inventory} inventories/    (then put the addresses of the new machines in it,
      secrets_file = ~/.config/mystocks-dr/secrets.yaml and pki_dir = ~/.config/mystocks-dr/pki)
  ./dr restore-cluster --inventory {name}

WITHOUT THE TOOL
 1. Open this bundle (two persons: the same command once more on what the first one wrote, without the tar):
      {open} -in FILE | tar xz
      cd mystocks-dr-escrow && sha256sum -c MANIFEST.sha256
 2. On a blank machine with Debian 13:
      apt-get install postgresql-{version} postgresql-{version}-timescaledb pgbackrest restic
 3. The repository. When the backup host's disk is left: copy {repository} to the same place, owned by postgres.
    Else fetch the off-site copy. Its password is `restic` in secrets.yaml, the SSH key is in pki/ (mode 0600):
      sed -n 's/^restic: //p' secrets.yaml >restic.password
      restic -r sftp:{offsite}:backups --password-file restic.password \
        -o sftp.command='ssh -i pki/offsite_ed25519 -p {port} offsite@{offsite} -s sftp' restore latest --target /
    Where that host runs a rest-server instead of sftp (offsite_kind), on it as root, then carry it over:
      restic -r /var/lib/mystocks-offsite/backups --password-file restic.password restore latest --target /somewhere
      chown -R postgres:postgres {repository}
 4. /etc/pgbackrest.conf, mode 0640, owned by postgres, the passphrase from `pgbackrest_cipher` in secrets.yaml:
      [global]
      repo1-path={repository}
      repo1-cipher-type=aes-256-cbc
      repo1-cipher-pass=...                                     (sed -n 's/^pgbackrest_cipher: //p' secrets.yaml)
      [{stanza}]
      pg1-path=/var/lib/postgresql/{version}/main
 5. What there is, then the restore into an empty directory:
      sudo -u postgres pgbackrest --stanza={stanza} info
      pg_dropcluster {version} main --stop; pg_createcluster {version} main; rm -rf /var/lib/postgresql/{version}/main
      install -d -o postgres -g postgres -m 0700 /var/lib/postgresql/{version}/main
      sudo -u postgres pgbackrest --stanza={stanza} restore
 6. postgresql.conf in /etc/postgresql/{version}/main needs:
      shared_preload_libraries = 'timescaledb'
      max_connections = {max_connections}
      max_wal_senders = 10
 7. Start it; it replays the archive to its end and takes writes:
      systemctl start postgresql@{version}-main
      sudo -u postgres psql -c 'select pg_is_in_recovery()' {database}
    To stop at a moment instead, add --type=time --target='2026-11-21 10:00:00+00' --target-action=promote in step 5.
 8. TDengine, where the estate has it: its backups are in /var/lib/mystocks-dr, also after step 3. Those in tdengine/
    need this tool. A dump in td-dumps/ does not, only TDengine and its taosdump:
      sed -n 's/^td_cipher: //p' secrets.yaml >td_cipher; mkdir plain
      openssl enc -d -aes-256-ctr -pbkdf2 -iter 100000 -md sha256 -pass file:td_cipher <LABEL/dump.tar.zst.enc |
        zstd -d | tar -x -C plain
      taos -s "create database market_data precision 'ns' wal_level 2 wal_fsync_period 0"; taosdump -i plain

 9. SQLite databases, where the estate has them: snapshots and every change are in {sqlite}, also after
    step 3, and need this tool's agents/ (Python, python3-cryptography, zstd): ./dr deploy --limit APP, where the backup
    host is left, then ./dr sqlite-restore --yes. Their key is made of the repository's:
      printf '%s' '{purpose}' | openssl dgst -sha256 -hmac "$(sed -n 's/^pgbackrest_cipher: //p' secrets.yaml)"

HOSTS
{hosts}
FILES
  secrets.yaml      passwords of the roles, pgbackrest_cipher (the repository's key), restic (the off-site copy's key),
                    td_cipher (the key of TDengine's backups)
  key-ids.json      the ids by which backups name their key: the first 12 hex digits of its SHA-256 (sqlite: of step 9)
  inventory/        the inventory as it was, and hosts.json with each host's values
{keys}"""


def page(inventory: Inventory, keys: Sequence[str]) -> str:
    """The page for this estate; `keys` are the paths of CA, certificates and keys in the bundle."""
    data = inventory.data
    offsite = [host for host in inventory.hosts if host.name in inventory.groups.get("offsite", ())]
    return _PAGE.format(
        estate=inventory.estate, inventory=inventory.path.name, name=inventory.name, open=sealed.OPEN,
        version=data["postgres_version"], repository="/var/lib/pgbackrest", stanza=data["stanza"],
        sqlite="/var/lib/mystocks-dr/sqlite", purpose=secrets.SQLITE_PURPOSE,
        max_connections=data["max_connections"], database=data["database"],
        offsite=offsite[0].ssh_hostname if offsite else "NONE", port=offsite[0].ssh_port if offsite else 22,
        hosts="".join(
            f"  {host.name:16s}  {host.ssh_hostname:24s}  {_groups(inventory, host.name)}\n" for host in inventory.hosts
        ),
        keys="".join(f"  {name}\n" for name in keys),
    )  # fmt: skip


def _groups(inventory: Inventory, host: str) -> str:
    return ", ".join(group for group, members in inventory.groups.items() if host in members)
