"""A hundred thousand subtables and a year of hours: whoever lists, loads or expires backups stays below 300 MiB."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agents.tdengine.backup import manifest as td_manifest
from agents.tdengine.backup.manifest import Manifest, Subtable, Window
from tests.unit.td_kit import OPTIONS, began, place

pytest.importorskip("numpy")
ROOT = Path(__file__).resolve().parents[2]
FULL, INCR = "20260915-190000F", "20260915-190000F_20260916-090000I"
SUBTABLES, HOURS, MOST_MIB = 100_000, 8760, 300
TABLES = ("tick_data", "depth_data", "minute_kline")
LOOK = """
import json, sys
from pathlib import Path
from agents.tdengine.backup import expire, listing, manifest, settings
from agents.tdengine.backup.missing import missing
place = settings.load(Path(sys.argv[1]))
listed = listing.backups(place)
heads, broken = expire._heads(place)
uncovered = list(missing(expire._each(sorted(heads)[:1], place), expire._each(sorted(heads)[1:], place)))
newest = manifest.newest(place)
chain = manifest.links(newest, place)
subtables = [len(chain.load(label).subtables) for label in chain]
print(json.dumps({
    "listed": len(listed), "broken": broken, "uncovered": uncovered, "subtables": subtables,
    "mib": int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024,
}))
"""


def test_a_hundred_thousand_subtables_are_listed_expired_and_loaded_in_bounded_memory(tmp_path: Path) -> None:
    settings = place(tmp_path)
    subtables = [Subtable(f"t_{n:012x}", TABLES[n % 3], [str(600_000 + n), "SSE"]) for n in range(SUBTABLES)]
    first = int(began(FULL) // 3600) - HOURS
    for label in (FULL, INCR):
        windows = {
            name: {
                first + n: Window(5000, f"{n * 7919:016x}", FULL if n < HOURS - 48 else label) for n in range(HOURS)
            }
            for name in TABLES
        }  # fmt: skip
        folder = settings.folder / label
        folder.mkdir()
        (folder / "data-0001").write_bytes(b"rows")
        made = Manifest(
            label, "incr" if label == INCR else "full", FULL if label == INCR else None, began(label),
            began(label) + 60, "3.3.7.5", "market_data", dict(OPTIONS), {name: {} for name in TABLES}, subtables,
            windows, {}, {"data-0001": {"bytes": 4, "sha256": ""}}, {}, {}, 5000 * 3 * HOURS, 5000, 4,
            settings.key_id(), 1.0,
        )  # fmt: skip
        td_manifest.save(made, folder, settings)
    told = tmp_path / "td-backup.json"
    told.write_text(json.dumps({
        "folder": str(settings.folder), "cipher": str(settings.cipher), "proofs": str(settings.proofs),
        "tdengine": str(settings.tdengine), "database": "market_data", "zstd_level": 1,
    }))  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LOOK, str(told)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    seen = json.loads(done.stdout)
    assert (seen["listed"], seen["broken"], seen["uncovered"]) == (2, {}, [])
    assert seen["subtables"] == [SUBTABLES, SUBTABLES]
    assert 20 < seen["mib"] < MOST_MIB
