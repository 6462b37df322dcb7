"""What is kept of SQLite databases is known on the backup host alone: what it leads to, what proves it, which key."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from agents.sqlite import records, restore
from agents.sqlite.targets import Target
from deploys.sqlite import hosts
from doors import backup
from doors.sqlite import backups as screen
from inventories import secrets
from inventories.errors import BadInput, Refused
from runbooks import agent
from runbooks.backups import sqlite as listed
from runbooks.escrow import check as escrow
from runbooks.escrow import page
from runbooks.escrow.bundle import Bundle
from runbooks.hosts import Ran
from runbooks.look import measurements
from runbooks.marks import asking, holding
from runbooks.marks.types import Mark, Transaction
from runbooks.probes.postgresql import pgbackrest
from runbooks.probes.postgresql.pgbackrest import Backup, Repository
from runbooks.probes.sqlite import kept
from tests.unit.sqlite_kit import ROOT, Estate, protected, trade, trades, until
from tests.unit.test_tasks_support import run as dr_fails

CIPHER = SecretStr("the repository's own")


@dataclass
class Here:
    """Backup host and application host are this machine; each runs our programs on the kit's files."""

    kit: Estate
    name: str

    def __str__(self) -> str:
        return self.name

    def must_answer(self) -> None:
        """It does."""

    def run(
        self, command: str, *words: object, timeout: float | None = None, expect: int | None = 0, user: str = "root",
        stdin: str | None = None,
    ) -> Ran:  # fmt: skip
        text = command % tuple(shlex.quote(str(word)) for word in words)
        text = text.replace(agent.ROOT, str(ROOT)).replace("python3", sys.executable)
        text += f" --config {self.kit.folder / 'receiver.json'}" if "holdings" in text else ""
        done = subprocess.run(
            ["sh", "-c", text], env={"MYSTOCKS_SQLITE": str(self.kit.config), "PATH": "/usr/bin:/bin"}, input=stdin,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr, 0.0)


@dataclass
class Hosts:
    kit: Estate
    name: str = "mine"
    data: dict[str, Any] = field(default_factory=lambda: {"sqlite_databases": ["trading"], "stanza": "main"})
    groups: dict[str, Any] = field(default_factory=dict)

    @property
    def backup(self) -> Here:
        return Here(self.kit, "backup1")

    def group(self, _: str) -> tuple[Here, ...]:
        return (Here(self.kit, "app1"),)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Estate]:
    """Ten trades, protected, on a proven snapshot; its key is made of CIPHER, as a deploy makes it."""
    made = Estate(tmp_path, tmp_path / "pki")
    (tmp_path / "cipher").write_text(secrets.sqlite_key(CIPHER).get_secret_value() + "\n")
    with closing(made.database()) as database:
        made.start()
        protected(made.asking())  # on a snapshot of before
        for number in range(10):
            trade(database, number)
            made.asking().protected()
    until(lambda: any(one.proven for one in kept.look(there(made))[0].snapshots))
    yield made
    made.end()


def there(kit: Estate, **data: Any) -> Any:
    found = Hosts(kit)
    found.data |= data
    return found


def shelf(kit: Estate) -> kept.Shelf:
    [found] = kept.look(there(kit))
    return found


def lines(seen: listed.Listing) -> list[str]:
    return [one.plain for one in screen.listing(seen)]


def seen(kit: Estate, *declared: tuple[str, str, bool]) -> listed.Listing:
    named = declared or kept.declared(there(kit))
    return listed.listing([shelf(kit)], named, shelf(kit).snapshots[-1].taken_at + 60)


def test_with_the_application_host_lost_the_backup_host_tells_the_newest_transaction_and_the_last_proof(
    kit: Estate,
) -> None:
    newest = kit.asking().protected()
    kit.end()
    shutil.rmtree(kit.path.parent)
    found = shelf(kit)
    assert (found.host, found.database, found.newest and found.newest[0]) == ("app1", "trading", newest.tx)
    assert found.proven_at and found.snapshots[0].proven and found.snapshots[0].proof_s
    told = lines(seen(kit))
    assert seen(kit).sound
    assert any(f"a restore reaches transaction {newest.tx:,} of" in line for line in told)
    assert any("last proven 20" in line for line in told) and max(map(len, told)) <= 80


def test_a_database_that_is_declared_and_not_kept_is_missed_an_outbox_that_may_be_unused_is_not(kit: Estate) -> None:
    found = seen(kit, ("app1", "trading", True), ("app2", "trading", True), ("app1", "outbox", False))
    assert (found.missing, found.unused, found.sound) == (("trading on app2",), ("outbox on app1",), False)
    assert "TROUBLE  nothing is kept of trading on app2: ./dr status tells why." in lines(found)
    assert not any("outbox" in line and "TROUBLE" in line for line in lines(found))


def test_changes_that_are_damaged_before_others_lead_nobody_knows_where(kit: Estate) -> None:
    kit.end()
    [stream] = (kit.kept / "app1-trading" / "streams").iterdir()
    path = max(stream.glob("*.wal"))
    ends = [end for _, end in records.headers(path)]
    assert len(ends) > 2
    data = bytearray(path.read_bytes())
    data[ends[0] + 20] ^= 1
    path.write_bytes(bytes(data))
    found = seen(kit)
    assert found.databases[0].newest is None and not found.sound
    assert any("what a restore reaches is unknown" in line for line in lines(found))
    assert any("lead is unknown" in line for line in found.databases[0].troubles)
    assert measurements.files_there(measurements.shelves(there(kit))) == (None, None)


def test_what_is_off_site_is_told_by_snapshot_and_is_unknown_where_nobody_answers(kit: Estate) -> None:
    one = shelf(kit)
    label, taken = one.snapshots[-1].label, one.snapshots[-1].taken_at
    for copied, told in ((taken + 1, (label,)), (taken - 1, ()), (None, ())):
        found = listed.listing([one], [], taken, (copied, "offsite1"))
        assert found.databases[0].copied is not None and (label in found.databases[0].copied) == bool(told)
    unknown = listed.listing([one], [], taken, unknown="backup1's jobs do not say")
    assert unknown.databases[0].copied is None
    assert any("What is off-site is unknown: backup1's jobs do not say." in line for line in lines(unknown))
    assert any(line.endswith("on ?") for line in lines(unknown))


def test_a_manifest_that_cannot_be_read_and_a_proof_that_failed_are_named(kit: Estate) -> None:
    kit.end()
    place = kit.kept / "app1-trading"
    [one] = (place / "snapshots").iterdir()
    shutil.copytree(one, one.with_name("20991231-000000F"))
    (one.with_name("20991231-000000F") / "manifest.json").write_text("{")
    failed = {"label": one.name, "proven_at": 1.0, "outcome": "failed", "sentence": "page 3 is damaged", "kind": "full"}
    with (place / "proofs.jsonl").open("a") as out:
        out.write(json.dumps(failed) + "\n")
    found = seen(kit)
    [spoilt, damaged] = found.databases[0].troubles
    assert spoilt.startswith("20991231-000000F of trading on app1: its manifest cannot be read")
    assert damaged == f"{one.name} of trading on app1: page 3 is damaged"
    assert found.databases[0].newest is None and not found.sound


def bundle(cipher: SecretStr) -> Bundle:
    plain = {"pgbackrest_cipher": cipher.get_secret_value()}
    ids = {"pgbackrest_cipher": secrets.key_id(cipher)}
    return Bundle({"secrets.yaml": json.dumps(plain).encode(), "key-ids.json": json.dumps(ids).encode()})


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> None:
    backup = Backup("20261121-062140F", "full", 0, False, 0, 0, "0" * 24)
    found = Repository(0, "ok", "aes", 1, "17", (backup,), "17-1", "", False)
    monkeypatch.setattr(pgbackrest, "opened_with", lambda *_: found)


@pytest.mark.usefixtures("repository")
def test_escrow_tries_its_key_on_every_snapshot(kit: Estate) -> None:
    found = escrow.look(there(kit), bundle(CIPHER))
    assert (found.snapshots, found.missing, found.spoilt) == (len(shelf(kit).snapshots), {}, ())
    other = escrow.look(there(kit), bundle(SecretStr("another repository's")))
    label, ours = shelf(kit).snapshots[0].label, secrets.key_id(secrets.sqlite_key(CIPHER))
    assert (other.snapshots, other.missing) == (0, {f"{label} of trading on app1": ours})
    assert escrow.look(there(kit, sqlite_databases=[]), bundle(CIPHER)).snapshots is None


@pytest.mark.usefixtures("repository")
def test_escrow_tells_a_manifest_that_was_edited_from_a_key_that_is_missing(kit: Estate) -> None:
    [one] = (kit.kept / "app1-trading" / "snapshots").iterdir()
    manifest = json.loads((one / "manifest.json").read_text())
    (one / "manifest.json").write_text(json.dumps({**manifest, "tx": 9999}))
    found = escrow.look(there(kit), bundle(CIPHER))
    assert (found.snapshots, found.missing, found.spoilt) == (0, {}, (f"{one.name} of trading on app1",))


def test_the_escrows_page_makes_the_key_of_the_repositorys_without_this_tool(tmp_path: Path) -> None:
    [line] = [line.strip() for line in page._PAGE.splitlines() if "openssl dgst" in line]
    (tmp_path / "secrets.yaml").write_text(f"pgbackrest_cipher: {CIPHER.get_secret_value()}\n")
    command = line.replace("{purpose}", secrets.SQLITE_PURPOSE)
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == secrets.sqlite_key(CIPHER).get_secret_value()


def test_the_key_that_an_escrow_makes_is_the_one_that_a_deploy_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts.estate, "secret", lambda: {"pgbackrest_cipher": CIPHER})
    assert hosts.key() == secrets.sqlite_key(CIPHER).get_secret_value()


def mark(*databases: Transaction, lacks: tuple[str, ...] = ()) -> Mark:
    return Mark(
        name="etl", at=1.0, estate="mine", system="7", primary="pg1", timeline=1, lsn="0/1", databases=databases,
        lacks=lacks,
    )  # fmt: skip


def test_a_mark_binds_what_was_committed_and_a_restore_to_it_has_that_and_nothing_later(
    kit: Estate, tmp_path: Path
) -> None:
    """Also after another restore has begun new changes, whose numbers go on behind it."""
    app, estate = Here(kit, "app1"), there(kit)
    [bound], lacks = asking.transactions(app)  # type: ignore[arg-type]
    assert lacks == () and bound.tx == kit.asking().protected().tx
    with closing(kit.database()) as database:
        trade(database, 10)
        later = protected(kit.asking()).tx
    kit.kill("protector")
    restore.restore(kit.settings, "trading", Target(tx=bound.tx - 5))
    kit.start("protector")
    protected(kit.asking(), 60)
    found = holding.transaction_of(estate, mark(bound), "trading")
    assert found == bound
    kit.kill("protector")
    restore.restore(kit.settings, "trading", Target(tx=found.tx, stream=found.stream))
    assert trades(kit.path) == [f"t-{number:08d}" for number in range(10)]
    restore.restore(kit.settings, "trading", Target(tx=later))
    assert len(trades(kit.path)) == 11, "the number of a transaction stays its own when a stream begins behind it"


def test_a_database_that_is_not_protected_is_what_the_mark_lacks(kit: Estate) -> None:
    kit.kill("protector")
    bound, [lack] = asking.transactions(Here(kit, "app1"))  # type: ignore[arg-type]
    assert bound == () and lack.startswith("SQLite database trading on app1: The protector at")
    with pytest.raises(BadInput, match=r"binds no transaction of SQLite database trading: SQLite database trading on"):
        holding.transaction_of(there(kit), mark(lacks=(lack,)), "trading")


def test_a_mark_whose_changes_are_kept_no_more_is_refused(kit: Estate) -> None:
    [bound], _ = asking.transactions(Here(kit, "app1"))  # type: ignore[arg-type]
    gone = bound.model_copy(update={"stream": "20260101-000000S"})
    with pytest.raises(Refused, match="no sound snapshot is kept that leads there"):
        holding.transaction_of(there(kit), mark(gone), "trading")
    assert holding.transaction_of(there(kit), mark(gone), "trading", kept_there=False) == gone


def test_plan_reckons_with_the_bytes_and_transactions_that_are_kept(kit: Estate) -> None:
    one = shelf(kit)
    assert measurements.files_there(measurements.shelves(there(kit))) == (one.snapshots[-1].bytes, one.most_changes)
    assert one.newest and one.most_changes == one.newest[0] - one.snapshots[-1].tx
    [sample] = measurements._unpacked([one])[:1]
    assert sample.bytes == one.snapshots[-1].bytes and sample.seconds > 0
    assert measurements.shelves(there(kit, sqlite_databases=[])) == ()


def test_jobs_that_sqlite_has_none_of_are_told_with_what_looks_instead(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = dr_fails(capsys, "backup.run", "--store", "sqlite")
    assert code == BadInput.exit_code and "no job does it" in err and "./dr sqlite-restore" in err


def test_a_store_that_is_none_is_answered_with_all_that_are_listed() -> None:
    nothing: Any = SimpleNamespace(data={"sqlite_databases": []})
    with pytest.raises(BadInput, match="there is no store 'redis'") as told:
        backup._listed(nothing, "redis")
    assert told.value.hint == "the stores are postgresql, tdengine, sqlite"
