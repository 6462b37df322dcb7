"""The benchmark: what the product promises, measured on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke.context import Context
from invoke.tasks import task
from rich.console import Console
from rich.table import Table

from doors.support import door, progress

if TYPE_CHECKING:
    from drills.benches.headline import Figure


@task(
    help={
        "runs": "how many primary-power-loss drills",
        "image": "build the lab image anew and time it",
        "rate": "rows a second that the unpaced feed asks for",
        "targets": "how many random points in time are restored",
        "restore": "measure restores beside the bare tools instead",
        "gib": "with --restore: GiB in the database",
        "tdengine": "measure TDengine's backups and restores beside its own dump tool instead",
        "rows": "with --tdengine: ticks in the database",
        "readme": "with --restore: write what was measured into README.md",
        "lab": "name of the lab that is made for it and removed afterwards",
    }
)
@door
def bench(
    c: Context, runs: int = 5, image: bool = False, rate: float = 50000.0, targets: int = 20, restore: bool = False,
    gib: float = 5.0, tdengine: bool = False, rows: int = 50_000_000, readme: bool = False, lab: str = "bench",
) -> None:  # fmt: skip
    """Measure lab, feed and RTO, or restores, or TDengine."""
    from drills.benches import headline as measuring
    from drills.benches import restore as bench_restore
    from drills.benches import tdengine as bench_tdengine
    from runbooks.engine.rundir import REPOSITORY

    with progress() as say:
        if restore:
            figures = bench_restore.bench(lab, gib, targets, say)
        elif tdengine:
            figures = bench_tdengine.bench(lab, rows, say)
        else:
            figures = measuring.bench(lab, runs, say, build_image=image, rate=rate, targets=targets)
    _show(figures)
    print(f"every value: {measuring.write(figures, REPOSITORY / 'bench')}")
    if restore and readme:
        bench_restore.write_page(figures, REPOSITORY / "README.md")


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
    Console().print(table)


def _text(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if unit in ("rows", "rows/s", "MiB", "") else f"{value:,.2f} {unit}"


TOP_LEVEL = (bench,)
