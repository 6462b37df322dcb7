"""The off-site copy: any restic from 0.12 on, all of it read back in turns, and gone only under the law of backups."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.base.errors import AgentError
from agents.jobs import in_step, leases, proofs, verification
from agents.jobs.config import Offsite, Settings
from agents.jobs.in_step import Reading
from agents.jobs.leases import Lease
from agents.jobs.proofs import Proof
from agents.offsite import copies, law, restic
from tests.unit.jobs_kit import BackupHost, backup_host

LABEL, INCR = "20261121-183000F", "20261121-183000F_20261122-083000I"
OFFSITE = {
    "host": "offsite1", "repository": "sftp:offsite1:backups", "ssh_config": "x", "password_file": "y", "keep_last": 1,
    "keep_daily": 1, "keep_weekly": 1, "read_days": 14,
}  # fmt: skip
# What each says where there is no repository yet, and where the password is another one.
NONE_014 = """Fatal: unable to open config file: Lstat: file does not exist
Is there a repository at the following location?
sftp:offsite1:backups"""
NONE_018 = '{"message_type":"exit_error","code":10,"message":"Fatal: repository does not exist"}'
UNKNOWN = """Fatal: unable to open config file: unexpected HTTP response (401): 401 Unauthorized
Is there a repository at the following location?"""
# Does the words of the script for each command; notes how it was called.
_RESTIC = """#!/bin/sh
echo "$@" >> "{folder}/restic-calls"
[ "$1" = version ] && {{ cat "{folder}/version"; exit; }}
while [ "$1" != --json ]; do shift; done; shift
. "{folder}/restic.sh"
"""


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupHost:
    host = backup_host(tmp_path)
    host.change(jobs={"offsite": {}}, offsite=OFFSITE)
    host.holds(LABEL, INCR)
    now = time.time()
    host.note("verify", armed_at=now, last_success_at=now, outcome="passed")
    program = tmp_path / "bin" / "restic"
    program.write_text(_RESTIC.format(folder=tmp_path))
    program.chmod(0o755)
    says(host, 'case "$1" in backup) echo \'{"message_type": "summary", "snapshot_id": "abcdef0123"}\';; esac')
    (tmp_path / "version").write_text("restic 0.18.0 compiled with go1.24.4 on linux/amd64\n")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(restic, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(in_step, "ask", lambda database: [Reading("pg1", 0.0, True)])
    restic.version.cache_clear()
    return host


def says(host: BackupHost, script: str) -> None:
    (host.folder / "restic.sh").write_text(script + "\n")


def calls(host: BackupHost) -> list[str]:
    path = host.folder / "restic-calls"
    return path.read_text().splitlines() if path.exists() else []


def proven(host: BackupHost, label: str, passed: bool = True, ago_h: float = 1.0) -> None:
    proofs.append(Proof(label, time.time() - ago_h * 3600, passed), host.settings.proofs)


def offsite(settings: Settings) -> Offsite:
    assert settings.offsite is not None
    return settings.offsite


@pytest.mark.parametrize(("code", "words"), [(10, NONE_018), (1, NONE_014)])
def test_a_repository_that_is_not_there_is_made_whatever_the_release(
    host: BackupHost, code: int, words: str
) -> None:
    says(host, f"""case "$1" in
      cat) cat >&2 <<'END'
{words}
END
        exit {code};;
      backup) echo '{{"message_type": "summary", "snapshot_id": "abcdef01", "data_added": 2097152}}';;
    esac""")
    proven(host, LABEL)
    said = copies.copy(host.settings)
    assert any(call.endswith("init") for call in calls(host))
    assert "snapshot abcdef01 on offsite1: 2.0 MiB new" in said["sentence"]


@pytest.mark.parametrize(
    ("code", "words", "expected"),
    [
        (1, "Fatal: wrong password or no key found", "secret `restic` does not open"),
        (12, "x", "secret `restic` does not open"),
        (1, UNKNOWN, "does not know this account"),
        (11, "unable to create lock in backend: repository is already locked by PID 7 on backup1", "locked by PID 7"),
        (1, "Fatal: unable to open repository: ssh command exited: exit status 255", "ended with 1: Fatal: unable to"),
    ],
)
def test_what_is_wrong_is_told_apart_and_nothing_is_made_over_it(
    host: BackupHost, code: int, words: str, expected: str
) -> None:
    says(host, f"cat >&2 <<'END'\n{words}\nEND\nexit {code}")
    with pytest.raises(AgentError, match=expected):
        copies.copy(host.settings)
    assert not any(call.endswith("init") for call in calls(host))


def test_the_whole_copy_is_read_back_in_turns_by_count(host: BackupHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day whose clock was wrong costs no part, and two copies of a day read one."""
    settings, now = host.settings, time.time()
    for day in range(16):
        monkeypatch.setattr(in_step, "now", lambda settings, day=day: now + (day - 400 * (day == 5)) * 86400)
        law.read_back(settings, offsite(settings), first=False)
        law.read_back(settings, offsite(settings), first=False)
    read = [call.rpartition("=")[2] for call in calls(host) if "--read-data-subset" in call]
    assert read == [f"{n}/14" for n in (*range(1, 15), 1, 2)]
    assert json.loads((settings.states / law.READ).read_text())["of"] == 14


def test_a_copy_that_cannot_be_read_back_lets_nothing_go(host: BackupHost) -> None:
    proven(host, LABEL)
    says(host, """case "$1" in
      check) echo 'Fatal: repository contains errors' >&2; exit 1;;
      backup) echo '{"message_type": "summary", "snapshot_id": "abcdef01"}';;
    esac""")
    with pytest.raises(AgentError, match="repository contains errors"):
        copies.copy(host.settings)
    assert not any("forget" in call for call in calls(host))


def forgets(host: BackupHost) -> bool:
    (host.folder / "restic-calls").unlink(missing_ok=True)
    copies.copy(host.settings)
    return any("forget" in call for call in calls(host))


def test_snapshots_go_while_all_is_well(host: BackupHost) -> None:
    proven(host, INCR)
    assert forgets(host)


def test_no_snapshot_goes_on_the_word_of_a_proof_of_what_is_no_longer_there(host: BackupHost) -> None:
    proven(host, "20250101-183000F")
    assert not forgets(host)


def test_no_snapshot_goes_on_the_word_of_an_old_proof_or_one_that_is_still_to_come(host: BackupHost) -> None:
    proven(host, INCR, ago_h=51)
    assert not forgets(host)
    proven(host, INCR, ago_h=-9000)
    assert not forgets(host)


def test_no_snapshot_goes_while_something_is_damaged_here_or_a_verification_failed(host: BackupHost) -> None:
    """They may be the last that have it whole."""
    proven(host, INCR)
    verification.note(host.settings.proofs, {LABEL: "LABEL/bundle/1"}, [LABEL, INCR])
    assert not forgets(host)
    verification.note(host.settings.proofs, {}, [LABEL, INCR])
    assert forgets(host)
    verification.ended(host.settings.proofs, "a segment is damaged")
    proven(host, INCR)
    assert not forgets(host)
    verification.ended(host.settings.proofs, "")
    assert forgets(host)


def test_no_snapshot_goes_while_the_verification_is_late(host: BackupHost) -> None:
    """What it would have found is in no record."""
    proven(host, INCR)
    long_ago = time.time() - 20 * 86400
    host.note("verify", armed_at=long_ago, last_success_at=long_ago, outcome="passed")
    assert not forgets(host)
    assert any("the verification is late" in why for why in copies.holds(host.settings))


def test_no_snapshot_goes_on_the_word_of_the_other_store_alone(
    host: BackupHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot holds the backups of both: TDengine's own verification, proofs and damage count as well."""
    proven(host, INCR)
    now, label = time.time(), "20261121-190000F"
    monkeypatch.setattr(copies, "_td_backups", lambda _: [label])
    host.change(jobs={"td-verify": {}})
    host.note("td-verify", armed_at=now, last_success_at=now, outcome="passed")
    assert not forgets(host)
    proofs.append(Proof(label, now, True), host.settings.td_proofs)
    assert forgets(host)
    host.note("td-verify", armed_at=0.0, last_success_at=now - 20 * 86400, outcome="passed")
    assert not forgets(host)
    host.note("td-verify", armed_at=now, last_success_at=now, outcome="passed")
    verification.note(host.settings.td_proofs, {label: "data-0001 is not what it was"}, [label])
    assert not forgets(host)


def test_no_snapshot_goes_while_a_lease_lives_or_the_clock_is_wrong(
    host: BackupHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven(host, INCR)
    leases.hold(Lease("x", "o", "restore-pitr runs", None, 60.0), host.settings.leases)
    assert not forgets(host)
    leases.release("x", host.settings.leases)
    monkeypatch.setattr(in_step, "ask", lambda database: [Reading("pg1", 9e6, True), Reading("pg2", 9e6)])
    assert not forgets(host)


@pytest.fixture
def served(host: BackupHost) -> Iterator[socket.socket]:
    """A rest-server takes connections at the address of the settings."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        files = {"repository_file": "/etc/x/repository", "ca_file": "/etc/x/ca.crt", "append_only": True}
        where = f"rest:https://127.0.0.1:{server.getsockname()[1]}/"
        host.change(offsite={**OFFSITE, **files, "repository": where})
        yield server


def test_a_rest_server_that_is_gone_is_told_at_once_and_restic_never_asked(
    host: BackupHost, served: socket.socket
) -> None:
    """restic 0.18 asked for longer than the alarm may take, and the drill of the lost host waited with it."""
    served.close()
    with pytest.raises(AgentError, match="rest-server of offsite1 does not answer") as told:
        copies.copy(host.settings)
    assert "mystocks-offsite" in told.value.hint
    assert calls(host) == []


def test_an_append_only_copy_is_let_go_by_the_operator_alone(host: BackupHost, served: socket.socket) -> None:
    proven(host, INCR)
    assert not forgets(host)
    where = "--repository-file /etc/x/repository --cacert /etc/x/ca.crt"
    assert all(where in call for call in calls(host) if "json" in call)
    assert copies.holds(host.settings) == []


def test_a_folder_comes_back_with_a_restic_that_names_none(host: BackupHost, tmp_path: Path) -> None:
    (host.folder / "version").write_text("restic 0.14.0 compiled with go1.19.8 on linux/amd64\n")
    there = tmp_path / "place" / "pgbackrest"
    (there / "backup").mkdir(parents=True)
    says(host, f"""case "$1" in
      restore) mkdir -p "$4{there}/backup/main" && echo data > "$4{there}/backup/main/x"; echo x > "$4{there}/y";;
    esac""")
    told = copies._bring(offsite(host.settings), "abcdef", str(there), Path("/"))
    assert told == {"files_restored": 2, "bytes_restored": 7}
    assert (there / "backup/main/x").read_text() == "data\n"
    assert [path.name for path in there.iterdir() if path.name.startswith(".")] == [], "the scratch folder is gone"
    assert any(f"restore abcdef --target {there}/.partial-" in call for call in calls(host))


def test_the_newest_snapshot_is_none_that_is_dated_ahead(host: BackupHost, tmp_path: Path) -> None:
    """Else every restore would take the one of the day on which the clock was wrong."""
    stamp, now = "%Y-%m-%dT%H:%M:%S.123456789Z", time.time()
    at = [time.strftime(stamp, time.gmtime(now + days * 86400)) for days in (-2, -1, 60)]
    listed = json.dumps([{"id": name * 8, "time": when, "paths": ["/x"]} for name, when in zip("abc", at, strict=True)])
    says(host, f"""case "$1" in
      snapshots) echo '{listed}';;
      restore) echo '{{"message_type": "summary", "files_restored": 1, "bytes_restored": 1}}';;
    esac""")
    assert copies.restore(host.settings, "latest", tmp_path / "there", "")["snapshot"] == "b" * 8
    assert copies.restore(host.settings, "ccc", tmp_path / "there", "")["snapshot"] == "c" * 8
