"""Backups: the TLS servers, the repository's state, and an archive that holds what the primary said it archived."""

from __future__ import annotations

import json

import pytest

from runbooks.engine.wait import until
from runbooks.probes.postgresql import pgbackrest as probe
from tests.verify.subject import Seen, Subject

# The newest segment of the current timeline that the archiver called done, with the hash of its content. All in one
# command, since the server may recycle the file at any time.
_NEWEST_DONE = """
cd %s/pg_wal || exit 1
for done in $(ls -r archive_status | grep -E '^%s[0-9A-F]{16}\\.done$'); do
  segment=${done%%.done}
  sum=$(sha1sum "$segment" 2>/dev/null | cut -c1-40) && [ -n "$sum" ] && echo "$segment-$sum" && exit 0
done
"""


@pytest.fixture(scope="module")
def stanza(whole: Seen) -> str:
    return str(whole.estate.data["stanza"])


@pytest.fixture(scope="module")
def info(repository: Subject, stanza: str) -> probe.Repository:
    return probe.info(repository.host, stanza)


def _asks_the_repository(whole: Seen) -> None:
    if whole.estate.backup.name in whole.expected.off:
        pytest.skip(f"{whole.estate.backup.name} is expected to be off")


def test_tls_server_runs(pgbackrest: Subject) -> None:
    server = pgbackrest.machine.service("pgbackrest-server")
    assert server.is_running
    assert server.is_enabled
    assert pgbackrest.listens(8432)


def test_settings_and_key_are_closed_to_others(pgbackrest: Subject) -> None:
    settings = pgbackrest.machine.file("/etc/pgbackrest.conf")
    assert (settings.user, settings.group, oct(settings.mode)) == ("postgres", "postgres", oct(0o640))
    key = pgbackrest.machine.file("/etc/pgbackrest/host.key")
    assert (key.user, oct(key.mode)) == ("postgres", oct(0o600))


def test_only_the_repository_knows_the_cipher(database: Subject) -> None:
    assert "cipher-pass" not in database.machine.file("/etc/pgbackrest.conf").content_string


def test_versions_agree_with_the_repository(pgbackrest: Subject, whole: Seen) -> None:
    """pgBackRest refuses to talk to another version of itself."""
    _asks_the_repository(whole)
    there = whole.estate.backup.run("pgbackrest version").text
    assert pgbackrest.machine.check_output("pgbackrest version") == there


def test_stanza_is_well_and_encrypted(info: probe.Repository) -> None:
    assert (info.status, info.message) == (0, "ok")
    assert info.cipher == "aes-256-cbc"


def test_there_is_a_full_backup_without_errors(info: probe.Repository) -> None:
    assert any(backup.type == "full" for backup in info.backups)
    assert info.newest is not None
    assert not info.newest.error


def test_backups_are_of_this_cluster(info: probe.Repository, primary: Subject, whole: Seen) -> None:
    assert info.system_id == primary.host.query("select system_identifier as id from pg_control_system()")[0]["id"]
    assert info.pg_version == str(whole.estate.data["postgres_version"])


def test_pgbackrest_itself_expires_nothing(repository: Subject) -> None:
    """Retention goes by proof, see agents/postgresql/expire.py: a number in here would let the last good backup go."""
    lines = repository.machine.file("/etc/pgbackrest.conf").content_string.splitlines()
    assert "expire-auto=n" in lines
    assert not [line for line in lines if "retention" in line and not line.startswith("#")]


def test_archiver_does_not_fail(primary: Subject, whole: Seen) -> None:
    _asks_the_repository(whole)
    assert not probe.archiving(primary.host).failing


def test_newest_finished_segment_is_in_the_archive_with_its_hash(
    primary: Subject, repository: Subject, info: probe.Repository, stanza: str, whole: Seen
) -> None:
    """`pg_stat_archiver` believes archive_command; this looks into the repository itself. It switches no WAL: a primary
    that has just been promoted is given the time to archive what its promotion closed."""
    data = f"/var/lib/postgresql/{whole.estate.data['postgres_version']}/main"
    node_timeline = primary.node.timeline
    found = until(
        lambda: primary.host.run(_NEWEST_DONE % (data, f"{node_timeline:08X}"), user="postgres").text,
        "archive.push",
        what=f"{primary.name} to archive a segment of timeline {node_timeline}",
        every=0.5,
    )
    segment, _, digest = found.partition("-")
    folder = f"archive/{stanza}/{info.archive_id}/{segment[:16]}"
    listed = repository.machine.check_output(
        "runuser -u postgres -- pgbackrest repo-ls --output=json --filter=%s %s",
        f"^{segment}-[0-9a-f]{{40}}([.][a-z0-9]+)?$", folder,
    )  # fmt: skip
    names = list(json.loads(listed))
    assert len(names) == 1, f"the archive holds {names} for {segment}"
    assert names[0].startswith(f"{segment}-{digest}")
