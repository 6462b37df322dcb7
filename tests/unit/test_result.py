from __future__ import annotations

import json
import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from drills.judging.junit import cases, write_junit
from drills.judging.result import Check, CheckOutcome, read_result, write_result
from drills.judging.summary import past_runs, row
from drills.measuring.fingerprint import fingerprint
from inventories.errors import BadInput
from tests.unit.sample_drill import begun, failed, power_loss, refused

PROMISED_KEYS = (
    *("name", "outcome", "started_at", "duration_s", "rto_s", "rpo_rows", "acked", "lost", "duplicated"),
    *(
        "replayed",
        "phases",
        "objectives",
        "verify",
        "versions",
        "host",
        "scenario",
        "run_id",
        "lab",
        "fault_at",
    ),
    *("rto_from_failover_s", "max_ack_gap_s", "degraded", "reasons", "fingerprint"),
)


def test_result_json_has_every_promised_key_and_reads_back_the_same(tmp_path: Path) -> None:
    result, _ = power_loss()
    path = write_result(result, tmp_path)
    said = json.loads(path.read_text())
    assert [key for key in PROMISED_KEYS if key not in said] == []
    assert said["phases"][0] == {"name": "normal", "seconds": 24.37, "start_s": 0.0}
    assert said["verify"] == {"passed": 6, "failed": 0, "skipped": 1}
    assert (said["outcome"], said["objectives"]["rto_s"]) == ("passed", 5.0)
    assert read_result(path) == result


def test_a_failed_write_leaves_the_old_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_result(begun(), tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_result(refused(), tmp_path)
    assert read_result(tmp_path / "result.json") == begun()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "x"}'])
def test_a_damaged_result_is_one_sentence_with_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(BadInput, match=r"result\.json is damaged: "):
        read_result(path)


def test_junit_has_one_case_a_check_and_counts_that_agree(tmp_path: Path) -> None:
    result, _ = failed()
    root = ElementTree.fromstring(write_junit(result, tmp_path).read_text())
    (suite,) = root
    found = suite.findall("testcase")
    assert root.tag == "testsuites"
    assert len(found) == len(cases(result)) == int(suite.attrib["tests"]) == int(root.attrib["tests"])
    assert len(suite.findall("testcase/failure")) == int(suite.attrib["failures"]) == 6
    assert len(suite.findall("testcase/skipped")) == int(suite.attrib["skipped"]) == 1
    names = [case.attrib["name"] for case in found]
    assert "the drill passed" in names
    assert "no row of order_records is lost" in names
    assert "pg1: the old primary refuses writes" in names


def test_junit_of_a_refused_drill_has_a_failure(tmp_path: Path) -> None:
    root = ElementTree.fromstring(write_junit(refused(), tmp_path).read_text())
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None and failure.attrib["message"].startswith("refused: The standby pg2 is")


def test_junit_survives_what_xml_cannot_say(tmp_path: Path) -> None:
    odd = Check(name="\x1b[31m<red> & \x00", outcome=CheckOutcome.FAILED, detail="\ud800 ]]>")
    result = begun().with_checks((odd,))
    root = ElementTree.fromstring(write_junit(result, tmp_path).read_text())
    assert root.findall("testsuite/testcase")[-1].attrib["name"] == "\ufffd[31m<red> & \ufffd"


def test_past_runs_are_listed_newest_first_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    for name, result in (("a", power_loss()[0]), ("b", refused())):
        (tmp_path / name).mkdir()
        write_result(result, tmp_path / name)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "result.json").write_text("{")
    listed = past_runs(tmp_path)
    assert [run.folder.name for run in listed.runs] == ["b", "a"]
    assert row(listed.runs[1]) == (
        f"{listed.runs[1].result.started_at:%m-%d %H:%M}",
        "primary-power-loss",
        "passed",
        "2.44 s",
        "330,500",
        "0",
        "0",
    )
    assert row(listed.runs[0])[2:] == ("refused", "-", "-", "-", "-")
    (note,) = listed.notes
    assert note.startswith("c is left out: ") and "is damaged" in note


def test_no_folder_holds_no_runs(tmp_path: Path) -> None:
    assert past_runs(tmp_path / "none").runs == ()


def test_the_fingerprint_says_what_the_numbers_do_not(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:        8388608 kB\n")
    found = fingerprint("podman 4.3.1", meminfo)
    assert (found.memory_gib, found.container_engine) == (8.0, "podman 4.3.1")
    assert found.cores >= 1
    assert "not a power cut for fsync" in found.limits[0]
    assert fingerprint("podman", tmp_path / "none").memory_gib == 0.0
