"""The lab's estate as the tests need it: made whole, damaged past its network, written to and counted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from drills import feed as feeds
from drills import gather
from drills.gate import gate
from drills.judging.compare import Comparison, compare
from drills.judging.fate import Fate
from drills.measuring.tally import LedgerView, Writing
from drills.prepare import provision
from inventories.errors import DrError
from lab import disks, faults, state
from lab.engine import find_engine
from lab.up import up
from runbooks import hosts
from runbooks.engine.budgets import budget
from runbooks.engine.rundir import runs_dir
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.probes import app
from runbooks.probes.postgresql import server
from runbooks.procedures.postgresql.rejoin import REJOIN, RejoinOptions
from runbooks.run import execute

UNIT = "postgresql@17-main"
DATA = "/var/lib/postgresql/17/main"
BY_HAND = "/etc/postgresql/17/main/conf.d/50-by-hand.conf"


def quiet(_: str) -> None:
    """Nobody watches."""


def lab_of(estate: Estate) -> str:
    """The lab's name, as the estate's name carries it."""
    return estate.name.removeprefix("lab-")


def runs() -> Path:
    return runs_dir()


def inside(estate: Estate, host: str, script: str, *args: str, privileged: bool = False) -> str:
    """Run a script in a host past its network, as its owner at the console would."""
    engine, box = find_engine(), state.load(lab_of(estate)).hosts[host].container
    flags = ("--privileged",) if privileged else ()
    return engine.run("exec", *flags, box, "sh", "-c", script, "sh", *args)


def power_on(estate: Estate) -> None:
    """Every host on, connected and answering."""
    for host in estate.hosts:
        faults.power_on(lab_of(estate), host.name)
        faults.heal(lab_of(estate), host.name)


def whole(estate: Estate) -> bool:
    try:
        gate(estate)
    except DrError:
        return False
    return True


def assert_whole(estate: Estate) -> None:
    """One primary, its synchronous standby, the mode noted, nothing waiting. Raises Refused naming what is not."""
    with suppress(DrError):
        until(lambda: app.outbox(estate.app), 60, what="an empty outbox", accept=lambda box: not box.pending_rows)
    gate(estate)


def make_whole(estate: Estate) -> Estate:
    """Whatever the test before left: power, network, rejoin, and, where that is not enough, a deploy."""
    if whole(estate):
        return estate
    up(lab_of(estate), quiet)
    power_on(estate)
    if not whole(estate):
        with suppress(DrError):
            rejoin(estate)
    if not whole(estate):
        provision(hosts.load("lab"), quiet)
        with suppress(DrError):
            rejoin(estate)
    assert_whole(estate)
    return hosts.load("lab")


def rejoin(estate: Estate) -> None:
    """Whoever is out; one that has paused is to be named."""
    nodes = server.survey(estate)
    named = [node.name for node in nodes if node.replay_paused]
    if len(nodes) > 2:
        named = [node.name for node in nodes if node.replay_paused or not (node.is_primary or node.follows)]
    for name in named or [""]:
        execute(REJOIN, estate, RejoinOptions(yes=True, host=name), quiet)


def roles(estate: Estate) -> tuple[str, str]:
    """Names of (primary, standby) of a whole estate."""
    primary, standby = gate(estate)
    return primary.name, standby.name


def timeline(estate: Estate) -> int:
    return server.the_primary(server.survey(estate)).timeline or 0


@dataclass
class Load:
    """A feed that writes while a test breaks things; `compared` is there once it has ended."""

    feed: feeds.Feed
    compared: list[Comparison] = field(default_factory=list)

    def view(self) -> LedgerView:
        return self.feed.ledger.view()

    def goes_to_outbox(self) -> None:
        """Wait until rows are acknowledged by the outbox."""
        self.feed.ledger.wait_for(lambda view: view.writing is Writing.OUTBOX, budget("feed.start"), "the outbox")

    def goes_to_store(self) -> None:
        """Wait until rows are acknowledged by the store, and those of the outbox have arrived there."""
        self.feed.ledger.wait_for(
            lambda view: view.writing is Writing.STORE and not view.awaiting_replay, budget("outbox.drain"), "the store"
        )

    def writes_on(self) -> None:
        """Wait for rows that were acknowledged after this moment."""
        before = self.view().acked
        self.feed.ledger.wait_for(lambda view: view.acked > before, 30, "further rows")


@contextmanager
def load(estate: Estate, folder: Path, rate: float = 1000.0) -> Iterator[Load]:
    """Write while the block runs; afterwards every acknowledged row must be in the primary, once."""
    with feeds.running(estate.app, rate, 1, folder) as feed:
        writing = Load(feed)
        yield writing
    view = feed.ledger.view()
    until(lambda: app.outbox(estate.app), 60, what="an empty outbox", accept=lambda box: not box.pending_records)
    assert view.run is not None
    primary = server.the_primary(server.survey(estate)).host
    found = compare(Fate(feed.ledger.acked_ids()), gather.finder(primary, str(estate.data["database"]), view.run))
    writing.compared.append(found)
    assert found.acked > 0
    assert (found.lost, found.duplicated) == (0, 0)


@dataclass(frozen=True)
class Elsewhere:
    """How an operator at another machine reaches the same estate: an inventory file and an environment."""

    inventory: str
    environment: dict[str, str]


def as_another_operator(estate: Estate, folder: Path) -> Elsewhere:
    """The estate by an inventory of their own; their machine knows no lock of ours, and has another name."""
    lines = [f"_SHARED = {{'estate': {estate.name!r}}}"]
    for group, names in estate.groups.items():
        members = [(name, _how_to_reach(estate.host(name))) for name in names]
        lines.append(f"{group} = ({members!r}, _SHARED)")
    path = folder / "theirs.py"
    path.write_text("\n".join(lines) + "\n")
    return Elsewhere(str(path), {"DR_STATE": str(folder / "state"), "DR_RUNS": str(folder / "runs")})


def _how_to_reach(host: Host) -> dict[str, object]:
    entry = host.entry
    return {
        "ssh_hostname": entry.ssh_hostname, "ssh_user": entry.ssh_user, "ssh_key": entry.ssh_key,
        "ssh_known_hosts_file": entry.ssh_known_hosts_file,
    }  # fmt: skip


def set_by_hand(host: Host, **settings: str) -> None:
    """By a file beside the declared one, as a hand would: ALTER SYSTEM is a finding of its own."""
    lines = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
    host.run("cat > %s && chown postgres: %s", BY_HAND, BY_HAND, stdin=lines)
    host.execute("SELECT pg_reload_conf();")


def as_declared(host: Host) -> None:
    """Take back what `set_by_hand` said, in the server that runs as well: a file that is gone changes nothing there."""
    host.run("rm -f %s", BY_HAND)
    with suppress(DrError):  # one that is down reads its files when it starts
        host.execute("SELECT pg_reload_conf();")


def remove(estate: Estate, host: str) -> None:
    """What `podman rm -f` does to a host: it is gone, and its disk with it."""
    estate.host(host).hang_up()
    faults.remove(lab_of(estate), host)


def small_disk(estate: Estate, host: str, path: str, unit: str) -> AbstractContextManager[disks.SmallDisk]:
    """Give this directory a disk with 160 MiB of room; `unit` stands still while it moves there and back."""
    return disks.small_disk(lab_of(estate), host, path, unit)
