"""The shape of recovery.yaml: objectives, backup strategy, schedules, budgets and limits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from inventories.catalog.base import Entry, Label, contradiction, seconds

_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART = re.compile(r"(?P<first>\*|[0-9]+)(?:-(?P<last>[0-9]+))?(?:/(?P<step>[0-9]+))?")


class Strategy(str, Enum):
    FULL = "full"
    INCREMENTAL = "incremental"
    DIFFERENTIAL = "differential"


def _cron_field_is_sound(field: str, low: int, high: int) -> bool:
    for part in field.split(","):
        match = _CRON_PART.fullmatch(part)
        if match is None:
            return False
        first, last, step = match["first"], match["last"], match["step"]
        if step is not None and not 1 <= int(step) <= high:
            return False
        if step is not None and first != "*" and last is None:
            return False  # cron would drop such a step without a word
        if first == "*":
            if last is not None:
                return False
            continue
        if not low <= int(first) <= int(last or first) <= high:
            return False
    return True


def _cron(expression: str) -> str:
    fields = expression.split()
    if len(fields) != len(_CRON_RANGES) or not all(
        _cron_field_is_sound(field, *span) for field, span in zip(fields, _CRON_RANGES, strict=True)
    ):
        raise contradiction(
            "",
            expression,
            "it is no cron expression",
            "Give minute, hour, day of month, month, day of week, in UTC, as numbers: '30 18 * * 6'.",
        )
    return expression


Cron = Annotated[str, AfterValidator(_cron)]
Duration = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(s|min|h)$")]
Days = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*(h|d)$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_VALIDATION_GRACE_S = 7200.0
BudgetName = Annotated[str, StringConstraints(pattern=r"^[a-z]+(\.[a-z_]+)*$")]


class DisasterRecovery(Entry):
    """The three keys of the seed's configuration."""

    backup_strategy: Annotated[Strategy, Field(strict=False)]
    validation_schedule: Literal["hourly", "daily", "weekly"]
    recovery_time_objective: Duration

    @property
    def validation_age_s(self) -> float:
        """So old may the newest scheduled validation be: one that takes longer than the last is no missed one."""
        return {"hourly": 3600, "daily": 86400, "weekly": 604800}[self.validation_schedule] + _VALIDATION_GRACE_S

    @property
    def recovery_time_objective_s(self) -> int:
        return seconds(self.recovery_time_objective)


class Objectives(Entry):
    """What one scenario may cost.

    `rto_s`: seconds until the store acknowledges again; `rpo_rows`: acknowledged rows that may be missing, those of the
    last `rpo_s` seconds before the fault not counted; `detect_s`: seconds from the fault to the alarm.
    """

    rto_s: Seconds
    rpo_rows: Annotated[int, Field(ge=0)]
    rpo_s: Seconds | None = None
    detect_s: Seconds | None = None


class Retention(Entry):
    full_copies: Annotated[int, Field(ge=1)]
    days: Annotated[int, Field(ge=1)]


class Shadow(Entry):
    """How long, and up to how many MiB, the application host keeps what the store has acknowledged.

    Longer than it takes to notice that an archive or a backup is missing: from these rows the loss of every host of
    the store is made good.
    """

    keep_h: Seconds
    max_mb: Annotated[int, Field(ge=1)]


class OffsiteCopy(Entry):
    """Snapshots that stay off-site, and the days within which all of the copy is read back."""

    keep_last: Annotated[int, Field(ge=1)]
    keep_daily: Annotated[int, Field(ge=0)]
    keep_weekly: Annotated[int, Field(ge=0)]
    read_days: Annotated[int, Field(ge=1, le=256)]


BACKUPS = ("full", "differential", "incremental")
ALONE = ("prove", "check")  # jobs that wait for no other: they leave the repository as it is
# Whose backups there are jobs for, and what for each: a promise that nobody keeps is none.
KEPT: Mapping[str, tuple[str, ...]] = {
    "postgresql": (*BACKUPS, "verify", "offsite", "prove", "check", "expire"),
    "tdengine": ("full", "incremental", "verify", "prove", "expire"),
}
Kind = Literal["full", "differential", "incremental", "verify", "offsite", "prove", "check", "expire"]


class StoreBackup(Entry):
    """How one store is backed up; `schedule` maps each job to a cron expression in UTC."""

    engine: Label
    strategy: Annotated[Strategy, Field(strict=False)]
    schedule: Annotated[dict[Kind, Cron], Field(min_length=1)]
    retention: Retention
    offsite: OffsiteCopy | None = None
    shadow: Shadow | None = None

    @model_validator(mode="after")
    def _has_its_runs(self) -> Self:
        for kind in ("full", self.strategy.value):
            if kind not in self.schedule:
                raise contradiction(
                    "schedule",
                    sorted(self.schedule),
                    f"strategy {self.strategy.value} needs {kind} too",
                    f"Add schedule.{kind}.",
                )
        return self


class JobLimits(Entry):
    """Seconds of one job: it is killed at `limit_s`, starts up to `jitter_s` late, and is missed after `grace_s`."""

    limit_s: Annotated[int, Field(ge=1)]
    jitter_s: Annotated[int, Field(ge=0)]
    grace_s: Annotated[int, Field(ge=1)]


class Jobs(Entry):
    """The scheduled jobs of the backup host. `wait_s`: seconds that one waits for another that has the repository;
    `keep_logs`: outputs kept of each.
    """

    wait_s: Annotated[int, Field(ge=0)]
    keep_logs: Annotated[int, Field(ge=1)]
    kinds: Mapping[Kind, JobLimits]

    @model_validator(mode="after")
    def _grace_outlasts_the_run(self) -> Self:
        for kind, one in self.kinds.items():
            longest = (0 if kind in ALONE else self.wait_s) + one.jitter_s + one.limit_s
            if one.grace_s < longest:
                raise contradiction(
                    f"kinds.{kind}.grace_s",
                    one.grace_s,
                    f"waiting, jitter and limit may take {longest} s, so a job that still runs would be missed",
                    f"Give it {longest} s or more, or lower limit_s.",
                )
        return self


class Limits(Entry):
    """Beyond these `status` exits 1 and gates refuse; bytes, hours, seconds, days, rows, percent as the names say."""

    max_loss_bytes: Annotated[int, Field(ge=0)]
    max_replication_lag_bytes: Annotated[int, Field(ge=0)]
    max_backup_age_h: Seconds
    max_proof_age_h: Seconds
    max_full_proof_age_d: Seconds = 14
    max_offsite_age_h: Seconds
    max_sqlite_snapshot_age_h: Seconds
    max_archive_lag_s: Seconds
    max_outbox_rows: Annotated[int, Field(ge=0)]
    max_outbox_fill_percent: Annotated[float, Field(gt=0, le=100)] = 50
    max_disk_used_percent: Annotated[float, Field(gt=0, le=100)]
    max_promotion_delay_s: Seconds
    max_locks_used_percent: Annotated[float, Field(gt=0, le=100)] = 50
    min_certificate_days: Seconds = 30
    max_resume_age_h: Seconds = 12


class Marks(Entry):
    """`keep_days`: a mark goes after so many days, or sooner, with the last backup that leads to it.

    `every_min`: the first host of the group `watch` takes one so often, 0 never. Of those, after `dense_h` hours one an
    hour stays; what somebody has named stays as long as there are days.
    """

    keep_days: Annotated[int, Field(ge=1)] = 28
    every_min: Literal[0, 1, 2, 5, 10, 15, 20, 30, 60] = 5
    dense_h: Annotated[int, Field(ge=1)] = 24


class Watch(Entry):
    """How the watch looks at the primary, in seconds.

    Every pair of eyes looks each `every_s` and waits `look_s` for an answer. The primary is lost after `patience_s` of
    nothing but silence, stopped after `restart_s` of a closed port. Eyes that have not said anything for `blind_s` are
    blind; a watch that stood still for `stall_s` itself begins its patience anew. It acts once in `cooldown_s`.
    """

    every_s: Seconds = 0.25
    look_s: Seconds = 0.4
    patience_s: Seconds = 1.5
    restart_s: Seconds = 2.5
    blind_s: Seconds = 5
    stall_s: Seconds = 1.0
    cooldown_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3600

    @model_validator(mode="after")
    def _has_patience(self) -> Self:
        for name, why, hint in self._wrong():
            raise contradiction(name, getattr(self, name), why, hint)
        return self

    def _wrong(self) -> Iterator[tuple[str, str, str]]:
        """What would make it hasty or blind: the setting, why, and what helps."""
        if self.cooldown_s < LEAST_COOLDOWN_S:
            why = f"less than {LEAST_COOLDOWN_S:g} s would let one trouble move the role to and fro"
            yield "cooldown_s", why, "3600 is one failover an hour; for less, a person decides."
        for name in ("every_s", "look_s"):
            if getattr(self, name) < LEAST_LOOK_S:
                why = f"a server that serves takes {LEAST_LOOK_S:g} s to answer, and would be taken for silent"
                yield name, why, f"Give it {LEAST_LOOK_S:g} s or more."
        needed = 2 * (self.every_s + self.look_s)
        for name in ("patience_s", "restart_s", "blind_s"):
            if getattr(self, name) < needed:
                why = f"two looks in a row take {needed:g} s, and one of them alone proves nothing"
                yield name, why, f"Give it {needed:g} s or more."
            if getattr(self, name) > MOST_PATIENCE_S:
                why = f"a watch that waits for more than {MOST_PATIENCE_S:g} s never acts before a person"
                yield name, why, 'For a watch that only looks the inventory says watch_act = "".'
        if not 2 * self.every_s <= self.stall_s <= self.blind_s:
            why = "a watch that goes on would seem to stand still, or one that stood still to have looked"
            yield "stall_s", why, f"Give it {2 * self.every_s:g} to {self.blind_s:g} s."


LEAST_COOLDOWN_S = 600.0
LEAST_LOOK_S, MOST_PATIENCE_S = 0.05, 3600.0


class Page(Entry):
    """The page of `./dr page`: after `stale_min` minutes it says of itself that it counts no more."""

    stale_min: Seconds = 30


LAB = "lab"
Place = Literal["lab", "staging", "production"]


class Drilled(Entry):
    """How often a promise is drilled in one place. Where nothing is broken on purpose, `by` names the runbook whose run
    counts, and `consent` whether somebody's word for it is part of the record.
    """

    every: Days
    by: Label | Literal[""] = ""
    consent: bool = False

    @property
    def every_s(self) -> int:
        return seconds(self.every)


class Trend(Entry):
    """An RTO is said to grow when it is above the median of the last `runs` by more than this share of it."""

    runs: Annotated[int, Field(ge=3, le=100)] = 10
    grows_by: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1 / 3


class Drills(Entry):
    """The calendar: promise -> place -> how often; `twins`: how often each negative twin has to hold."""

    calendar: Annotated[dict[Label, Annotated[dict[Place, Drilled], Field(min_length=1)]], Field(min_length=1)]
    twins: Days = "30d"
    trend: Trend = Trend()

    @property
    def twins_s(self) -> int:
        return seconds(self.twins)

    @model_validator(mode="after")
    def _breaks_nothing_outside_the_lab(self) -> Self:
        for promise, places in self.calendar.items():
            for place, drilled in places.items():
                at = f"calendar.{promise}.{place}.by"
                if place == LAB and drilled.by:
                    hint = "Take it out: ./dr drill breaks it there, and runs what recovers it."
                    raise contradiction(at, drilled.by, "in a lab the drill itself counts", hint)
                if place != LAB and not drilled.by:
                    hint = "Name the runbook whose run counts there, such as by: switchover."
                    raise contradiction(at, drilled.by, f"nothing is broken on purpose in {place}", hint)
        return self


class Recovery(Entry):
    """The whole of recovery.yaml. `budgets` maps the name of a wait to its bound in seconds."""

    version: Literal[1]
    disaster_recovery: DisasterRecovery
    scenarios: Annotated[dict[Label, Objectives], Field(min_length=1)]
    stores: Annotated[dict[Label, StoreBackup], Field(min_length=1)]
    jobs: Jobs
    budgets: Annotated[Mapping[BudgetName, Seconds], Field(min_length=1)]
    limits: Limits
    watch: Watch = Watch()
    page: Page = Page()
    marks: Marks = Marks()
    drills: Drills

    @model_validator(mode="after")
    def _keeps_the_outer_bound(self) -> Self:
        bound = self.disaster_recovery.recovery_time_objective_s
        for name, objectives in self.scenarios.items():
            if objectives.rto_s > bound:
                raise contradiction(
                    f"scenarios.{name}.rto_s",
                    objectives.rto_s,
                    f"disaster_recovery.recovery_time_objective promises {bound} s",
                    "Promise less there or recover faster here.",
                )
        return self

    @model_validator(mode="after")
    def _drills_every_promise(self) -> Self:
        for name in self.scenarios:
            if name not in self.drills.calendar:
                raise contradiction(
                    "drills.calendar",
                    sorted(self.drills.calendar),
                    f"nobody drills {name}, and a promise that is not drilled is none",
                    f"Add drills.calendar.{name}: {{lab: {{every: 7d}}}}.",
                )
        for name in self.drills.calendar:
            if name not in self.scenarios:
                raise contradiction(
                    f"drills.calendar.{name}",
                    sorted(self.drills.calendar[name]),
                    "scenarios promises nothing of that name",
                    "Take it out, or promise it.",
                )
        return self

    @model_validator(mode="after")
    def _keeps_every_promise(self) -> Self:
        """No store is promised backups that no job takes, and nothing expires that nobody proves and reads again."""
        for name, store in self.stores.items():
            if name not in KEPT:
                raise contradiction(
                    f"stores.{name}",
                    store.engine,
                    "no job of the backup host takes such backups",
                    f"Take it out, and back it up by other means; jobs keep {' and '.join(KEPT)}.",
                )
            for kind, time in store.schedule.items():
                if kind not in KEPT[name]:
                    raise contradiction(
                        f"stores.{name}.schedule.{kind}",
                        time,
                        f"no job does that for {name}",
                        f"Take it out; there are {', '.join(KEPT[name])}.",
                    )
            for kind in ("verify", "prove"):
                if "expire" in store.schedule and kind not in store.schedule:
                    raise contradiction(
                        f"stores.{name}.schedule.expire",
                        store.schedule["expire"],
                        f"nothing may expire without {kind}",
                        f"Add stores.{name}.schedule.{kind}, or take expire out.",
                    )
        return self

    @model_validator(mode="after")
    def _keeps_marks_no_longer_than_backups(self) -> Self:
        """A mark that outlives what is restored from is a promise that nobody keeps."""
        store = self.stores.get("postgresql")
        if "marks" in self.model_fields_set and store and self.marks.keep_days > store.retention.days:
            raise contradiction(
                "marks.keep_days",
                self.marks.keep_days,
                f"stores.postgresql.retention keeps backups for {store.retention.days} days",
                "Give it as many days, or fewer.",
            )
        return self

    @model_validator(mode="after")
    def _bounds_every_job(self) -> Self:
        for name, store in self.stores.items():
            for kind in store.schedule:
                if kind not in self.jobs.kinds:
                    raise contradiction(
                        f"stores.{name}.schedule.{kind}",
                        store.schedule[kind],
                        "jobs.kinds does not bound such a job",
                        f"Add jobs.kinds.{kind} with limit_s, jitter_s and grace_s.",
                    )
            if "offsite" in store.schedule and store.offsite is None:
                raise contradiction(
                    f"stores.{name}.schedule.offsite",
                    store.schedule["offsite"],
                    f"stores.{name}.offsite does not say what stays there",
                    "Add it with keep_last, keep_daily, keep_weekly and read_days.",
                )
        return self
