"""./dr metrics: the exposition by Prometheus's own conventions, and no 0 of what nobody knows."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from inventories.errors import BadInput, TargetFailed
from runbooks.alarms.spool import Spool
from runbooks.figures import estate as of_estate
from runbooks.figures import exposition, textfile
from runbooks.figures.kinds import Reading, Sample, together
from runbooks.figures.names import EXPORTED, FIGURES
from runbooks.look.status import Status
from runbooks.probes.monitoring import Backup, Monitoring
from tests.unit import promtool_kit
from tests.unit.test_alarm_rules import FIRES, SOUND, drilled, of, unproved
from tests.unit.test_bad_input import Machine, assert_told, machine
from tests.unit.test_objectives import NOW, OFF, OUTBOX, PRIMARY, REPOSITORY, STANDBY

__all__ = ["machine"]


def told(reading: Reading, estate: str = "lab-lab") -> dict[str, float]:
    """Series -> value."""
    return {line: value for line, (_, _, value) in promtool_kit.series(exposition.text(estate, reading)).items()}


def everything(folder: Path) -> Reading:
    return together(NOW, (of(SOUND), unproved(folder), drilled(folder, "good")))


def test_promtool_finds_nothing_against_it(tmp_path: Path) -> None:
    text = exposition.text("lab-lab", everything(tmp_path))
    assert promtool_kit.check_metrics(text) == ""
    for nr, (rule, make) in enumerate(FIRES.items()):
        folder = tmp_path / str(nr)
        folder.mkdir()
        assert promtool_kit.check_metrics(exposition.text("lab-lab", make(folder))) == "", rule


def test_promtool_would_find_something(tmp_path: Path) -> None:
    assert "no help text" in promtool_kit.check_metrics("mystocks_seen 1\n")
    assert promtool_kit.check_metrics('mystocks_seen{estate="a" 1\n')


def test_every_sample_is_there_with_its_estate_and_its_help(tmp_path: Path) -> None:
    reading = everything(tmp_path)
    text = exposition.text("lab-lab", reading)
    found = told(reading)
    assert len(found) == len(reading.samples) + 1 + sum(FIGURES[name].only_while for name in reading.read)
    assert found['mystocks_server_primary{estate="lab-lab",host="pg1"}'] == 1
    assert all('estate="lab-lab"' in line for line in found)
    for name in {line.partition("{")[0] for line in found}:
        assert f"# HELP {name} {EXPORTED[name].help}\n# TYPE {name} gauge\n" in text


def test_names_are_of_the_conventions() -> None:
    for name, figure in EXPORTED.items():
        assert name.startswith("mystocks_") and not name.endswith(("_total", "_count", "_sum", "_bucket", "_info"))
        assert not name.endswith("_age_seconds"), "a moment is told, and never an age"
        assert figure.help and not figure.help.endswith(".")


def test_a_moment_is_the_same_whenever_it_is_read() -> None:
    box = replace(OUTBOX, oldest_age_s=30.0)
    line = 'mystocks_outbox_oldest_timestamp_seconds{estate="lab-lab",store="postgresql"}'
    later = replace(SOUND, at=NOW + 60, outbox=replace(box, oldest_age_s=90.0))
    assert told(of(replace(SOUND, outbox=box)))[line] == told(of(later))[line] == NOW - 30


UNREAD = replace(REPOSITORY, backups=(), trouble="a key that does not fit")
UNSEEN = replace(OFF, why="no answer")
SILENT = replace(SOUND, nodes=(replace(UNSEEN, host=PRIMARY.host), UNSEEN), archiving={}, repository=None, outbox=None,
                 jobs=None, record=None, disks={}, clocks={}, certificates={}, watches={}, locks={}, promotions={},
                 unknown={"repository": "backup1 does not answer"})  # fmt: skip


@pytest.mark.parametrize(
    ("status", "absent", "there"),
    [
        (SILENT, ("hosts_taking_writes", "server_up", "server_primary", "possible_loss_bytes",
                  "replication_synchronous", "outbox_rows", "backups", "backup_newest_timestamp_seconds",
                  "job_failed", "disk_free_bytes",
                  'findings{estate="lab-lab",part="archive"}', 'findings{estate="lab-lab",part="jobs"}'),
         {"possible_loss_known": 0, 'server_known{estate="lab-lab",host="pg1"}': 0}),
        (replace(SOUND, nodes=(replace(UNSEEN, host=PRIMARY.host), STANDBY)),
         ("hosts_taking_writes", 'server_up{estate="lab-lab",host="pg1"}'),
         {'server_up{estate="lab-lab",host="pg2"}': 1}),
        (replace(SOUND, nodes=(PRIMARY, UNSEEN)), ('server_up{estate="lab-lab",host="pg2"}',),
         {"hosts_taking_writes": 1}),
        (replace(SOUND, nodes=(PRIMARY, replace(UNSEEN, ssh=True))), (),
         {'server_known{estate="lab-lab",host="pg2"}': 1, 'server_up{estate="lab-lab",host="pg2"}': 0}),
        (replace(SOUND, repository=replace(REPOSITORY, backups=())),
         ("backup_newest_timestamp_seconds",), {"backups": 0}),
        (replace(SOUND, repository=UNREAD), ("backup_newest_timestamp_seconds", "backups"), {}),
    ],
    ids=["silent", "primary unseen", "standby unseen", "standby down", "no backup", "repository unread"],
)  # fmt: skip
def test_what_nobody_knows_is_absent_and_never_0(
    status: Status, absent: tuple[str, ...], there: dict[str, float]
) -> None:
    found = told(of(status))
    for name in absent:
        assert [line for line in found if line.startswith(f"mystocks_{name}")] == []
    for name, value in there.items():
        assert [found[line] for line in found if line.startswith(f"mystocks_{name}")] == [value], name


def test_the_monitoring_database_is_told_with_its_own_backups() -> None:
    kept = (Backup("old", 90_000.0, True), Backup("new", 3600.0, None))
    found = told(of(replace(SOUND, monitoring=Monitoring("it refuses connections", kept, 172_800.0))))
    assert found['mystocks_monitoring_up{estate="lab-lab"}'] == 0
    assert found['mystocks_backups{estate="lab-lab",store="monitoring"}'] == 2
    assert found['mystocks_backup_newest_timestamp_seconds{estate="lab-lab",store="monitoring"}'] == NOW - 3600
    assert not [line for line in told(of(SOUND)) if "monitoring" in line and "read" not in line and "part=" not in line]


def test_whether_absence_says_anything_is_told_too() -> None:
    found = told(of(SILENT))
    assert found['mystocks_read{estate="lab-lab",figure="finding"}'] == 1
    assert found['mystocks_blind{estate="lab-lab",figure="finding",part="archive"}'] == 1
    assert 'mystocks_blind{estate="lab-lab",figure="finding",part="writes"}' not in found
    unseen = told(of_estate.unseen(NOW, "there is no route", ""))
    assert unseen == {
        'mystocks_seen{estate="lab-lab"}': 0, 'mystocks_exposition_timestamp_seconds{estate="lab-lab"}': NOW,
    }  # fmt: skip


def test_labels_may_hold_anything() -> None:
    reading = Reading(NOW, (Sample("finding", 1, {"part": 'a"b\\c', "objective": "two\nlines {x}"}),))
    text = exposition.text('e"', reading)
    assert promtool_kit.check_metrics(text) == "" and '"a\\"b\\\\c"' in text and "two\\nlines" in text


def test_the_textfile_is_replaced_whole_and_everybody_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "mystocks.prom"
    textfile.write(path, "one\n")
    before = path.stat().st_ino
    was = os.umask(0o077)
    try:
        textfile.write(path, "two\n")
    finally:
        os.umask(was)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("two\n", 0o644)
    assert path.stat().st_ino != before and list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    for wrong in (tmp_path / "mystocks.txt", tmp_path / "away" / "mystocks.prom"):
        with pytest.raises(BadInput) as error:
            textfile.require(wrong)
        assert "textfile" in error.value.hint
    (tmp_path / "folder.prom").mkdir()
    with pytest.raises(TargetFailed, match="cannot be written"):
        textfile.write(tmp_path / "folder.prom", "one\n")
    assert [one.name for one in tmp_path.iterdir()] == ["folder.prom"], "no draft is left"


def test_figures_of_a_look_that_cannot_be_written_are_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    folder = tmp_path / "collected"
    tell = textfile.Told(folder / "mystocks.prom", "lab-lab", said.append)
    for _ in range(3):
        tell(of(SOUND))
    assert len(said) == 1 and "no figures are told to Prometheus: " in said[0]
    folder.mkdir()
    tell(of(SOUND))
    assert promtool_kit.check_metrics((folder / "mystocks.prom").read_text()) == ""
    shutil.rmtree(folder)
    tell(of(SOUND))
    assert len(said) == 2, "it had worked meanwhile"


def test_an_estate_of_which_no_host_answers_is_told_all_the_same(machine: Machine) -> None:
    path = machine.folder / "mystocks.prom"
    done = machine.dr("metrics", "--inventory", machine.inventory, "--out", str(path))
    assert done.returncode == 0, done.stderr
    found = promtool_kit.series(path.read_text())
    assert found['mystocks_seen{estate="nobodys"}'][2] == 1
    assert found['mystocks_server_known{estate="nobodys",host="pg1"}'][2] == 0
    assert not [line for line in found if line.startswith("mystocks_hosts_taking_writes")]
    printed = machine.dr("metrics", "--inventory", machine.inventory)
    assert promtool_kit.check_metrics(printed.stdout) == ""


@pytest.mark.parametrize(
    ("out", "words"), [("mystocks.txt", ["does not end in .prom"]), ("no/where.prom", ["is no folder"])]
)
def test_a_place_that_nobody_reads_is_bad_input_before_anybody_is_asked(
    machine: Machine, out: str, words: list[str]
) -> None:
    done = machine.dr("metrics", "--inventory", machine.inventory, "--out", out, DR_CALLER_CWD=str(machine.folder))
    assert_told(done, 2, *words, hint="textfile")


def test_a_spool_that_is_damaged_costs_the_figures_of_the_alarms_alone(machine: Machine) -> None:
    inventory = Path(machine.inventory)
    inventory.write_text(inventory.read_text() + """
for _group in (pg_primary, pg_standby, backup, app):
    _group[1].update(alarm_channels={"j": "log"}, alarm_people={"operators": ["j"], "lead": ["j"]})
""")
    path = machine.folder / "state" / "alarms" / "nobodys.db"
    path.parent.mkdir(parents=True)
    with_alarms = [machine.dr("metrics", "--inventory", machine.inventory)]
    path.write_bytes(b"no database" * 999)
    damaged = machine.dr("metrics", "--inventory", machine.inventory)
    assert damaged.returncode == 0 and "nothing is told of the alarms" in damaged.stderr
    assert "mystocks_seen" in damaged.stdout and "mystocks_alarms_firing" not in damaged.stdout
    path.unlink()
    Spool(path)
    with_alarms.append(machine.dr("metrics", "--inventory", machine.inventory))
    told_of = ["mystocks_alarm_channel_proved" in one.stdout for one in with_alarms]
    assert told_of == [False, True], "they are told where somebody raises them"
