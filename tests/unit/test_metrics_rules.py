"""The rules for Prometheus say what our own say: played by promtool, and by a Prometheus that scrapes over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from doors.metrics import dashboard as dashboard_door
from doors.metrics import rules as rules_door
from inventories.catalog.load import load_alarms
from runbooks.alarms.evaluating import evaluate
from runbooks.figures import dashboard, exposition, rules
from runbooks.figures.kinds import Reading, Sample, together
from runbooks.figures.names import EXPORTED, FIGURES
from tests.unit import promtool_kit
from tests.unit.alarms_kit import free_port
from tests.unit.alarms_kit import rules as alarms_with
from tests.unit.test_alarm_rules import FIRES, SOUND, drilled, of, unproved

ALARMS = load_alarms()
NAMED = re.compile(r"\bmystocks_\w+")
STEPS = 300  # of 30 s


def test_promtool_takes_every_rule(tmp_path: Path) -> None:
    path = tmp_path / "mystocks.rules.yml"
    path.write_text(rules.render(ALARMS))
    wanted = 2 + len(ALARMS.rules) + sum(rule.escalate is not None for rule in ALARMS.rules.values())
    assert f"{wanted} rules found" in promtool_kit.check_rules(path)


def test_a_rule_names_nothing_that_nobody_exports() -> None:
    for one in yaml.safe_load(rules.render(ALARMS))["groups"][0]["rules"]:
        assert set(NAMED.findall(one["expr"])) <= EXPORTED.keys()
        labels = {label for name in NAMED.findall(one["expr"]) for label in EXPORTED[name].labels} | {"estate"}
        told = " ".join(one["annotations"].values())
        assert set(re.findall(r"\$labels\.(\w+)", told)) <= labels, one["alert"]


# ---- played by promtool


def played(name: str, reading: Reading, until_s: float, firing: set[tuple[str, ...]]) -> Mapping[str, object]:
    """The same exposition for a long time, and what fires then. A moment is as old there as it was."""
    lines = []
    for line, (figure, _, value) in promtool_kit.series(exposition.text("lab-lab", reading)).items():
        if figure == "mystocks_exposition_timestamp_seconds":
            lines.append({"series": line, "values": f"0+30x{STEPS}"})
            continue
        moment = figure.endswith("_timestamp_seconds") and value > 0
        shown = value - reading.at if moment else value if value or "timestamp" not in figure else -1e9
        lines.append({"series": line, "values": f"{shown:.3f}+0x{STEPS}"})
    samples = [
        {"labels": f"ALERTS{{{','.join(sorted(one))}}}", "value": 1} for one in sorted(firing)
    ]
    return {"name": name, "interval": "30s", "input_series": lines, "promql_expr_test": [
        {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{until_s:g}s", "exp_samples": samples},
    ]}  # fmt: skip


def fired(reading: Reading, after_s: float) -> set[tuple[str, ...]]:
    """What our own rules say of it, as the labels of Prometheus's alerts."""
    found = set()
    for one in evaluate(ALARMS, reading).holding:
        rule = ALARMS.rules[one.rule]
        ways = [(rules.alert(one.rule), rule.lasts_s, rule.to)]
        if rule.escalate:
            later = rule.lasts_s + rule.escalate.after_s
            ways.append((f"{rules.alert(one.rule)}Escalated", later, rule.escalate.to))
        for called, lasts_s, to in ways:
            if lasts_s <= after_s:
                labels = {"alertname": called, "alertstate": "firing", "severity": rule.severity, "to": ",".join(to)}
                every = {**labels, "estate": "lab-lab", **one.labels}
                found.add(tuple(f"{name}={json.dumps(value)}" for name, value in every.items()))
    return found


def test_each_rule_fires_where_ours_does_and_all_are_silent_over_what_is_whole(tmp_path: Path) -> None:
    tests = []
    for rule, make in FIRES.items():
        folder = tmp_path / rule
        folder.mkdir()
        reading = make(folder)
        escalated = ALARMS.rules[rule].escalate
        for after in (ALARMS.rules[rule].lasts_s, *([escalated.after_s] if escalated else [])):
            until = 30.0 * (after // 30 + 2)
            firing = fired(reading, until)
            assert [one for one in firing if any(rules.alert(rule) in label for label in one)], rule
            tests.append(played(rule, reading, until, firing))
    sound = together(SOUND.at, (of(SOUND), unproved(tmp_path), drilled(tmp_path, "good")))
    tests.append(played("sound", sound, 7200, set()))
    promtool_kit.test_rules(tmp_path, rules.render(ALARMS), tests)


def test_promtool_would_say_so(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="FAILED"):
        wrong = played("sound", FIRES["writes"](tmp_path), 120, set())
        promtool_kit.test_rules(tmp_path, rules.render(ALARMS), [wrong])


WRITES = 'mystocks_finding{estate="x",part="archive",objective="o"}'
READ, BLIND = 'mystocks_read{estate="x",figure="finding"}', 'mystocks_blind{estate="x",figure="finding",part="archive"}'
WRITTEN = 'mystocks_exposition_timestamp_seconds{estate="x"}'
FIRING = {"labels": 'ALERTS{alertname="MystocksArchive",alertstate="firing",estate="x",part="archive",objective="o",'
          'severity="critical",to="operators"}', "value": 1}  # fmt: skip


@pytest.mark.parametrize(
    ("series", "still", "over"),
    [
        ({READ: "1x40", WRITTEN: "0+30x40"}, 330, 420),  # seen to be gone: it stays for `gone`, and is over
        ({READ: "1x40", BLIND: "_x10 1x19 stale", WRITTEN: "0+30x40"}, 870, 990),  # nobody can tell for a while
        ({READ: "1x10 stale _x19 1x10", WRITTEN: "0+30x40"}, 870, 990),  # nothing was asked for a while
    ],
    ids=["gone", "blind", "unread"],
)
def test_only_what_was_measured_ends_an_alert(
    tmp_path: Path, series: dict[str, str], still: int, over: int
) -> None:
    shown = [{"series": WRITES, "values": "1x10 stale"}, *({"series": k, "values": v} for k, v in series.items())]
    expression = 'ALERTS{alertname="MystocksArchive",alertstate="firing"}'
    checks = [
        {"expr": expression, "eval_time": "60s", "exp_samples": []},
        {"expr": expression, "eval_time": "150s", "exp_samples": [FIRING]},
        {"expr": expression, "eval_time": f"{still}s", "exp_samples": [FIRING]},
        {"expr": expression, "eval_time": f"{over}s", "exp_samples": []},
    ]
    promtool_kit.test_rules(tmp_path, rules.render(ALARMS), [
        {"name": "over", "interval": "30s", "input_series": shown, "promql_expr_test": checks}
    ])  # fmt: skip


def test_figures_that_are_old_or_gone_are_an_alarm(tmp_path: Path) -> None:
    def firing(expression: str, at: int, *labels: str) -> dict[str, object]:
        said = [{"labels": f'ALERTS{{alertstate="firing",severity="critical",to="operators",{one}}}', "value": 1}
                for one in labels]  # fmt: skip
        return {"expr": expression, "eval_time": f"{at}s", "exp_samples": said}

    every = 'ALERTS{alertstate="firing"}'
    old = {"name": "old", "interval": "30s", "input_series": [{"series": WRITTEN, "values": "0x60"}],
           "promql_expr_test": [
               firing(every, 300), firing(every, 600, 'alertname="MystocksFiguresOld",estate="x"'),
           ]}  # fmt: skip
    gone = {"name": "gone", "interval": "30s", "input_series": [{"series": WRITTEN, "values": "0+30x5 stale"}],
            "promql_expr_test": [
                firing(every, 240), firing(every, 900, 'alertname="MystocksFiguresGone"'),
            ]}  # fmt: skip
    promtool_kit.test_rules(tmp_path, rules.render(ALARMS), [old, gone])


def test_a_later_rule_leaves_what_an_earlier_one_takes(tmp_path: Path) -> None:
    changed = alarms_with(rules={
        "full": {"figure": "outbox_fill_ratio", "above": 0.9, "severity": "critical", "to": ["operators"]},
        "ticks": {"figure": "outbox_fill_ratio", "where": {"store": "tdengine"}, "above": 0.5, "severity": "warning",
                  "to": ["operators"]},
        "filling": {"figure": "outbox_fill_ratio", "above": 0.1, "severity": "info", "to": ["lead", "operators"],
                    "says": "{store} is {value} full", "hint": "./dr outbox.status"},
    })  # fmt: skip
    for fills, wanted in (
        ({"postgresql": 0.95, "tdengine": 0.6}, {"full": "postgresql", "ticks": "tdengine"}),
        ({"postgresql": 0.6, "tdengine": 0.2}, {"filling": "postgresql tdengine"}),
    ):
        samples = tuple(Sample("outbox_fill_ratio", value, {"store": store}) for store, value in fills.items())
        found: dict[str, list[str]] = {}
        for one in evaluate(changed, Reading(SOUND.at, samples)).holding:
            found.setdefault(one.rule, []).append(one.labels["store"])
        assert {name: " ".join(stores) for name, stores in found.items()} == wanted
        firing = {
            (f'alertname="{rules.alert(rule)}"', 'alertstate="firing"', 'estate="lab-lab"', f'store="{store}"',
             f'severity="{changed.rules[rule].severity}"', f'to="{",".join(changed.rules[rule].to)}"')
            for rule, stores in wanted.items() for store in stores.split()
        }  # fmt: skip
        reading = Reading(SOUND.at, samples, frozenset(FIGURES))
        promtool_kit.test_rules(tmp_path, rules.render(changed), [played("first", reading, 60, firing)])
    (said,) = [one for one in yaml.safe_load(rules.render(changed))["groups"][0]["rules"]
               if one["alert"] == "MystocksFilling"]  # fmt: skip
    assert said["annotations"]["summary"] == "{{ $labels.estate }}: {{ $labels.store }} is {{ $value }} full"
    assert said["annotations"]["run"] == "./dr outbox.status"


# ---- the dashboard


def test_every_panel_asks_for_what_is_exported_with_its_labels() -> None:
    made = json.loads(dashboard.render())
    panels = [one for one in made["panels"] if one["type"] != "row"]
    assert len(panels) > 25
    for panel in panels:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            names = set(NAMED.findall(target["expr"]))
            assert names and names <= EXPORTED.keys(), panel["title"]
            assert 'estate="$estate"' in target["expr"] and "$e}" not in target["expr"]
            labels = {label for name in names for label in EXPORTED[name].labels}
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels, panel["title"]
    used = {name for panel in panels for target in panel["targets"] for name in NAMED.findall(target["expr"])}
    asked_for = ("seen", "finding", "possible_loss_bytes", "outbox_rows", "drill_due")
    assert used >= {f"mystocks_{name}" for name in asked_for}
    (estate,) = [one for one in made["templating"]["list"] if one["name"] == "estate"]
    assert NAMED.findall(estate["query"]["query"]) == ["mystocks_seen"]


def test_panels_do_not_lie_on_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    ids = []
    for panel in json.loads(dashboard.render())["panels"]:
        place = panel["gridPos"]
        ids.append(panel["id"])
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert place["x"] + place["w"] <= 24 and not taken & cells, panel["title"]
        taken |= cells
    assert len(ids) == len(set(ids))


def test_promtool_takes_every_query(tmp_path: Path) -> None:
    asked = [{"record": f"panel:{nr}", "expr": query} for nr, query in enumerate(dashboard.queries())]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": asked}]}))
    assert f"{len(asked)} rules found" in promtool_kit.check_rules(path)


def test_a_panel_of_a_name_that_nobody_exports_cannot_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = dashboard.Panel("x", "stat", (("mystocks_outbox_row{$e}", ""),))
    monkeypatch.setattr(dashboard, "_ROWS", (("y", (wrong,)),))
    with pytest.raises(KeyError, match="mystocks_outbox_row"):
        dashboard.render()


# ---- a Prometheus that scrapes


@contextmanager
def exported(pages: dict[str, str]) -> Iterator[int]:
    """What node exporter would give, over HTTP; the test may change it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(pages[self.path].encode())

        def log_message(self, *_: object) -> None:
            """Nothing of it on standard error."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextmanager
def prometheus(folder: Path, target: int) -> Iterator[int]:
    port = free_port()
    (folder / "mystocks.rules.yml").write_text(rules.render(ALARMS))
    (folder / "prometheus.yml").write_text(yaml.safe_dump({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": ["mystocks.rules.yml"],
        "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}],
    }))  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [promtool_kit.program("prometheus"), f"--config.file={folder}/prometheus.yml",
             f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield port
    finally:
        server.terminate()
        server.wait(30)


def asked(port: int, query: str) -> list[dict[str, str]]:
    url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return [one["metric"] for one in json.load(answer)["data"]["result"]]
    except OSError:
        return []


def until(port: int, query: str, there: bool = True) -> list[dict[str, str]]:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        found = asked(port, query)
        if bool(found) is there:
            return found
        time.sleep(0.2)
    raise AssertionError(f"{query} is {'not ' if there else ''}there")


def test_a_prometheus_that_scrapes_it_raises_the_alarm_and_ends_it(tmp_path: Path) -> None:
    whole, broken = exposition.text("lab-lab", of(SOUND)), exposition.text("lab-lab", FIRES["writes"](tmp_path))
    pages = {"/metrics": whole}
    with exported(pages) as target, prometheus(tmp_path, target) as port:
        (seen,) = until(port, 'mystocks_seen{estate="lab-lab"} == 1')
        assert seen["instance"] == f"127.0.0.1:{target}"
        assert asked(port, 'ALERTS{alertname="MystocksWrites"}') == []
        pages["/metrics"] = broken
        (alert,) = until(port, 'ALERTS{alertname="MystocksWrites",alertstate="firing"}')
        assert alert["objective"] == "hosts that take writes" and alert["to"] == "operators"
        pages["/metrics"] = whole
        until(port, 'ALERTS{alertname="MystocksWrites",alertstate="firing"}', there=False)
        health = f"http://127.0.0.1:{port}/api/v1/rules"
        with urllib.request.urlopen(health, timeout=5) as answer:
            told = json.load(answer)["data"]["groups"][0]["rules"]
        assert [one["name"] for one in told if one["health"] != "ok"] == []


def test_what_is_rendered_can_be_laid_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_CALLER_CWD", str(tmp_path))
    rules_door.body(None, out="mystocks.rules.yml")
    dashboard_door.body(None, out="dashboard.json")
    assert (tmp_path / "mystocks.rules.yml").read_text() == rules.render(ALARMS)
    assert (tmp_path / "dashboard.json").read_text() == dashboard.render()
