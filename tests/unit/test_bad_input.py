"""What an operator may get wrong at the command line, or find wrong around it: exit code, one sentence, one hint.

Nothing here reaches a host: the inventory is one of addresses that nobody has.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from inventories import secrets
from runbooks.run import PROCEDURES

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = """
_SHARED = {"estate": "nobodys", "secrets_file": "@SECRETS@", "pki_dir": "@PKI@"}
pg_primary = ([("pg1", {"ssh_hostname": "192.0.2.21"})], _SHARED)
pg_standby = ([("pg2", {"ssh_hostname": "192.0.2.22"})], _SHARED)
backup = ([("backup1", {"ssh_hostname": "192.0.2.31"})], _SHARED)
app = ([("app1", {"ssh_hostname": "192.0.2.11"})], _SHARED)
"""
LAB_JSON = """
{"name": "made", "network": "dr-made", "subnet": "192.0.2.0/24", "gateway": "192.0.2.1", "image": "x", "hosts": {
 "pg1": {"name": "pg1", "container": "made-pg1", "address": "192.0.2.21"},
 "pg2": {"name": "pg2", "container": "made-pg2", "address": "192.0.2.22"},
 "backup1": {"name": "backup1", "container": "made-backup1", "address": "192.0.2.31"},
 "app1": {"name": "app1", "container": "made-app1", "address": "192.0.2.11"}}}
"""


@dataclass(frozen=True)
class Machine:
    """An operator's machine: a state folder with a lab that is not there, an inventory, and secrets."""

    folder: Path

    @property
    def inventory(self) -> str:
        return str(self.folder / "nobodys.py")

    def dr(self, *words: str, root: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("DR_")}
        ours = {"DR_STATE": str(self.folder / "state"), "DR_RUNS": str(self.folder / "runs"), "DR_LAB": "made"}
        return subprocess.run(
            [sys.executable, "-m", "doors.main", *words], cwd=root, env={**clean, **ours, **environment},
            capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    secrets.make(tmp_path / "secrets.yaml")
    text = INVENTORY.replace("@SECRETS@", str(tmp_path / "secrets.yaml")).replace("@PKI@", str(tmp_path / "pki"))
    (tmp_path / "nobodys.py").write_text(text)
    (tmp_path / "state" / "made").mkdir(parents=True)
    (tmp_path / "state" / "made" / "lab.json").write_text(LAB_JSON)
    return Machine(tmp_path)


def assert_told(done: subprocess.CompletedProcess[str], code: int, *words: str, hint: str = "HINT: ") -> None:
    """One sentence that holds these words and one hint are the last lines of standard error."""
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == code, (done.stdout, done.stderr)
    *_, sentence, advice = ["", *done.stderr.strip().splitlines()]
    assert advice.startswith("HINT: "), done.stderr
    assert hint in advice
    assert not [word for word in words if word not in sentence], sentence


@pytest.mark.parametrize(
    ("typed", "words", "hint"),
    [
        (["fial-over"], ["'fial-over'"], "./dr lists the tasks"),
        (["failover", "--accept-everything"], ["--accept-everything"], "./dr help TASK"),
        (["failover", "pg1"], ["'pg1'"], "./dr help TASK"),
        (["help", "nothing"], ["'nothing'"], "./dr lists"),
        (["drill", "--rate", "fast"], ["'fast'"], "./dr help TASK"),
        (["drill", "--rate=-1"], ["-1 rows a second"], "--rate 6000"),
        (["drill", "--rate", "inf"], ["inf rows a second"], "--rate 6000"),
        (["drill", "--seed", "x"], ["'x'"], "./dr help TASK"),
        (["drill", "--scenario", "flood"], ["'flood'"], "primary-power-loss"),
        (["drill", "--twin", "evil"], ["'evil'"], "leaky-fence, phantom-row"),
        (["backup.run", "--engine", "native"], ["no job 'incr'"], "--type full"),
        (["drill", "--rounds", "0"], ["0 rounds"], "--rounds 10"),
        (["drill", "--rounds=-1"], ["-1 rounds"], "--rounds 10"),
        (["drill", "--rounds", "some"], ["'some'"], "--rounds 10"),
        (["drill", "--rounds", "1000000000"], ["1000000000 rounds"], "--rounds 50"),
        (["drill", "--rounds", ""], ["--rounds was given an empty value"], "./dr help TASK"),
        (["drill", "--scenario", "primary-crash,site-power-loss"], ["one thing"], "--rounds 2 --scenario primary-cr"),
        (["drill", "--rounds", "2", "--scenario", "primary-crash,flood"], ["'flood'"], "primary-power-loss"),
        (["drill", "--rounds", "2", "--scenario", "disk-full"], ["disk-full", "rounds"], "--scenario disk-full"),
        (["drill", "--rounds", "2", "--twin", "leaky-fence"], ["leaky-fence", "single drill"], "vanished-row"),
        (["drill", "--rounds", "2", "--rate", "0"], ["0 rows a second"], "--rate 6000"),
        (["drill", "--twin", "vanished-row"], ["vanished-row", "twin of rounds"], "./dr drill --rounds 2"),
        (["bench", "--runs", "0"], ["0 drills"], "--runs 5"),
        (["bench", "--client", "--rows", "10"], ["would measure nothing"], "--rows 60000"),
        (["bench", "--gate", "--restore"], ["ten benchmarks"], "name one"),
        (["bench", "--record"], ["--record belongs to the gate"], "--gate --record"),
        (["bench", "--tolerance", "0.5"], ["--tolerance belongs to the gate"], "--gate"),
        (["bench", "--gate", "--figures", "store,speed"], ["'speed'"], "store, replay, deploy, restore, failover"),
        (["bench", "--gate", "--reason", "x"], ["--reason is for a record"], "--record --reason"),
        (["bench", "--gate", "--record", "--reason", " "], ["a reason that says nothing"], "--record --reason"),
        (["bench", "--gate", "--tolerance", "0"], ["a tolerance of 0"], "--tolerance 0.5"),
        (["bench", "--gate", "--tolerance", "nan"], ["a tolerance of nan"], "--tolerance 0.5"),
        (["bench", "--gate", "--tries", "0"], ["0 tries"], "--tries 2"),
        (["bench", "--gate", "--tries", "two"], ["'two'"], "./dr help TASK"),
        (["runbook.show", "dance"], ["'dance'"], "failover, rejoin, switchover, detach"),
        (["rejoin", "pg9", "--yes"], ["'pg9'", "inventory lab"], "pg1 and pg2"),
        (["rejoin", "app1"], ["'app1'"], "pg1 and pg2"),
        (["status", "--lab", "never-made"], ["'never-made'"], "./dr lab.up --lab never-made"),
        (["failover", "--yes", "--lab", "never-made"], ["'never-made'"], "./dr lab.up"),
        (["lab.up", "--lab", "Big Lab"], ["'Big Lab'"], "small letter"),
        (["lab.up", "--hosts", "pg1,pg7"], ["'pg7'"], "app1, pg1, pg2, backup1"),
        (["lab.ssh", "pg7"], ["'pg7'"], "app1"),
        (["deploy", "--limit", "pg7"], ["'pg7'"], "app1"),
        (["status", "--inventory", "productoin"], ["'productoin'"], "the inventories are"),
        (["failover", "--resume", "--yes"], ["nothing to resume", "lab-made"], "without --resume"),
    ],
)
def test_what_is_mistyped_ends_with_2(machine: Machine, typed: list[str], words: list[str], hint: str) -> None:
    assert_told(machine.dr(*typed), 2, *words, hint=hint)
    left = list((machine.folder / "runs").glob("*")) if (machine.folder / "runs").exists() else []
    assert left == [], "bad input leaves no evidence of a run that was none"


@pytest.mark.parametrize("columns", ["0", ""])
def test_a_terminal_that_knows_no_width_empties_no_table(machine: Machine, columns: str) -> None:
    done = machine.dr("scenarios", COLUMNS=columns)
    assert done.returncode == 0
    assert "primary-power-loss" in done.stdout


@pytest.mark.parametrize(("runbook", "step"), [("failover", "fence"), ("rejoin", "rebuild")])
def test_destructive_runbook_without_consent_is_refused(machine: Machine, runbook: str, step: str) -> None:
    assert_told(machine.dr(runbook), 3, "needs your consent", step, hint="--yes")


@pytest.mark.parametrize("runbook", ["failover", "switchover", "rejoin", "detach"])
def test_estate_of_which_nothing_answers_is_refused_with_its_addresses(machine: Machine, runbook: str) -> None:
    done = machine.dr(runbook, "--yes", "--inventory", machine.inventory)
    named = ("pg1 (192.0.2.21:22)", "pg2 (192.0.2.22:22)")
    assert_told(done, 3, "no PostgreSQL host answers", *named, hint="operator's own")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"192.0.2.22"', '"192.0.2.21"', ["pg1 and pg2 have the same address"]),
        ('[("pg2"', '[("pg1", {}), ("pg2"', ["pg1 is in pg_primary and in pg_standby"]),
        ('"ssh_hostname": "192.0.2.21"', '"ssh_port": "many"', ["pg1.ssh_port is 'many'"]),
        ('"ssh_hostname": "192.0.2.21"', '"fence_command": "off"', ["pg1.fence_command is 'off'"]),
        ("pg_primary = (", "pg_primary = ((", ["SyntaxError"]),
    ],
)
def test_inventory_that_cannot_be_right_names_file_host_and_value(
    machine: Machine, old: str, new: str, words: list[str]
) -> None:
    path = Path(machine.inventory)
    path.write_text(path.read_text().replace(old, new, 1))
    for task in (["failover", "--yes"], ["deploy"]):
        assert_told(machine.dr(*task, "--inventory", machine.inventory), 2, "nobodys.py", *words)


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        (None, ["secret 'replicator'", "DR_SECRET_REPLICATOR"], "./dr secrets.make"),
        ("writer: x\n", ["secret 'replicator'"], "./dr secrets.make"),
        ("- a\n", ["must map secret names to values"], "writer: PASSWORD"),
        ("a: [\n", ["is not valid YAML"], "writer: PASSWORD"),
    ],
)
def test_secrets_that_are_missing_or_broken_are_told_before_any_host_is_asked(
    machine: Machine, text: str | None, words: list[str], hint: str
) -> None:
    file = machine.folder / "secrets.yaml"
    file.unlink()
    if text is not None:
        file.touch(mode=0o600)
        file.write_text(text)
    assert_told(machine.dr("deploy", "--inventory", machine.inventory), 2, *words, hint=hint)


def test_secrets_that_others_may_read_are_refused(machine: Machine) -> None:
    (machine.folder / "secrets.yaml").chmod(0o644)
    done = machine.dr("deploy", "--inventory", machine.inventory)
    assert_told(done, 2, "secrets.yaml can be read by others (mode 0644)", hint="chmod 600")


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository, to be spoilt."""
    root = tmp_path_factory.mktemp("copy") / "repository"
    packages = ("agents", "deploys", "drills", "inventories", "lab", "runbooks", "doors", "templates")
    for name in packages:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "invoke.yaml", root / "invoke.yaml")
    (root / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "figures.yaml", root / "docs" / "figures.yaml")
    return root


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("recovery", "version: 1", "version: [", ["line"]),
        ("recovery", "version: 1", "version: 1\nversion: 1", ["'version' is given twice"]),
        ("recovery", "max_loss_bytes: 0", "max_loss_bytes: -1", ["limits.max_loss_bytes is -1"]),
        ("recovery", "max_loss_bytes: 0", "max_los_bytes: 0", ["limits.max_los"]),
        ("recovery", "primary-power-loss: {rto_s: 5", "primary-power-loss: {rto_s: 500", ["primary-power-loss", "500"]),
        ("tables", "version: 1", "version: 2", ["version is 2"]),
        ("tables", "    key: [ts, event_id]", "    key: [nothing]", ["tick_data"]),
        ("tables", "type: bigint}", "type: bigimt}", ["bigimt"]),
    ],
)
def test_catalogue_that_cannot_be_right_is_told_with_file_path_and_value(
    machine: Machine, copied: Path, file: str, old: str, new: str, words: list[str]
) -> None:
    path = copied / "inventories" / "catalog" / f"{file}.yaml"
    sound = path.read_text()
    assert old in sound
    try:
        path.write_text(sound.replace(old, new, 1))
        done = machine.dr("drift", "--inventory", machine.inventory, root=copied)
        assert_told(done, 2, f"inventories/catalog/{file}.yaml", *words)
    finally:
        path.write_text(sound)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  failover:", "  fialover:", ["figures.fialover", "no figure of the gate"]),
        ("    times: ", "    times: fast #", ["figures.store.times is 'fast'"]),
        ("    machine: ", "    colour: red\n    machine: ", ["figures.store.colour is 'red'"]),
    ],
)
def test_a_record_of_the_gate_that_was_edited_badly_stops_it_before_any_lab_is_touched(
    machine: Machine, copied: Path, old: str, new: str, words: list[str]
) -> None:
    path = copied / "docs" / "figures.yaml"
    sound = path.read_text()
    assert old in sound
    try:
        path.write_text(sound.replace(old, new, 1))
        assert_told(machine.dr("bench", "--gate", root=copied), 2, "docs/figures.yaml", *words)
    finally:
        path.write_text(sound)


@pytest.mark.parametrize(
    "words", [["scenarios"], ["deploy", "--inventory", "@"], ["failover", "--plan", "--inventory", "@"]]
)
def test_broken_promises_stop_whatever_reads_them(machine: Machine, copied: Path, words: list[str]) -> None:
    path = copied / "inventories" / "catalog" / "recovery.yaml"
    sound = path.read_text()
    try:
        path.write_text(sound.replace("budgets:", "budget:", 1))
        typed = [machine.inventory if word == "@" else word for word in words]
        assert_told(machine.dr(*typed, root=copied), 2, "inventories/catalog/recovery.yaml", "budget")
    finally:
        path.write_text(sound)


@pytest.mark.parametrize("slow", ["0", "-1", "nan", "fast"])
def test_slowness_that_is_no_number_is_told(machine: Machine, slow: str) -> None:
    done = machine.dr("failover", "--yes", "--inventory", machine.inventory, DR_SLOW=slow)
    assert_told(done, 2, f"DR_SLOW is '{slow}'", hint="DR_SLOW=3")


class TestNoEngineAndNoRights:
    """Programs in front of the real ones: a machine without podman, whose user may not become root."""

    @pytest.fixture
    def bare(self, machine: Machine) -> Mapping[str, str]:
        programs = machine.folder / "bin"
        programs.mkdir()
        for name in ("ssh", "ssh-keygen", "apt-get", "sh", "env"):
            (programs / name).symlink_to(str(shutil.which(name) or "/bin/false"))
        (programs / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
        (programs / "sudo").chmod(0o755)
        # Nobody in particular, and without the folders in which programs are looked for beside PATH.
        (machine.folder / "sitecustomize.py").write_text(
            "import os\nos.geteuid = lambda: 1000\nfrom pathlib import Path\nfrom lab import programs, rootless_needs\n"
            "programs._SYSTEM_PATH, programs._FILES = '', {}\n"
            f"rootless_needs._CGROUPS = Path({str(machine.folder)!r})\n"
        )
        (machine.folder / "cgroup.controllers").touch()
        return {"PATH": str(programs), "PYTHONPATH": f"{machine.folder}:{ROOT}"}

    @pytest.mark.parametrize("typed", [["lab.up"], ["drill"]])
    def test_machine_without_podman_names_the_command_that_installs_it(
        self, machine: Machine, bare: Mapping[str, str], typed: list[str]
    ) -> None:
        done = machine.dr(*typed, **bare)
        hint = "sudo apt-get install -y --no-install-recommends podman netavark"
        assert_told(done, 2, "A lab without root needs", "podman", "uidmap", hint=hint)

    @pytest.mark.parametrize("typed", [["lab.down"], ["lab.status"]])
    def test_lab_tasks_that_only_look_say_that_there_is_no_engine(
        self, machine: Machine, bare: Mapping[str, str], typed: list[str]
    ) -> None:
        assert_told(machine.dr(*typed, **bare), 2, "Neither podman nor docker", hint="sudo apt-get install -y")

    def test_unknown_engine_is_bad_input(self, machine: Machine) -> None:
        done = machine.dr("lab.up", DR_ENGINE="lxc")
        assert_told(done, 2, "DR_ENGINE is 'lxc'", hint="podman or docker")


@pytest.mark.parametrize(
    ("variable", "words"),
    [("DR_RUNS", ["cannot make a run folder"]), ("DR_STATE", ["cannot take the lock"])],
)
def test_folder_that_cannot_be_written_to_is_told(machine: Machine, variable: str, words: list[str]) -> None:
    """A file stands where the folder should be: not even root gets past that."""
    (machine.folder / "file").touch()
    done = machine.dr(
        "failover", "--yes", "--inventory", machine.inventory, **{variable: str(machine.folder / "file" / "below")}
    )
    assert_told(done, 2, *words, hint=variable)


def test_damaged_record_of_a_lab_is_told(machine: Machine) -> None:
    (machine.folder / "state/made/lab.json").write_text("{")
    assert_told(machine.dr("status"), 2, "lab.json is damaged", hint="./dr lab.up")


def stopped_run(machine: Machine, procedure: str = "restore-pitr", hours: float = 0.0, **said: object) -> Path:
    """A restore to ten o'clock that stopped half way, so many hours ago."""
    folder = machine.folder / "runs" / f"20260101T000000Z-{procedure}"
    folder.mkdir(parents=True)
    at = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
    options = {"to_time": "2026-01-01 10:00:00+00", "yes": True, **said}
    steps = PROCEDURES[procedure].procedure.step_names
    opened = {"procedure": procedure, "estate": "nobodys", "steps": steps, "options": options}
    lines = [("opened", None, opened), ("gate_passed", None, {}), ("step_started", "hold", {"observes": False})]
    (folder / "journal.jsonl").write_text("".join(
        json.dumps({"seq": nr, "at": at, "mono": 0.0, "event": event, "step": step, "data": data}) + "\n"
        for nr, (event, step, data) in enumerate(lines, 1)
    ))  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (["--to-time", "2026-01-01 11:00:00+00"], ["begun with to_time 2026-01-01 10:00:00+00, not with", "11:00"]),
        (["--to-xid", "7"], ["begun with to_xid empty, not with 7"]),
        (["--set", "20260101-000000F"], ["backup_set empty, not with 20260101-000000F"]),
        (["--timeline", "3"], ["timeline 0, not with 3"]),
    ],
)
def test_a_run_is_not_resumed_with_another_target(machine: Machine, typed: list[str], words: list[str]) -> None:
    journal = stopped_run(machine) / "journal.jsonl"
    before = journal.read_bytes()
    done = machine.dr("restore-pitr", "--resume", "--yes", *typed, "--inventory", machine.inventory)
    assert_told(done, 2, *words, hint="--resume alone keeps the run's own words")
    assert journal.read_bytes() == before


def test_a_run_is_not_resumed_in_another_mode_not_even_the_default_one(machine: Machine) -> None:
    """Whoever types the default's name means it."""
    stopped_run(machine, "restore-table", tables=["order_records"], mode="replace")
    again = ("restore-table", "--resume", "--yes", "--inventory", machine.inventory)
    assert_told(machine.dr(*again, "--mode", "merge"), 2, "begun with mode replace, not with merge", hint="afresh")
    assert_told(machine.dr(*again, "--tables", "stocks"), 2, "begun with tables order_records, not with stocks")


def test_a_run_is_not_resumed_after_its_time_or_past_a_newer_one(machine: Machine) -> None:
    again = ("restore-pitr", "--resume", "--yes", "--inventory", machine.inventory)
    folder = stopped_run(machine, hours=13)
    assert_told(machine.dr(*again), 3, "stopped 13.0 h ago", "counts for 12 h", hint="runbook.abandon")
    shutil.rmtree(folder)
    stopped_run(machine)
    newer = machine.dr("failover", "--yes", "--inventory", machine.inventory)
    assert newer.returncode == 3, "refused by its gate, and yet the newer one"
    assert_told(machine.dr(*again), 3, "failover has acted on nobodys since", "overtaken it", hint="without --resume")


def test_a_run_of_which_no_host_answers_is_not_abandoned(machine: Machine) -> None:
    stopped_run(machine)
    done = machine.dr("runbook.abandon", "--yes", "--inventory", machine.inventory)
    assert_told(done, 3, "no PostgreSQL host answers")


def test_damaged_journal_keeps_nobody_from_starting_afresh(machine: Machine) -> None:
    damaged = machine.folder / "runs" / "20260101T000000Z-failover"
    damaged.mkdir(parents=True)
    (damaged / "journal.jsonl").write_text("nonsense\n")
    again = machine.dr("failover", "--resume", "--yes", "--inventory", machine.inventory)
    assert_told(again, 2, "nothing to resume", hint="afresh")
