"""A dashboard for Grafana, made of the figures that there are: a name that nobody exports cannot be drawn.

Each panel is a line of `_ROWS`. What is absent is shown as unknown, never as 0 or as green.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runbooks.figures.kinds import PREFIX
from runbooks.figures.names import EXPORTED

UID = "mystocks-dr"
_COLUMNS, _HEIGHT = 24, 7
_SCHEMA = 39  # of Grafana 10.4 and later, which migrate it upwards themselves
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_NAME = re.compile(rf"\b{PREFIX}(\w+)")


@dataclass(frozen=True)
class Panel:
    """`queries`: PromQL and legend, `$e` standing for the labels of the chosen estate. `steps`: from which value on
    which colour, the first from everything on.
    """

    title: str
    kind: str  # stat, timeseries or table
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    steps: tuple[tuple[float | None, str], ...] = ((None, "text"),)
    width: int = 8
    words: tuple[tuple[str, str], ...] = ()  # a value, and the word that is shown for it


_GOOD_IF_ONE = ((None, "red"), (1.0, "green"))
_GOOD_IF_NONE = ((None, "green"), (1.0, "red"))
_YES_NO = (("1", "yes"), ("0", "no"))

_ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    ("Now", (
        Panel("Estate seen", "stat", (("mystocks_seen{$e}", ""),), steps=_GOOD_IF_ONE, width=4, words=_YES_NO),
        Panel("Hosts that take writes", "stat", (("mystocks_hosts_taking_writes{$e}", ""),),
              steps=((None, "red"), (1.0, "green"), (2.0, "red")), width=4),
        Panel("Possible loss", "stat", (("mystocks_possible_loss_bytes{$e}", ""),), "bytes", _GOOD_IF_NONE, 4),
        Panel("Not as promised", "stat", (("sum(mystocks_findings{$e})", ""),), steps=_GOOD_IF_NONE, width=4),
        Panel("Nobody can tell", "stat",
              (("count(mystocks_unknown{$e}) or sum(mystocks_seen{$e} == 1) * 0", ""),),
              steps=((None, "green"), (1.0, "orange")), width=4),
        Panel("Age of these figures", "stat", (("time() - mystocks_exposition_timestamp_seconds{$e}", ""),), "s",
              ((None, "green"), (300.0, "red")), 4),
        Panel("What is not as promised", "table", (("mystocks_finding{$e} > 0", ""),), width=12),
        Panel("What nobody can tell", "table", (("mystocks_unknown{$e} > 0", ""),), width=12),
    )),
    ("Replication", (
        Panel("Servers: 1 answers, 0 is down, no line: nobody can tell", "timeseries",
              (("mystocks_server_up{$e}", "{{host}}"), ("mystocks_server_primary{$e}", "{{host}} takes writes"))),
        Panel("Behind the primary", "timeseries", (("mystocks_replication_lag_bytes{$e}", "{{host}}"),), "bytes"),
        Panel("Commits wait for a standby; standbys that stream", "timeseries",
              (("mystocks_replication_synchronous{$e}", "waits"),
               ("mystocks_replication_standbys_streaming{$e}", "standbys"))),
    )),
    ("Backups", (
        Panel("Age of the newest backup", "timeseries",
              (("time() - mystocks_backup_newest_timestamp_seconds{$e}", "{{store}}"),), "s"),
        Panel("Since a job last succeeded", "timeseries",
              (("time() - mystocks_job_success_timestamp_seconds{$e}", "{{job}}"),), "s"),
        Panel("Jobs that failed or are late", "table",
              (("mystocks_job_failed{$e} > 0 or mystocks_job_late{$e} > 0", ""),)),
        Panel("WAL that waits for the archive", "timeseries",
              (("mystocks_archive_waiting_segments{$e}", "{{host}} segments"),), width=12),
        Panel("How long the oldest of it waits", "timeseries",
              (("time() - mystocks_archive_oldest_waiting_timestamp_seconds{$e}", "{{host}}"),), "s", width=12),
    )),
    ("Outbox", (
        Panel("Rows that wait", "timeseries",
              (("mystocks_outbox_rows{$e}", "{{store}}"), ("mystocks_outbox_lane_rows{$e}", "{{store}} {{lane}}"))),
        Panel("How long the oldest waits", "timeseries",
              (("time() - mystocks_outbox_oldest_timestamp_seconds{$e}", "{{store}}"),), "s"),
        Panel("Room taken", "timeseries", (("mystocks_outbox_fill_ratio{$e}", "{{store}}"),), "percentunit"),
        Panel("Rows that a store refused", "stat", (("mystocks_outbox_dead_rows{$e}", "{{store}}"),),
              steps=_GOOD_IF_NONE, width=12),
        Panel("Replayer runs", "stat", (("mystocks_outbox_replayer_up{$e}", "{{store}}"),),
              steps=_GOOD_IF_ONE, width=12, words=_YES_NO),
    )),
    ("Hosts", (
        Panel("Disks: free", "timeseries",
              (("mystocks_disk_free_bytes{$e} / mystocks_disk_size_bytes{$e}", "{{host}} {{mount}}"),),
              "percentunit"),
        Panel("Clocks: ahead of the one that looks", "timeseries",
              (("mystocks_clock_offset_seconds{$e}", "{{host}}"),), "s"),
        Panel("Certificates end in", "timeseries",
              (("mystocks_certificate_end_timestamp_seconds{$e} - time()", "{{host}} {{service}}"),), "s"),
    )),
    ("Drills", (
        Panel("Due: never run, failed or overdue", "table", (("mystocks_drill_due{$e} > 0", ""),)),
        Panel("Proofs that count no more", "table", (("mystocks_drill_stale{$e} > 0", ""),)),
        Panel("Recovery time of the newest, of what is promised", "timeseries",
              (("mystocks_drill_rto_seconds{$e} / mystocks_drill_rto_promised_seconds{$e}", "{{drill}}, {{place}}"),),
              "percentunit"),
        Panel("Since the last that passed, of what is promised", "timeseries",
              (("(time() - mystocks_drill_passed_timestamp_seconds{$e}) / mystocks_drill_every_seconds{$e}",
                "{{drill}}, {{place}}"),), "percentunit", width=12),
        Panel("A recovery today, of what is promised", "timeseries",
              (("mystocks_plan_seconds{$e} / mystocks_plan_promised_seconds{$e}", "{{scenario}}"),), "percentunit",
              width=12),
    )),
    ("Alarms", (
        Panel("Alarms that fire", "timeseries", (("mystocks_alarms_firing{$e}", "{{severity}}"),)),
        Panel("Messages that wait", "timeseries", (("mystocks_alarm_messages_waiting{$e}", "{{channel}}"),)),
        Panel("Since an arrival was proved", "timeseries",
              (("time() - (mystocks_alarm_channel_proved_timestamp_seconds{$e} > 0)", "{{channel}}"),), "s"),
    )),
)  # fmt: skip


def render() -> str:
    """The dashboard as Grafana imports it. Raises KeyError for a name that nobody exports."""
    return json.dumps(_dashboard(), indent=2) + "\n"


def queries() -> Iterator[str]:
    """Every query, of any estate: what a rule of Prometheus could hold as it stands."""
    for _, panels in _ROWS:
        for panel in panels:
            yield from (query.replace("$e", 'estate="x"') for query, _ in panel.queries)


def _dashboard() -> dict[str, Any]:
    return {
        "uid": UID, "title": "mystocks-dr", "tags": ["disaster recovery"], "schemaVersion": _SCHEMA, "editable": True,
        "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "utc", "panels": list(_panels(_ROWS)),
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "source"},
            {"name": "estate", "type": "query", "datasource": _SOURCE, "refresh": 2, "sort": 1,
             "query": {"query": "label_values(mystocks_seen, estate)", "refId": "estate"}},
        ]},
    }  # fmt: skip


def _panels(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Iterator[Mapping[str, Any]]:
    """A heading and its panels from left to right, in as many lines as they take."""
    y = number = 0
    for title, panels in rows:
        number += 1
        yield {"id": number, "type": "row", "title": title, "gridPos": _place(0, y, _COLUMNS, 1), "panels": []}
        x, y = 0, y + 1
        for panel in panels:
            if x + panel.width > _COLUMNS:
                x, y = 0, y + _HEIGHT
            number += 1
            yield {"id": number, "gridPos": _place(x, y, panel.width, _HEIGHT), **_panel(panel)}
            x += panel.width
        y += _HEIGHT


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, Any]:
    words = {value: {"text": word} for value, word in panel.words}
    return {
        "type": panel.kind, "title": panel.title, "datasource": _SOURCE, "targets": list(_targets(panel)),
        "fieldConfig": {"defaults": {
            "unit": panel.unit, "noValue": "unknown" if panel.kind == "stat" else "none",
            "thresholds": {"mode": "absolute", "steps": [{"value": at, "color": colour} for at, colour in panel.steps]},
            "mappings": [{"type": "value", "options": words}] if words else [],
        }, "overrides": []},
        **(_OF_TABLE if panel.kind == "table" else {}),
    }  # fmt: skip


_OF_TABLE: dict[str, Any] = {"transformations": [
    {"id": "labelsToFields", "options": {"mode": "columns"}},
    {"id": "organize", "options": {"excludeByName": dict.fromkeys(("Time", "Value", "estate", "instance"), True)}},
]}  # fmt: skip


def _targets(panel: Panel) -> Iterator[dict[str, Any]]:
    at_once = panel.kind == "table"
    for nr, (query, legend) in enumerate(panel.queries):
        for name in _NAME.findall(query):
            EXPORTED[f"{PREFIX}{name}"]
        yield {
            "refId": chr(ord("A") + nr), "datasource": _SOURCE, "expr": query.replace("$e", 'estate="$estate"'),
            "legendFormat": legend, "instant": at_once, "range": not at_once,
            "format": "table" if at_once else "time_series",
        }  # fmt: skip
