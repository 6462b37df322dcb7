"""The benchmark: what the product promises, measured on this machine, and the gate that holds it to a record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task
from rich.table import Table

from doors.support import door, progress, screen
from inventories.errors import BadInput, VerificationFailed

if TYPE_CHECKING:
    from drills.benches.bench_gate import Passed
    from drills.benches.headline import Bench, Figure

_OF_THE_GATE = "./dr bench --gate --record; ./dr help bench explains each option"


@task(
    help={
        "runs": "how many primary-power-loss drills",
        "image": "build the lab image anew and time it",
        "rate": "rows a second that the unpaced feed asks for",
        "targets": "how many random points in time are restored",
        "restore": "measure restores beside the bare tools instead",
        "gib": "with --restore and --delayed: GiB in the database",
        "delayed": "measure what a delayed standby gives back beside the repository instead (DR_LAB_POSTGRES=3 "
        "DR_LAB_DELAY=1h); --targets random points in time",
        "tdengine": "measure TDengine's backups and restores beside its own dump tool instead",
        "client": "measure the client library beside the feed's path and bare statements instead; --runs rounds",
        "watch": "measure the watch instead, nobody awake: --runs drills on a lab that stays",
        "noise": "with --watch: so many episodes during which the primary serves and no watch may act",
        "hasty": "with --watch --noise: the twin, a watch without patience, which must act",
        "patroni": "measure Patroni from Debian's packages instead, in a lab of its own: --runs crashes each way",
        "nodes": "measure what a third node costs instead, on a lab of three or more that stays (DR_LAB_POSTGRES=3); "
        "--runs rounds",
        "validation": "measure the hashes of ./dr validate beside bare expressions instead; --runs rounds",
        "page": "measure the page of a year of made-up drills instead, without a lab; --runs rounds",
        "rows": "with --tdengine: ticks in the database; with --client: rows of each way (default 60,000); with "
        "--validation: orders (default 2,000,000); with --page: drills (default 1,000)",
        "readme": "write what was measured into its table of README.md",
        "gate": "hold the headline figures, as ratios to yardsticks of the same run, to docs/figures.yaml instead",
        "figures": "with --gate: only these, comma separated (store, replay, deploy, restore, failover)",
        "tolerance": "with --gate: how much worse than its record a figure may be (default 0.333: a third)",
        "tries": "with --gate: fail only when so many gates in a row find a figure worse",
        "record": "with --gate: write figures that are better, or new, into the record and into README.md",
        "reason": "with --record: why worse figures are written as well; kept in the file",
        "lab": "name of the lab that is made for it and removed afterwards (with --patroni: NAME-patroni); --gate "
        "uses one that is there as it is",
    }
)
@door
def bench(
    c: Context, runs: int = 5, image: bool = False, rate: float = 50000.0, targets: int = 20, restore: bool = False,
    gib: float = 5.0, tdengine: bool = False, client: bool = False, watch: bool = False, noise: str = "",
    hasty: bool = False, patroni: bool = False, nodes: bool = False, validation: bool = False, page: bool = False,
    rows: int = 0, readme: bool = False, gate: bool = False, figures: str = "", delayed: bool = False,
    tolerance: float = 1 / 3, tries: int = 1, record: bool = False, reason: str = "", lab: str = "bench",
) -> None:  # fmt: skip
    """Measure what was promised; --gate holds it to its record."""
    if sum((restore, delayed, tdengine, client, watch, patroni, nodes, validation, page, gate)) > 1:
        named = "--restore, --delayed, --tdengine, --client, --watch, --patroni, --nodes, --validation, --page, --gate"
        raise BadInput(f"{named} are ten benchmarks", "name one of them")
    if (noise or hasty) and not watch:
        raise BadInput("--noise and --hasty belong to the watch", "./dr bench --watch --noise 20")
    asked = {"--figures": figures, "--record": record, "--reason": reason, "--tries": tries != 1}
    extra = [option for option, given in {**asked, "--tolerance": tolerance != 1 / 3}.items() if given]
    if extra and not gate:
        raise BadInput(f"{extra[0]} belongs to the gate, which was not asked for", _OF_THE_GATE)
    if gate:
        _gate(figures, tolerance, tries, record, reason, lab)
        return
    if watch:
        _watch(runs, noise, hasty, readme, lab)
        return
    if patroni:
        _patroni(runs, readme, f"{lab}-patroni")
        return
    if nodes:
        _nodes(runs, readme, lab)
        return
    if delayed:
        _delayed(gib, targets, readme, lab)
        return
    if page:
        _page(runs, rows or 1000, readme)
        return
    if validation:
        _validation(runs, rows or 2_000_000, readme, lab)
        return
    _bench(runs, image, rate, targets, restore, gib, tdengine, client, rows, readme, lab)


def _watch(runs: int, noise: str, hasty: bool, readme: bool, lab: str) -> None:
    from drills.benches import watching

    if noise and not (noise.isdecimal() and int(noise)):
        raise BadInput(f"{noise!r} is no number of episodes that would prove anything", "./dr bench --watch --noise 20")
    if readme and (noise or hasty):
        raise BadInput("README has the table of the watch's drills", "./dr bench --watch --runs 20 --readme")
    with progress() as say:
        found = watching.noisy(lab, int(noise or 20), hasty, say) if noise or hasty else watching.bench(lab, runs, say)
    _kept(found, "watch" if readme else "", f"{runs} crashes of the primary's host with nobody awake, the watch acting")


def _patroni(runs: int, readme: bool, lab: str) -> None:
    from drills.benches.patroni import crashing

    if readme:
        raise BadInput("README has no table of Patroni's crashes", "./dr bench --patroni --runs 5")
    with progress() as say:
        found = crashing.bench(lab, runs, say)
    _kept(found, "", f"{runs} crashes of the primary's host each way, Patroni acting")


def _nodes(runs: int, readme: bool, lab: str) -> None:
    from drills.benches import nodes

    if readme:
        raise BadInput("README has no table of further nodes", "./dr bench --nodes --runs 5")
    with progress() as say:
        found = nodes.bench(lab, runs, say)
    _kept(found, "", f"the rows a second of further nodes beside those of two, {runs} rounds")


def _delayed(gib: float, targets: int, readme: bool, lab: str) -> None:
    from drills.benches import delayed

    if readme:
        raise BadInput("README has no table of delayed standbys", "./dr bench --delayed --gib 5")
    with progress() as say:
        found = delayed.bench(lab, gib, targets, say)
    _kept(found, "", f"a delayed standby and {gib:g} GiB: {targets} random points in time")


def _page(runs: int, drills: int, readme: bool) -> None:
    from drills.benches import page

    if readme:
        raise BadInput("README has no table of the page", "./dr bench --page")
    with progress() as say:
        found = page.bench(drills, runs, say)
    _kept(found, "", f"the page of {drills:,} drills, {runs} rounds")


def _validation(runs: int, rows: int, readme: bool, lab: str) -> None:
    from drills.benches import validation

    with progress() as say:
        found = validation.bench(lab, rows, runs, say)
    title = f"the hashes of `validate`, {runs} rounds over {rows:,} orders, side by side"
    _kept(found, "validation" if readme else "", title)


def _bench(
    runs: int, image: bool, rate: float, targets: int, restore: bool, gib: float, tdengine: bool, client: bool,
    rows: int, readme: bool, lab: str,
) -> None:  # fmt: skip
    from drills.benches import client as bench_client
    from drills.benches import headline as measuring
    from drills.benches import restore as bench_restore
    from drills.benches import tdengine as bench_tdengine

    with progress() as say:
        if restore:
            name, title = "restores", f"restores of {gib:g} GiB, side by side in one run"
            found = bench_restore.bench(lab, gib, targets, say)
        elif tdengine:
            rows = rows or 50_000_000
            name, title = "tdengine", f"TDengine, {rows:,} ticks, side by side in one run"
            found = bench_tdengine.bench(lab, rows, say)
        elif client:
            rows = rows or 60_000
            name, title = "client", f"the client library, {runs} rounds of {rows:,} rows each way, side by side"
            found = bench_client.bench(lab, rows, runs, say)
        else:
            name, title = "measured", f"{runs} `primary-power-loss` drills in a row, the kill at a random moment"
            found = measuring.bench(lab, runs, say, build_image=image, rate=rate, targets=targets)
    _kept(found, name if readme else "", title)


def _kept(found: Bench, name: str, title: str) -> None:
    """On the screen, in a file, and, where it is named and has not failed, in its table of the README.

    Raises VerificationFailed, with why, for one that has failed.
    """
    from datetime import UTC, datetime

    from drills import gather
    from drills.benches import headline as measuring
    from drills.benches import pages
    from drills.benches.bench_gate import README
    from runbooks.engine.rundir import REPOSITORY

    _show(found.figures)
    print(f"every value: {measuring.write(measuring.as_document(found), REPOSITORY / 'bench')}")
    if found.failed:
        more = f" (and {len(found.failed) - 3} more, in that file)" if len(found.failed) > 3 else ""
        raise VerificationFailed("; ".join(found.failed[:3]) + more)
    if name:
        pages.write(README, name, pages.page(title, found, gather.machine(), f"{datetime.now(UTC):%Y-%m-%d}"))


def _gate(names: str, tolerance: float, tries: int, record: bool, reason: str, lab: str) -> None:
    from drills.benches import bench_gate, figures
    from drills.benches.headline import write
    from runbooks.engine.rundir import REPOSITORY

    if reason and not reason.strip():
        raise BadInput("a reason that says nothing is none", "--record --reason TEXT")
    wanted = bench_gate.Gate(figures.chosen(names), tolerance, tries, record, reason.strip())
    kept = bench_gate.read(wanted)
    with progress() as say:
        found = bench_gate.run(wanted, kept, lab, say)
    _show_gate(found)
    print(f"every value: {write(bench_gate.as_document(found), REPOSITORY / 'bench')}")
    if record:
        kept = bench_gate.keep(wanted, kept, found)
    # A worse one that was recorded with its reason is what holds from now on.
    failed = [one for one in found.worse if not (record and reason and one.measured.why == "")]
    if failed:
        raise VerificationFailed(
            "; ".join(one.sentence() for one in failed),
            "what changed since it was recorded? --record --reason TEXT accepts it; ./dr status looks at the hosts",
        )


def _show_gate(found: Passed) -> None:
    from drills.benches.figures import HEADLINES, Verdict

    table = Table("figure", "ours", "yardstick", "ratio", "record", "limit", "", box=None, padding=(0, 2, 0, 0))
    marks = {Verdict.WORSE: "[red]✗ worse[/]", Verdict.NEW: "new"}
    for one in found.judged:
        measured = one.measured
        table.add_row(
            f"{one.name}: {HEADLINES[one.name].ours}",
            f"{measured.ours_s:.2f} s",
            f"{measured.yardstick_s:.2f} s",
            f"{measured.times:.2f}",
            "" if one.reached is None else f"{one.reached.times:.2f}",
            "" if one.limit is None else f"{one.limit:.2f}",
            marks.get(one.verdict, f"[green]✓[/] {one.verdict.value}"),
        )
    screen().print(table)


def _show(figures: tuple[Figure, ...]) -> None:
    table = Table("measured", "median", "worst", "runs", "target", "", box=None, padding=(0, 2, 0, 0))
    for figure in figures:
        limit = (
            ""
            if figure.target is None
            else f"{'at least' if figure.at_least else 'at most'} {figure.target:g} {figure.unit}"
        )
        mark = {None: "", True: "[green]✓[/]", False: "[red]✗[/]"}[figure.met]
        table.add_row(
            figure.name,
            _text(figure.median, figure.unit),
            _text(figure.worst, figure.unit),
            str(len(figure.values)),
            limit,
            mark,
        )
    screen().print(table)


def _text(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if unit in ("rows", "rows/s", "MiB", "") else f"{value:,.2f} {unit}"


TOP_LEVEL = (bench,)
