"""SQLite databases of the application host: whole, protected now, and kept on the backup host without their key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inventories.catalog.load import load_databases
from inventories.catalog.sqlite.databases import Kind
from inventories.catalog.sqlite.export import exported
from runbooks.probes.sqlite import databases as probe
from tests.verify.subject import Seen, Subject

ETC = "/etc/mystocks-dr"


@pytest.fixture(scope="module")
def names(whole: Seen) -> tuple[str, ...]:
    return probe.names(whole.estate)


@pytest.fixture(scope="module")
def settings(trader: Subject) -> dict[str, Any]:
    found = json.loads(trader.machine.file(f"{ETC}/sqlite.json").content_string)
    assert isinstance(found, dict)
    return found


def test_every_database_has_its_protector_which_comes_back_after_a_reboot(
    trader: Subject, names: tuple[str, ...]
) -> None:
    for name in names:
        service = trader.machine.service(probe.service(name))
        assert service.is_running, name
        assert service.is_enabled, name


def test_protectors_know_the_databases_of_the_catalogue(settings: dict[str, Any], names: tuple[str, ...]) -> None:
    declared = exported(load_databases())
    assert settings["databases"] == json.loads(json.dumps({name: declared[name] for name in names}))


def test_key_and_certificate_are_readable_by_the_writers_only(trader: Subject, settings: dict[str, Any]) -> None:
    for path in (settings["cipher"], settings["receiver"]["key"]):
        found = trader.machine.file(path)
        assert (found.user, oct(found.mode)) == ("mystocks", oct(0o600)), path


def test_every_database_is_whole(trader: Subject, names: tuple[str, ...]) -> None:
    """An outbox that nobody has used yet has no file."""
    for name in names:
        found = probe.status(trader.host, name)
        if not found.there and load_databases().databases[name].kind is Kind.OUTBOX:
            continue
        assert found.whole, found.why
        assert trader.machine.file(found.path).user == "mystocks"


def test_the_trading_database_is_closed_to_others(trader: Subject, names: tuple[str, ...]) -> None:
    for name in names:
        if load_databases().databases[name].kind is Kind.TRADING:
            folder = trader.machine.file(probe.status(trader.host, name).path.rpartition("/")[0])
            assert (folder.user, oct(folder.mode)) == ("mystocks", oct(0o750)), name


def test_all_that_is_committed_is_on_the_backup_host(trader: Subject, names: tuple[str, ...]) -> None:
    for name in names:
        found = probe.status(trader.host, name)
        if found.there:
            assert found.protected, f"{name}: {found.why}"


def test_what_is_kept_can_be_restored_and_was(trader: Subject, names: tuple[str, ...]) -> None:
    """The newest snapshot whose proof has ended; one that failed is told by its sentence."""
    for name in names:
        if not probe.status(trader.host, name).there:
            continue
        proven = [one.proven for one in probe.listed(trader.host, name).snapshots if one.proven is not None]
        assert proven, name
        assert proven[0], name


def test_receiver_runs_and_comes_back_after_a_reboot(keeper: Subject) -> None:
    receiver = keeper.machine.service(probe.RECEIVER)
    assert receiver.is_running
    assert receiver.is_enabled
    told = json.loads(keeper.machine.file(f"{ETC}/sqlite-receiver.json").content_string)
    assert keeper.listens(int(told["port"]))


def test_receiver_knows_every_application_host_and_nobody_reads_what_it_keeps(keeper: Subject, whole: Seen) -> None:
    told = json.loads(keeper.machine.file(f"{ETC}/sqlite-receiver.json").content_string)
    assert sorted(told["clients"]) == sorted(host.name for host in whole.estate.group("app"))
    folder = keeper.machine.file(told["folder"])
    assert (folder.user, oct(folder.mode)) == ("postgres", oct(0o700))


def test_the_key_is_not_where_the_backups_are(keeper: Subject) -> None:
    assert not keeper.machine.file(f"{ETC}/sqlite-cipher.pass").exists
