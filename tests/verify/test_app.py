"""The application host: agents, their settings, the replayer, an outbox that can be trusted, the way to the primary."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inventories.catalog import load_tables
from inventories.catalog.export import tables_json
from inventories.catalog.tables import Store
from runbooks.probes import app
from tests.verify.subject import Seen, Subject

CONFIG = "/etc/mystocks-dr/agent.json"
# Read only: asks who takes writes, over the same names, certificates and password that the writer uses.
_ASK = """
import json, psycopg2
c = json.load(open("/etc/mystocks-dr/agent.json"))
hosts = c["hosts"]
db = psycopg2.connect(
    host=",".join(h["name"] for h in hosts), hostaddr=",".join(h["address"] for h in hosts),
    port=",".join(str(h["port"]) for h in hosts), dbname=c["dbname"], user=c["user"], sslmode=c["sslmode"],
    sslrootcert=c["sslrootcert"], passfile=c["passfile"], target_session_attrs="read-write", connect_timeout=3)
cur = db.cursor()
cur.execute("select host(inet_server_addr()), ssl, current_user, pg_is_in_recovery() "
            "from pg_stat_ssl where pid = pg_backend_pid()")
print(json.dumps(cur.fetchone()))
"""
_COUNT_TABLES = f"""
import pathlib, agents.base.config as c
print(len(c.load_tables(c.load_config(pathlib.Path("{CONFIG}")).tables)))
"""


@pytest.fixture(scope="module")
def settings(application: Subject) -> dict[str, Any]:
    found = json.loads(application.machine.file(CONFIG).content_string)
    assert isinstance(found, dict)
    return found


def test_agents_are_there_and_start(application: Subject) -> None:
    done = application.machine.run(
        "cd /opt/mystocks-dr && runuser -u mystocks -- python3 -m agents.writing.replayer --help"
    )
    assert done.rc == 0, done.stderr


def test_replayer_runs_and_comes_back_after_a_reboot(application: Subject) -> None:
    replayer = application.machine.service("mystocks-replayer")
    assert replayer.is_running
    assert replayer.is_enabled


def test_password_is_readable_by_the_agents_only(application: Subject) -> None:
    found = application.machine.file("/etc/mystocks-dr/pgpass")
    assert (found.user, found.group, oct(found.mode)) == ("mystocks", "mystocks", oct(0o600))


def test_second_copies_are_taken_where_the_settings_want_them(application: Subject, settings: dict[str, Any]) -> None:
    copy = settings["outbox"].get("copy")
    if copy is None:
        assert app.outbox(application.host).orphans == 0
        return
    key = application.machine.file(copy["key"])
    assert (key.user, oct(key.mode)) == ("mystocks", oct(0o600))
    assert app.outbox(application.host).copy_error == ""


def test_settings_name_every_database_host(application: Subject, settings: dict[str, Any], whole: Seen) -> None:
    declared = [(host.name, host.address) for host in whole.estate.postgres]
    assert sorted((host["name"], host["address"]) for host in settings["hosts"]) == sorted(declared)
    assert settings["sslmode"] == "verify-full"


def test_agents_accept_their_settings(application: Subject) -> None:
    done = application.machine.run(
        "cd /opt/mystocks-dr && runuser -u mystocks -- python3 -c %s",
        _COUNT_TABLES,
    )
    assert done.rc == 0, done.stderr
    assert int(done.stdout) > 0


def test_agents_know_the_same_tables_as_the_catalogue(application: Subject) -> None:
    there = application.machine.file("/etc/mystocks-dr/tables.json").content_string
    assert json.loads(there) == json.loads(tables_json(load_tables()))


def test_this_host_s_rows_have_event_ids_of_their_own(settings: dict[str, Any]) -> None:
    assert 0 <= settings["node"] < 4096


def test_the_client_library_opens_its_settings_as_the_user_who_saves(application: Subject) -> None:
    """From where the deploy placed it, beside the agents that it is built from; nothing is connected or written."""
    done = application.machine.run(
        "cd / && runuser -u mystocks -- env PYTHONPATH=/opt/mystocks-dr:/opt/mystocks-dr/client python3 -c %s",
        "from mystocks_dr import Client; print(len(Client.open().tables))",
    )
    assert done.rc == 0, done.stderr
    assert int(done.stdout) >= len(load_tables().of(Store.POSTGRESQL))


def test_outbox_holds_no_dead_letters(application: Subject) -> None:
    """A dead letter is a row that was acknowledged and is in no table."""
    assert app.outbox(application.host).dead_rows == 0


def test_outbox_file_is_sound_where_there_is_one(application: Subject, settings: dict[str, Any]) -> None:
    """An outbox that nobody has used yet has no file; then its directory must be writable for the agents."""
    path = settings["outbox"]["path"]
    if not application.machine.file(path).exists:
        assert application.machine.run("runuser -u mystocks -- test -w %s", path.rpartition("/")[0]).rc == 0
        return
    checked = application.machine.check_output(
        "runuser -u mystocks -- sqlite3 -readonly %s 'pragma quick_check(1)'", path
    )
    assert checked == "ok"


def test_writer_reaches_the_primary_over_tls(application: Subject, primary: Subject) -> None:
    done = application.machine.run("cd / && runuser -u mystocks -- python3 -c %s", _ASK)
    assert done.rc == 0, done.stderr
    assert json.loads(done.stdout) == [primary.host.address, True, "writer", False]
