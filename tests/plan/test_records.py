"""What the jobs write lies in a folder that is root's: a deploy makes each file, or the first line ends the job."""

from __future__ import annotations

from pathlib import Path

from agents.postgresql import native
from agents.tdengine.backup import dump
from deploys import jobs
from deploys.tdengine import backups


def test_every_record_of_proofs_is_made_by_a_deploy_and_its_writers_own() -> None:
    records = Path(jobs.RECORDS)
    appended = {"proofs.jsonl", "td-proofs.jsonl", native.PROOFS, dump.PROOFS}
    made = {place.path: place.owner for place in (*jobs.records(), *backups.records()) if not place.folder}
    assert made == {str(records / name): "postgres" for name in appended}


def test_every_folder_of_the_jobs_is_made_by_a_deploy() -> None:
    made = {place.path for place in (*jobs.records(), *backups.records()) if place.folder}
    assert str(native.FOLDER) in made
    assert {f"{jobs.RECORDS}/{name}" for name in ("jobs", "leases", "tdengine", "td-dumps")} <= made
