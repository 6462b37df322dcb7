"""docs/refusals.md: what restore-table refuses, from the cases that must be refused.

`python -m tests.torture.refusals` writes the table anew; a test holds the page to the cases.
"""

from __future__ import annotations

from pathlib import Path

from tests.torture import cases

PAGE = Path(__file__).resolve().parents[2] / "docs" / "refusals.md"
BEGIN, END = "<!-- refusals -->", "<!-- /refusals -->"
_WHERE = {"drop": "a dropped table"}


def reasons() -> dict[str, dict[str, list[str]]]:
    """By reason the modes that refuse for it, and in each the cases that show it."""
    found: dict[str, dict[str, list[str]]] = {}
    for kind in cases.load().values():
        for case in kind.cases:
            for mode in case.modes:
                if mode in case.refused:
                    found.setdefault(case.refused[mode][0], {}).setdefault(mode, []).append(str(case))
    return found


def table() -> str:
    """Markdown: a row for each reason, in alphabetical order."""
    lines = ["| the sentence says | refused in | for example |", "|---|---|---|"]
    for reason, modes in sorted(reasons().items()):
        shown = ", ".join(_WHERE.get(mode, mode) for mode in cases.MODES if mode in modes)
        names = dict.fromkeys(name for mode in modes.values() for name in mode)
        told = [name.partition("-")[2].replace("_", " ") for name in names]
        lines.append(f"| ... {reason} ... | {shown} | {'; '.join(told[:3])} |")
    return "\n".join(lines)


def on_page() -> str:
    text = PAGE.read_text(encoding="utf-8")
    return text.partition(BEGIN)[2].partition(END)[0].strip()


def write() -> None:
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    write()
