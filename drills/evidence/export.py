"""Evidence for an auditor: what answers each control, and the whole signed history that it can be held against."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from drills.evidence.chain import Record
from drills.evidence.checking import Checked
from drills.evidence.controls import Control, Standard
from drills.evidence.files import Files
from drills.evidence.results import Told, read
from drills.judging.result import write_whole
from drills.page.report import page
from inventories.errors import BadInput, VerificationFailed


@dataclass(frozen=True)
class Shown:
    """One control with the records that answer it, the newest first."""

    number: str
    control: Control
    records: tuple[tuple[Record, Told], ...]

    @property
    def passed(self) -> int:
        return sum(bool(told.held) if told.twin else told.passed for _, told in self.records)


def shown(standard: Standard, checked: Checked, since: datetime | None) -> tuple[Shown, ...]:
    """Every control of the standard, also those that nothing answers."""
    told = [(record, one) for record in reversed(checked.records) if (one := read(record))]
    recent = [(record, one) for record, one in told if since is None or one.started_at >= since]
    return tuple(
        Shown(number, control, tuple(pair for pair in recent if control.answered_by(pair[1])))
        for number, control in standard.controls.items()
    )


def write(name: str, standard: Standard, every: Sequence[Shown], kept: Files, at: datetime, out: Path) -> Path:
    """Write evidence.html, evidence.json, history.jsonl and public.pem into a new folder.

    Raises BadInput where it is there already, VerificationFailed where nothing answers a single control.
    """
    if not any(one.records for one in every):
        hint = "./dr drills.due says what to drill"
        raise VerificationFailed(f"no record answers a control of {standard.title}: there is nothing to show", hint)
    try:
        out.mkdir(parents=True)
    except FileExistsError:
        raise BadInput(f"{out} is there already", "name a new folder") from None
    html = page("export.html.j2", name=name, standard=standard, every=every, at=at)
    write_whole(out / "evidence.html", html)
    write_whole(out / "evidence.json", json.dumps(as_json(name, standard, every, at), indent=2) + "\n")
    shutil.copyfile(kept.history, out / "history.jsonl")
    shutil.copyfile(kept.public, out / "public.pem")
    return out


def as_json(name: str, standard: Standard, every: Sequence[Shown], at: datetime) -> dict[str, Any]:
    return {
        "standard": name,
        "title": standard.title,
        "at": at.isoformat(),
        "controls": [
            {"number": one.number, "says": one.control.says, "records": [_record(*pair) for pair in one.records]}
            for one in every
        ],
    }


def _record(record: Record, told: Told) -> Mapping[str, Any]:
    return {"record": record.seq, "sha256": record.hash, "key": record.key, "told": told.model_dump(mode="json")}
