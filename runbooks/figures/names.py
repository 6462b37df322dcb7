"""Every figure there is: what an alarm's rule, a dashboard and a rule of Prometheus may name."""

from __future__ import annotations

from runbooks.figures.kinds import Figure

_STATUS = (
    Figure("seen", "1 when the estate could be looked at, 0 when not"),
    Figure("look_timestamp_seconds", "When the estate was looked at"),
    Figure("look_seconds", "How long that took"),
    Figure("finding", "1 for each thing that is not as promised", ("part", "objective"), only_while=True),
    Figure("findings", "Things of a part that are not as promised", ("part",)),
    Figure("unknown", "1 for each part of which nobody can tell", ("part",), only_while=True),
    Figure("hosts_taking_writes", "Hosts seen to take writes, one is right; absent while one that nobody sees might"),
    Figure("possible_loss_bytes", "WAL that would be lost with the primary's host now"),
    Figure("possible_loss_known", "0 when nobody can tell what would be lost"),
    Figure("replication_synchronous", "1 when the primary's commits wait for a standby"),
    Figure("replication_standbys_streaming", "Standbys that stream from the primary"),
    Figure("replication_lag_bytes", "WAL that a standby has not replayed yet", ("host",)),
    Figure("server_known", "0 when nobody can tell what the host's PostgreSQL is", ("host",)),
    Figure("server_up", "1 when the host's PostgreSQL answers, 0 when none runs there", ("host",)),
    Figure("server_primary", "1 when the host takes writes", ("host",)),
    Figure("server_timeline", "The timeline that the host's PostgreSQL is on", ("host",)),
    Figure("archive_waiting_segments", "WAL segments that are not archived yet", ("host",)),
    Figure("archive_failing", "1 when the archiver failed at its last attempt", ("host",)),
    Figure("archive_oldest_waiting_timestamp_seconds", "Since when the oldest of them waits", ("host",)),
    Figure("backups", "Backups that the repository holds", ("store",)),
    Figure("backup_newest_timestamp_seconds", "When the newest backup ended", ("store",)),
    Figure("sqlite_protected", "1 when every commit of a SQLite database is kept elsewhere", ("host", "database")),
    Figure("sqlite_snapshot_timestamp_seconds", "Of when the newest snapshot of it is", ("host", "database")),
    Figure("job_success_timestamp_seconds", "When a job of the backup host last succeeded", ("job",)),
    Figure("job_failed", "1 when the last run of a job failed", ("job",)),
    Figure("job_late", "1 when the success of a job, a proof or a copy is missed", ("job",)),
    Figure("outbox_rows", "Rows that wait for their store", ("store",)),
    Figure("outbox_lane_rows", "The same by how urgent they are", ("store", "lane")),
    Figure("outbox_oldest_timestamp_seconds", "Since when the oldest of them waits", ("store",)),
    Figure("outbox_dead_rows", "Rows that a store refused", ("store",)),
    Figure("outbox_fill_ratio", "How much of the room for waiting rows is taken", ("store",)),
    Figure("outbox_size_bytes", "Size of the outbox's file", ("store",)),
    Figure("outbox_replayer_up", "1 when the replayer runs", ("store",)),
    Figure("shadow_bytes", "Acknowledged rows that are kept besides", ("store",)),
    Figure("disk_size_bytes", "Size of a file system that must not run full", ("host", "mount")),
    Figure("disk_free_bytes", "What an ordinary user may still take of it", ("host", "mount")),
    Figure("clock_offset_seconds", "By how much a host's clock is ahead of the one that looks", ("host",)),
    Figure("certificate_end_timestamp_seconds", "When a certificate ends", ("host", "service")),
    Figure("validation_sound_timestamp_seconds", "When a scheduled validation last found the store whole", ("store",)),
    Figure("validation_failed", "1 when the newest of them did not find it whole, or could not look", ("store",)),
    Figure("validation_seconds", "How long the newest of them took", ("store",)),
    Figure("monitoring_up", "1 when the monitoring database answers"),
    Figure("watch_up", "1 when a watch looks at the primary", ("host",)),
)  # fmt: skip
_DRILLS = (
    Figure("drill_due", "1 for a drill that was never run, failed, or is overdue", ("drill", "place"), only_while=True),
    Figure("drill_stale", "1 for a drill whose proof counts no more", ("drill", "place"), only_while=True),
    Figure("drill_unknown", "1 for a drill of which nobody can tell whether its proof counts", ("drill", "place"),
           only_while=True),
    Figure("drill_slower", "1 for a drill whose recovery time grows", ("drill", "place"), only_while=True),
    Figure("drill_passed_timestamp_seconds", "When a drill last passed", ("drill", "place")),
    Figure("drill_every_seconds", "How often it is promised", ("drill", "place")),
    Figure("drill_rto_seconds", "The recovery time of the newest", ("drill", "place")),
    Figure("drill_rto_promised_seconds", "The recovery time that is promised", ("drill", "place")),
    Figure("history_trouble", "1 for what is wrong with the history of drills", ("trouble",), only_while=True),
    Figure("plan_seconds", "What a recovery would take with today's sizes", ("scenario",)),
    Figure("plan_promised_seconds", "What is promised for it", ("scenario",)),
    Figure("plan_kept", "1 when it is fast enough, 0 when not", ("scenario",)),
)  # fmt: skip
_ALARMS = (
    Figure("alarms_firing", "Alarms that fire", ("severity",)),
    Figure("alarm_messages_waiting", "Messages that wait for a channel", ("channel",)),
    Figure("alarm_channel_failing_since_timestamp_seconds", "Since when every attempt on a channel has failed",
           ("channel",), only_while=True),
    Figure("alarm_channel_proved_timestamp_seconds", "When an arrival was last proved; 0: never", ("channel",)),
)  # fmt: skip
# Of an exposition itself: what is absent from it either is not so or was not asked, and these two say which.
_EXPOSITION = (
    Figure("exposition_timestamp_seconds", "When these figures were written"),
    Figure("read", "1 for each figure that is there only while it is so, and was asked for", ("figure",)),
    Figure("blind", "1 for each part of a figure of which nobody can tell whether it is so", ("figure", "part")),
)
FIGURES = {figure.name: figure for figure in (*_STATUS, *_DRILLS, *_ALARMS)}
OF_STATUS = frozenset(figure.name for figure in _STATUS)
OF_DRILLS = frozenset(figure.name for figure in _DRILLS)
OF_ALARMS = frozenset(figure.name for figure in _ALARMS)
EXPORTED = {figure.exported: figure for figure in (*FIGURES.values(), *_EXPOSITION)}
