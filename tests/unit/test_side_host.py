"""Side clusters on another host than the primary: which one, who may read them there, and the way to them."""

from __future__ import annotations

import asyncio
import json
import ssl
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents.base.errors import AgentError
from agents.postgresql import engines
from agents.postgresql.side import bridge, cluster
from agents.postgresql.side.bridge import Far
from agents.postgresql.side.place import BadRequest, Place
from agents.postgresql.side.restore import Request, describe
from agents.postgresql.side.settings import NOBODY, Served
from agents.postgresql.side.target import Target
from deploys import pki
from inventories.errors import BadInput, Refused, Unreachable
from inventories.inventory import _side_host
from runbooks.actions.postgresql import side
from runbooks.actions.postgresql.side import SideRequest
from runbooks.engine.context import Context
from runbooks.hosts import Run
from runbooks.long_work.work import Asker, Work
from runbooks.probes.postgresql import side as side_probe
from runbooks.probes.postgresql.side import SideCluster
from runbooks.procedures.postgresql import beside, pitr_side, restore_table
from runbooks.procedures.postgresql.pitr_state import RestorePitr, RestorePitrOptions
from runbooks.procedures.postgresql.restore_table import RestoreTable, RestoreTableOptions
from runbooks.procedures.postgresql.targets import parse
from runbooks.table_copy.counts import Counts


class Named:
    """A host as far as it matters here."""

    def __init__(self, name: str, answers: bool = True) -> None:
        self.name, self.answers = name, answers

    def must_answer(self) -> None:
        if not self.answers:
            raise Unreachable(f"{self.name} does not answer")

    def __str__(self) -> str:
        return self.name


def run(side_host: str = "", on: str = "", silent: str = "") -> Run:
    hosts = {name: Named(name, name != silent) for name in ("pg1", "pg2", "backup1", "app1")}
    estate = SimpleNamespace(
        name="nowhere", data={"side_host": side_host}, postgres=(hosts["pg1"], hosts["pg2"]),
        backup=hosts["backup1"], host=hosts.__getitem__,
    )  # fmt: skip
    return Context(estate=estate, options=RestorePitrOptions(on=on), run_dir=Path("run"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("side_host", "on", "at"),
    [("", "", "pg1"), ("pg2", "", "pg2"), ("backup1", "", "backup1"), ("pg2", "pg1", "pg1"), ("", "pg2", "pg2")],
)
def test_a_backup_is_restored_where_it_was_said_or_declared_else_beside_the_primary(
    side_host: str, on: str, at: str
) -> None:
    assert beside.chosen(run(side_host, on), "pg1") == at
    if not on:
        assert beside.chosen(run(side_host), "pg1", swap=True) == "pg1", "a swap is a rename"


def test_a_host_that_cannot_restore_or_does_not_answer_is_told_before_anything_is_done() -> None:
    with pytest.raises(BadInput, match="app1 has no PostgreSQL") as told:
        beside.chosen(run(on="app1"), "pg1")
    assert told.value.hint == "--on is one of pg1, pg2, backup1"
    with pytest.raises(Unreachable) as away:
        beside.chosen(run("pg2", silent="pg2"), "pg1")
    assert away.value.hint == "--on pg1 restores beside the primary instead"
    with pytest.raises(BadInput, match="--swap renames"):
        beside.chosen(run(on="pg2"), "pg1", swap=True)


def test_what_can_be_done_with_an_open_one_is_true_of_where_it_is() -> None:
    """Its removal is a whole command, and a swap is no way on where it would be refused."""
    seen = cast(SideCluster, SimpleNamespace(connection=("-h", "/socket", "-p", "5433")))
    state = RestorePitr(target=parse(to_lsn="0/3000060"), primary="pg1", at="pg1")
    look, leave = pitr_side.ways_on(run(), state, seen)
    assert "psql -h /socket -p 5433" in look
    assert "--swap --yes" in look
    assert leave.startswith("it stays open until, on pg1, cd /opt/mystocks-dr && sudo -u postgres python3 -m ")
    assert leave.endswith(" drop --name pitr")
    look, leave = pitr_side.ways_on(run(), state.model_copy(update={"at": "pg2"}), seen)
    assert "--swap" not in look
    assert "on pg2" in leave
    swapped = replace(run(), options=RestorePitrOptions(swap=True))
    assert pitr_side.ways_on(swapped, state, seen) == ()


def test_nobody_reads_one_on_another_host_once_its_rows_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was open before, which no later step drops."""
    closed: list[str] = []
    monkeypatch.setattr(beside.bridge, "close", lambda host, name, side: closed.append(f"{host}: {name} on {side}"))
    monkeypatch.setattr(restore_table, "_compared_again", lambda *_: (Counts(table="far", restored=5),))
    restore_table.check(run(), RestoreTable(tables=("far",), primary="pg1", side="native", at="backup1"))
    assert closed == ["pg1: native on backup1"]


def test_one_that_was_open_before_is_told_to_stay_whatever_was_written() -> None:
    told = {}
    for yes in (False, True):
        options = RestoreTableOptions(tables=("far",), source="native", yes=yes)
        state = RestoreTable(tables=("far",), primary="pg1", side="native", at="pg1")
        told[yes] = restore_table._told(replace(run(), options=options), state, (), ())
    assert told[True] == told[False]
    assert "the side cluster native stays open on pg1" in told[True][0]


def test_a_restore_that_gives_way_is_not_promised_the_time_of_a_proof() -> None:
    assert pitr_side.expected("about 18 s", hurries=True) == "about 18 s"
    assert pitr_side.expected("about 18 s", hurries=False).startswith("about 18 s, and longer as it gives way")
    assert pitr_side.expected("", hurries=False) == ""


def test_a_run_that_restored_elsewhere_cannot_swap_when_it_is_resumed() -> None:
    state = RestorePitr(target=parse(to_lsn="0/3000060"), primary="pg1", at="pg2")
    with pytest.raises(Refused, match="is on pg2, and --swap takes one on pg1"):
        beside.must_be_beside(state)
    beside.must_be_beside(state.model_copy(update={"at": "pg1"}))


def test_the_inventory_names_a_host_with_postgresql_or_none() -> None:
    groups = {"pg_primary": ("pg1",), "pg_standby": ("pg2",), "backup": ("backup1",), "app": ("app1",)}
    for name in ("", "pg1", "pg2", "backup1"):
        _side_host(Path("lab.py"), name, groups)
    with pytest.raises(BadInput, match="side_host is 'app1'") as told:
        _side_host(Path("lab.py"), "app1", groups)
    assert "pg1, pg2, backup1" in told.value.hint


def described(folder: Path, patch: pytest.MonkeyPatch, served: Served = NOBODY) -> SideCluster:
    """As its host tells of one that was restored with these words."""
    patch.setattr(Place, "running", lambda _: False)
    place = Place("pitr", 17, folder)
    place.folder.mkdir(parents=True)
    place.note(phase="ready", request=Request("pitr", Target("immediate"), served=served).key, set="x")
    return side_probe.parse(json.loads(json.dumps(describe(place))))


def test_one_that_was_opened_to_be_looked_at_is_refused_where_the_primary_must_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """restore-pitr --on pg2, then restore-table --from pitr --on pg2: a bridge was laid to what listens to nobody."""
    monkeypatch.setattr(beside.bridge, "open_to", lambda host, name, at, port: f"{host}: {name} on {at}")
    state = RestoreTable(tables=("far",), primary="pg1", side="pitr", at="pg2")
    own = described(tmp_path, monkeypatch)
    assert own.readers == ()
    with pytest.raises(Refused, match="pitr on pg2 lets nobody in from pg1") as told:
        beside.socket_of(run(), state, own)
    assert "without --from and with --on pg2" in told.value.hint
    assert beside.socket_of(run(), state.model_copy(update={"at": "pg1"}), own) == own.socket
    for readers in (("pg1", "pg2"), None):  # None: an earlier release's agent, which does not tell
        assert beside.socket_of(run(), state, replace(own, readers=readers)) == "pg1: pitr on pg2"


def test_the_readers_of_a_served_one_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert described(tmp_path, monkeypatch, SERVED).readers == ("pg1", "pg2")


# ---- who may read it ----

SERVED = Served("10.0.0.31", (("pg1", "10.0.0.21"), ("pg2", "2001:db8::22")))


def test_nobody_reads_a_side_cluster_from_elsewhere_unless_it_is_served() -> None:
    nobody = Served(readers=SERVED.readers)
    assert nobody.settings() == {"listen_addresses": ""}
    assert nobody.lets_in() == "local all postgres peer\n"


def test_a_served_one_lets_in_each_reader_with_its_certificate_from_its_address() -> None:
    assert SERVED.settings() | {"listen_addresses": "10.0.0.31", "ssl": "on"} == SERVED.settings()
    assert SERVED.lets_in().splitlines() == [
        "local all postgres peer",
        "hostssl all postgres 10.0.0.21/32 cert map=side",
        "hostssl all postgres 2001:db8::22/128 cert map=side",
    ]
    assert SERVED.named() == 'side "pg1" postgres\nside "pg2" postgres\n'


def test_the_words_of_a_request_lead_to_what_is_served() -> None:
    words = list(SideRequest("table", listen="10.0.0.31", readers=SERVED.readers).words())
    options = cluster._parser().parse_args(["restore", *words])
    assert cluster._served(options) == SERVED
    plain = cluster._parser().parse_args(["restore", *SideRequest("table").words()])
    assert cluster._served(plain) == Served()
    key = Request("table", Target("immediate"), served=SERVED).key
    assert key["served"]["readers"] == [["pg1", "10.0.0.21"], ["pg2", "2001:db8::22"]], "as its state gives it back"
    assert "served" not in Request("table", Target("immediate")).key


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 1), (4, 1), (8, 2), (64, 16)])
def test_production_keeps_three_quarters_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int
) -> None:
    monkeypatch.setattr(engines.os, "cpu_count", lambda: cores)

    def speed(*words: str) -> engines.Speed:
        asked: list[Request] = []
        monkeypatch.setattr(cluster, "restore", lambda request, replace: asked.append(request))
        cluster._restore(cluster._parser().parse_args(["restore", *words]))
        return asked[0].speed

    def workers_of(*words: str) -> tuple[bool, int]:
        asked = speed(*words)
        return asked.gives_way, asked.workers

    def words(request: SideRequest) -> tuple[str, ...]:
        return (*request.words(), *request.pace())

    assert workers_of(*words(SideRequest("table"))) == (True, workers)
    assert workers_of(*words(SideRequest("table", processes=3))) == (True, 3)
    assert workers_of(*words(SideRequest("table", hurries=True))) == (False, cores)
    assert workers_of("--name", "proof") == (False, cores)


def test_a_restore_beside_production_gives_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[Work] = []
    monkeypatch.setattr(side.agent, "run_work", lambda host, work, asker: begun.append(work))
    side.restore(cast(Any, Named("pg1")), SideRequest("look"), Asker("a run", ""))
    (work,) = begun
    assert (work.on, work.gives_way, work.leaves) == ("side-look", True, True)


@pytest.mark.parametrize("reader", ["pg1", "pg1=", "=10.0.0.21", 'p"g=10.0.0.21', "pg1=10.0.0.21/8", "pg1=all"])
def test_a_reader_that_could_let_in_others_is_refused(reader: str) -> None:
    options = cluster._parser().parse_args(["restore", "--name", "t", "--listen", "10.0.0.31", f"--reader={reader}"])
    with pytest.raises(BadRequest, match="Nobody can be let in so"):
        cluster._served(options)


# ---- the way to it ----


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server behind TLS: who is there, and what it was told, twice."""
    name = dict(pair[0] for pair in writer.get_extra_info("peercert")["subject"])["commonName"]
    said = await reader.readline()
    writer.write(f"{name}: ".encode() + said * 2)
    await writer.drain()
    writer.close()


async def _asks(folder: Path, far: Far, trusts: ssl.SSLContext, said: bytes) -> bytes:
    """What comes back through the socket."""
    serving = asyncio.ensure_future(bridge.serve(folder, far, trusts))
    path = folder / f".s.PGSQL.{far.port}"
    while not path.exists():
        await asyncio.sleep(0.01)
    assert path.stat().st_mode & 0o077 == 0
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(said)
    got = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    serving.cancel()
    return got


class Certificates:
    """Of two hosts of one estate, and of one of another."""

    def __init__(self, folder: Path) -> None:
        self.pg1 = pki.issue(folder, "pg1", "127.0.0.1")
        self.backup1 = pki.issue(folder, "backup1", "127.0.0.1")
        self.other = pki.issue(folder / "other", "pg1", "127.0.0.1")


def trusted(mine: Any) -> ssl.SSLContext:
    return bridge.trusted(str(mine.ca), str(mine.certificate), str(mine.key))


async def _through(folder: Path, server: Any, reader: Any, name: str = "backup1") -> bytes:
    """One question to a server with these certificates, by a bridge with those."""
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server.ca)
    shown.load_cert_chain(server.certificate, server.key)
    shown.verify_mode = ssl.CERT_REQUIRED

    async def plain_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As PostgreSQL does it: TLS begins when it was asked for."""
        try:
            assert await reader.readexactly(8) == bridge._ASK_FOR_TLS
            writer.write(b"S")
            await writer.drain()
            await writer.start_tls(shown)
            await _answer(reader, writer)
        except (OSError, ssl.SSLError):
            writer.close()

    listening = await asyncio.start_server(plain_first, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    try:
        return await _asks(folder, Far("127.0.0.1", port, name), trusted(reader), b"select 1\n")
    finally:
        listening.close()


def test_what_is_said_goes_through_by_the_hosts_own_certificates(tmp_path: Path) -> None:
    made = Certificates(tmp_path)
    assert asyncio.run(_through(tmp_path, made.backup1, made.pg1)) == b"pg1: select 1\nselect 1\n"


def test_who_is_of_another_estate_or_has_another_name_gets_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Certificates(tmp_path)
    assert asyncio.run(_through(tmp_path, made.other, made.pg1)) == b""
    assert asyncio.run(_through(tmp_path, made.backup1, made.pg1, name="pg2")) == b""
    assert asyncio.run(_through(tmp_path, made.backup1, made.other)) == b""
    assert "pg2: " in capsys.readouterr().err


def test_certificates_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="cannot be read"):
        bridge.trusted(str(tmp_path / "ca"), str(tmp_path / "crt"), str(tmp_path / "key"))
    assert Place("t", 17, tmp_path).folder.name == "side-t.d"
