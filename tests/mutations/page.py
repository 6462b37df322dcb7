"""docs/mutations.md: which check reports which damage, from the kinds that the tests try.

`python -m tests.mutations.page` writes the tables anew; a test holds the page to the kinds, and others hold the kinds
to what is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.mutations import estate_kinds, kinds, outbox_kinds
from tests.mutations.kinds import At, By, Kind
from tests.torture.refusals import PAGE as _BESIDE

PAGE = _BESIDE.with_name("mutations.md")
BEGIN, END = "<!-- mutations -->", "<!-- /mutations -->"
RIGHT, TOO = "●", "○"
_WHERE = {At.STANDBY: "on the standby", At.PAGE: "in pages"}


def matrix(every: Iterable[Kind]) -> Iterator[str]:
    """Markdown: a row for each kind, a column for each check."""
    yield f"| damage | in | {' | '.join(By)} |"
    yield f"|---|---|{'---|' * len(By)}"
    for kind in every:
        cells = (RIGHT if by in kind.told else TOO if by in kind.also else " " for by in By)
        hole = " (a hole)" if kind.hole else ""
        where = "" if kind.at is At.LIVE else f", {_WHERE[kind.at]}"
        yield f"| {kind.says}{hole} | {kind.table}{where} | {' | '.join(cells)} |"


def holes(every: Iterable[Kind]) -> Iterator[str]:
    yield from (f"- **{kind.says}**: {kind.hole}." for kind in every if kind.hole)


def of_the_estate() -> Iterator[str]:
    yield "| damage | the command that must tell | with | in the words |"
    yield "|---|---|---|---|"
    for one in estate_kinds.KINDS:
        command = one.command.replace(" --baseline @KEPT@", "").replace("@FORGED@", "FILE")
        yield f"| {one.says} | `./dr {command}` | {one.code} | {one.words} |"
    yield ""
    yield from (f"- **{one.says}**: {one.hole}." for one in estate_kinds.HOLES)


def of_outboxes() -> Iterator[str]:
    yield "| damage | who tells | in the words |"
    yield "|---|---|---|"
    for one in outbox_kinds.KINDS:
        yield f"| {one.says}{' (a hole)' if one.hole else ''} | {one.who or 'nobody'} | {one.words or one.hole} |"


def body() -> str:
    every = kinds.load().values()
    told = sum(1 for kind in every if kind.told)
    lines = [
        f"{len(every)} kinds of damage to rows and structure, {told} of them reported, {len(every) - told} holes.", "",
        *matrix(every), "", "What nothing of `validate` reports, and who does:", "", *holes(every), "",
        f"{len(estate_kinds.KINDS)} kinds of damage to the estate beside its rows:", "", *of_the_estate(), "",
        f"{len(outbox_kinds.KINDS)} kinds of damage to an outbox's file, by who opens it with sqlite3:", "",
        *of_outboxes(),
    ]  # fmt: skip
    return "\n".join(lines)


def on_page() -> str:
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{body()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
