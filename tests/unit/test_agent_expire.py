"""Nothing expires that is needed, and nothing at all unless something newer was restored and found whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.jobs import proofs
from agents.jobs.config import Retention
from agents.jobs.proofs import Proof, verdicts
from agents.jobs.retention import Backup, Plan, plan

DAY = 86400.0
NOW = 100 * DAY
TWO = Retention(full_copies=2, days=7)


def backup(label: str, day: float, error: bool = False) -> Backup:
    kind = "full" if label.endswith("F") and "_" not in label else "incr"
    return Backup(label, kind, day * DAY - 600, day * DAY, 1000, error)


def proof(label: str, passed: bool = True, at: float = NOW) -> tuple[str, Proof]:
    return label, Proof(label, at, passed)


# One full backup every ten days, each with an incremental one five days later.
CHAIN = [
    one for day in (60, 70, 80, 90)
    for one in (backup(f"{day}F", day), backup(f"{day}F_{day + 5}I", day + 5))
]  # fmt: skip


def labels(backups: object) -> list[str]:
    return [one.label for one in backups]  # type: ignore[attr-defined]


def planned(*known: tuple[str, Proof], leases: tuple[str, ...] = (), retention: Retention = TWO) -> Plan:
    return plan(CHAIN, dict(known), leases, retention, NOW)


def test_without_any_proof_nothing_goes() -> None:
    found = planned()
    assert found.held
    assert (found.keep_fulls, found.goes) == (None, ())
    assert "no backup was ever restored and found whole" in found.why


def test_with_a_newer_proven_backup_the_oldest_go_with_what_depends_on_them() -> None:
    found = planned(proof("90F_95I"))
    assert found.keep_fulls == 2
    assert labels(found.goes) == ["60F", "60F_65I", "70F", "70F_75I"]
    assert labels(found.stays) == ["80F", "80F_85I", "90F", "90F_95I"]
    assert found.restorable_from == 80 * DAY
    assert "90F_95I" in found.why


def test_a_proof_of_an_old_backup_protects_it_and_lets_only_older_ones_go() -> None:
    found = planned(proof("70F_75I"))
    assert found.keep_fulls == 3
    assert labels(found.goes) == ["60F", "60F_65I"]


def test_a_proof_of_the_oldest_lets_nothing_go() -> None:
    found = planned(proof("60F"))
    assert found.held
    assert "no backup newer than 60F" in found.why


def test_a_backup_that_was_proven_and_then_found_damaged_proves_nothing() -> None:
    found = plan(
        CHAIN, verdicts((proof("90F", at=NOW - 10)[1], proof("90F", passed=False, at=NOW)[1])), (), TWO, NOW
    )
    assert found.held
    assert found.goes == ()


def test_a_lease_keeps_everything_and_is_named() -> None:
    found = planned(proof("90F"), leases=("operator holds a lease until then: restore-pitr",))
    assert found.held
    assert found.goes == ()
    assert "restore-pitr" in found.why


def test_damaged_backups_do_not_count_as_copies() -> None:
    found = planned(proof("90F_95I"), proof("80F", passed=False))
    assert labels(found.goes) == ["60F", "60F_65I"]
    assert [one.label for one in found.stays if one.damaged] == ["80F"]


def test_the_promised_days_are_kept_whatever_the_number_of_copies() -> None:
    found = planned(proof("90F_95I"), retention=Retention(full_copies=1, days=25))
    assert labels(found.goes) == ["60F", "60F_65I"]
    assert planned(proof("90F_95I"), retention=Retention(full_copies=1, days=45)).goes == ()


def test_retention_that_asks_for_everything_is_not_held_back() -> None:
    found = planned(proof("90F"), retention=Retention(full_copies=9, days=1))
    assert not found.held
    assert found.goes == ()
    assert "retention asks for 9 full backups" in found.why


def test_an_empty_repository_has_nothing_to_lose() -> None:
    found = plan([], {}, (), TWO, NOW)
    assert (found.keep_fulls, found.goes, found.stays, found.restorable_from) == (None, (), (), None)


@st.composite
def repositories(draw: st.DrawFn) -> list[Backup]:
    """Full backups with what depends on them, as pgBackRest takes them: one after the other."""
    found, day = [], 0.0
    for _ in range(draw(st.integers(0, 6))):
        day += draw(st.floats(0.5, 20))
        full = f"{len(found):03d}F"
        found.append(backup(full, day, draw(st.booleans()) and draw(st.booleans())))
        for _ in range(draw(st.integers(0, 3))):
            day += draw(st.floats(0.1, 3))
            found.append(backup(f"{full}_{len(found):03d}I", day))
    return found


outcomes = st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.floats(0, 1000)), max_size=12)
retentions = st.builds(Retention, st.integers(1, 4), st.integers(1, 60))


@given(repositories(), outcomes, retentions, st.floats(0, 30))
def test_what_must_never_expire_never_does(
    there: list[Backup], tried: list[tuple[int, bool, float]], retention: Retention, later: float
) -> None:
    known = verdicts(
        tuple(Proof(there[n % len(there)].label, at, passed) for n, passed, at in tried) if there else ()
    )
    now = (max((one.stopped_at for one in there), default=0)) + later * DAY
    found = plan(there, known, (), retention, now)

    assert sorted(labels(found.goes) + labels(found.stays)) == sorted(labels(there)), "each has one fate"
    proven = [one for one in there if not one.error and one.label in known and known[one.label].passed]
    if found.goes:
        stays = set(labels(found.stays))
        newest = max(proven, key=lambda one: one.stopped_at)
        assert newest.label in stays, "the newest proven backup stays"
        assert all(one.stopped_at < newest.stopped_at for one in found.goes), "it covers all that goes"
        sound = [one for one in found.stays if one.type == "full" and not one.damaged]
        assert len(sound) >= retention.full_copies
        assert min(one.stopped_at for one in sound) <= now - retention.days * DAY, "and back to the promised day"
        assert {one.label.partition("_")[0] for one in found.stays} <= stays, "nothing stays that cannot be restored"
        assert found.keep_fulls == len([one for one in found.stays if one.type == "full"])
    if not proven:
        assert found.goes == ()
    assert plan(there, known, ("somebody restores",), retention, now).goes == ()


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"label": "x"}', '{"label": 1, "proven_at": "y"}'])
def test_a_line_that_cannot_be_read_proves_nothing(line: str, tmp_path: Path) -> None:
    path = tmp_path / "proofs.jsonl"
    path.write_text(f'{line}\n{{"label": "90F", "proven_at": 5, "outcome": "passed"}}\n')
    assert [one.label for one in proofs.read(path)] == ["90F"]
    assert proofs.newest_passed(path) == Proof("90F", 5, True)
    assert proofs.newest_passed(path.with_name("none")) is None
