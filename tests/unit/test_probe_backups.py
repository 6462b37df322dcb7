"""Which backup a restore takes: never one that is known to be damaged, and it says which it passed over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inventories.errors import BadInput, Refused
from runbooks.probes.postgresql import backups
from runbooks.probes.postgresql.pgbackrest import Backup, Repository
from runbooks.probes.postgresql.proofs import Check, Proof


def backup(label: str, at: int, *, error: bool = False, references: tuple[str, ...] = ()) -> Backup:
    return Backup(label, "full", at, error, 1, 1, "000000010000000000000004", references=references)


def kept(*found: Backup) -> Repository:
    return Repository(0, "ok", "aes", 1, "17", found, "17-1", "", False)


OLD, MID, NEW = backup("F1", 100), backup("F2", 200), backup("F2_I", 300, references=("F2",))


def test_the_newest_sound_backup_is_taken() -> None:
    choice = backups.choose(kept(OLD, NEW, MID), {})
    assert (choice.backup, choice.passed_over) == (NEW, ())


def test_a_backup_that_needs_a_damaged_one_is_passed_over_with_it() -> None:
    choice = backups.choose(kept(OLD, MID, NEW), {"F2": "base/1/2 is damaged"})
    assert choice.backup == OLD
    assert [label for label, _ in choice.passed_over] == ["F2_I", "F2"]
    assert all("base/1/2 is damaged" in why for _, why in choice.passed_over)


def test_a_wanted_backup_must_be_there_and_sound() -> None:
    assert backups.choose(kept(OLD, MID), {}, "F1").backup == OLD
    with pytest.raises(BadInput, match="no backup 'F9'"):
        backups.choose(kept(OLD), {}, "F9")
    with pytest.raises(Refused, match="F1: its newest proof failed: x"):
        backups.choose(kept(OLD, MID), {"F1": "its newest proof failed: x"}, "F1")


@pytest.mark.parametrize("found", [(), (backup("F1", 1, error=True),)])
def test_without_a_sound_backup_it_refuses(found: tuple[Backup, ...]) -> None:
    with pytest.raises(Refused):
        backups.choose(kept(*found), {})


def proof(label: str, passed: bool = False, repo: int = 1, **found: object) -> Proof:
    kinds = {"checks": found.get("checks", ()), "damaged": found.get("damaged", ())}
    return Proof(label, "full", repo, 1.0, passed, 1.0, 1, 1.0, 1, 1.0, **kinds)  # type: ignore[arg-type]


def test_the_newest_proof_of_a_backup_counts() -> None:
    said = [
        proof("F1", damaged=("base/5/7",)),
        proof("F2", checks=(Check("amcheck", ok=False, detail="bad index"),)),
        proof("F3"),
        proof("F4", damaged=("x",), repo=2),
        proof("F1", passed=True),
    ]
    assert backups.failed(said) == {
        "F2": "its newest proof failed: bad index", "F3": "its newest proof failed: no reason was recorded"
    }  # fmt: skip


def test_what_a_verification_found_damaged_is_not_restored_until_one_finds_it_sound() -> None:
    """However often it was proven, before or after: a proof reads what it needs, a verification every file."""
    bad = replace(proof("F1", damaged=("F1/bundle/1",)), kind="verify")
    said = [proof("F1", passed=True), bad, proof("F1", passed=True), replace(bad, label="")]
    assert backups.failed(said) == {"F1": "its files are damaged: F1/bundle/1"}
    assert backups.passed(said) == {"F1": 1.0}, "no verification is a proof"
    assert backups.failed([*said, replace(bad, passed=True)]) == {}
