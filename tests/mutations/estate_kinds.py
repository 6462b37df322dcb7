"""Kinds of damage to what an estate has beside its rows, and the command that must tell each: tried on a lab.

`sql` and `shell` run on one host. `@FOUND@` are the files that `find` prints: they are kept and put back afterwards.
`@KEPT@` is a baseline of the lab, `@FORGED@` one that claims to be of another system.
"""

from __future__ import annotations

from dataclasses import dataclass

from runbooks.record.arbiter import PATH as _RECORD

_PRIMARY, _STANDBY, _BACKUP = "primary", "standby", "backup"
_REPOSITORY = "/var/lib/pgbackrest"
_VALIDATE = "validate --store postgresql"


@dataclass(frozen=True)
class EstateKind:
    """`words` are in what the command says; it ends with `code`."""

    name: str
    host: str
    command: str
    code: int
    words: str
    sql: str = ""
    undo_sql: str = ""
    find: str = ""
    shell: str = ""

    @property
    def says(self) -> str:
        return self.name.replace("-", " ")


@dataclass(frozen=True)
class Hole:
    """What no command tells, and why."""

    name: str
    hole: str

    @property
    def says(self) -> str:
        return self.name.replace("-", " ")


KINDS = (
    EstateKind(
        "standby-behind", _STANDBY, f"{_VALIDATE} --against standby", 3, "replay is paused",
        sql="SELECT pg_wal_replay_pause()", undo_sql="SELECT pg_wal_replay_resume()",
    ),
    EstateKind(
        "commits-wait-for-nobody", _PRIMARY, "status", 1, "Replication is asynchronous",
        find="echo /var/lib/postgresql/17/main/postgresql.auto.conf",
        sql="ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf()",
        undo_sql="SELECT pg_reload_conf()",
    ),
    EstateKind(
        "chunk-interval-changed", _PRIMARY, _VALIDATE, 1, "order_records: chunk interval: expected 1 day, found 7 days",
        sql="SELECT set_chunk_time_interval('order_records', interval '7 days')",
        undo_sql="SELECT set_chunk_time_interval('order_records', interval '1 day')",
    ),
    EstateKind(
        "insert-blocker-disabled", _PRIMARY, _VALIDATE, 1, "order_records: trigger ts_insert_blocker: expected enabled",
        sql="UPDATE pg_trigger SET tgenabled = 'D' WHERE tgname = 'ts_insert_blocker' "
            "AND tgrelid = 'order_records'::regclass",
        undo_sql="UPDATE pg_trigger SET tgenabled = 'O' WHERE tgname = 'ts_insert_blocker' "
                 "AND tgrelid = 'order_records'::regclass",
    ),
    EstateKind(
        "chunk-dropped", _PRIMARY, f"{_VALIDATE} --against baseline --baseline @KEPT@", 1,
        "content: order_records: rows of",
        sql="CREATE SCHEMA aside; CREATE TABLE aside.t AS TABLE order_records; "
            "SELECT drop_chunks('order_records', older_than => now() + interval '30 days')",
        undo_sql="INSERT INTO order_records TABLE aside.t; DROP SCHEMA aside CASCADE",
    ),
    EstateKind(
        "estate-record-forged", _BACKUP, "status", 1, "edited by hand",
        find=f"echo {_RECORD}", shell="sed -i 's/\"timeline\": /\"timeline\": 1/' @FOUND@",
    ),
    EstateKind(
        "manifests-of-a-backup-edited", _BACKUP, "backup.run --type verify", 1, "F is ",
        find=f"ls -d {_REPOSITORY}/backup/main/*F/backup.manifest* | tail -n2",
        shell="for f in @FOUND@; do printf '\\377\\376' | dd of=$f bs=1 seek=200 conv=notrunc status=none; done",
    ),
    EstateKind(
        "page-of-a-backup-flipped", _BACKUP, "backup.run --type verify", 1, "is invalid",
        find=f"find {_REPOSITORY}/backup/main/*F/ -name '[1-9]*' -type f | tail -n1",
        shell="printf '\\377\\376' | dd of=@FOUND@ bs=1 seek=900 conv=notrunc status=none",
    ),
    EstateKind(
        "wal-segment-missing", _BACKUP, "backup.check", 1, "missing",
        find=f"find {_REPOSITORY}/archive/main/*/ -name '0000*-*' -type f | sort | tail -n1",
        shell="rm @FOUND@",
    ),
    EstateKind(
        "baseline-of-another-estate", _BACKUP, f"{_VALIDATE} --against baseline --baseline @FORGED@", 3,
        "of another estate",
    ),
)  # fmt: skip
HOLES = (
    Hole(
        "one-manifest-of-two-edited",
        "a backup has its manifest twice, pgBackRest takes the one that it can read, and says nothing of the other",
    ),
)
