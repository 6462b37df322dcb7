"""The rules of alarms.yaml for Prometheus: the same bounds, the same patience, and no all-clear that nobody measured.

Prometheus has no rule that takes a figure before another one, and ends an alert whose series ends. Both are put into
the expression: what an earlier rule takes is left out of a later one, and an alert that fires goes on firing while
nobody can tell. Who is told, and when not, is Alertmanager's part: `to` and `severity` are labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from string import Formatter
from typing import Any

import yaml

from inventories.catalog.alarms import Alarms, Rule
from inventories.catalog.base import seconds
from runbooks.figures.exposition import ESTATE
from runbooks.figures.kinds import PREFIX, Figure
from runbooks.figures.names import FIGURES, OF_ALARMS, OF_STATUS

GROUP = "mystocks"
_HEAD = """# Rendered from inventories/catalog/alarms.yaml by ./dr metrics.rules: change it there.
# Needs Prometheus 2.42 or newer.
"""
_OF_RULE = ("alertname", "alertstate", "severity", "to")
_WRITTEN = f"{PREFIX}exposition_timestamp_seconds"


def render(alarms: Alarms) -> str:
    """A rules file. The rules' names were checked before (`require_known`)."""
    found = [*_unwritten(alarms), *(one for name in alarms.rules for one in _of(alarms, name))]
    return _HEAD + yaml.safe_dump({"groups": [{"name": GROUP, "rules": found}]}, sort_keys=False, width=10_000)


def alert(name: str) -> str:
    """`tdengine-outbox` as Prometheus has it: MystocksTdengineOutbox."""
    return "Mystocks" + "".join(part.capitalize() for part in name.replace("_", "-").split("-"))


def _unwritten(alarms: Alarms) -> Iterator[dict[str, Any]]:
    """Figures that nobody writes any more are as good as they were, for ever: whoever hears of the worst hears it."""
    first = next(iter(alarms.rules.values()))
    hint = "./dr metrics --out FILE writes them: the cron line or the service that runs it"
    for name, expression, says in (
        ("figures-old", f"time() - {_WRITTEN} > {alarms.silent_s:g}",
         "The figures of {{ $labels.estate }} are {{ $value | humanizeDuration }} old"),
        ("figures-gone", f"absent({_WRITTEN})", "There are no figures of any estate"),
    ):  # fmt: skip
        yield {
            "alert": alert(name), "expr": expression, "for": "2m",
            "labels": {"severity": "critical", "to": ",".join(first.to)},
            "annotations": {"summary": says, "description": "Nothing that is wrong would be seen here.", "run": hint},
        }  # fmt: skip


def _of(alarms: Alarms, name: str) -> Iterator[dict[str, Any]]:
    """The alert, and the one that tells others when it goes on."""
    rule = alarms.rules[name]
    yield _alert(alarms, name, alert(name), rule.lasts_s, rule.to)
    if rule.escalate is not None:
        lasts = rule.lasts_s + rule.escalate.after_s
        yield _alert(alarms, name, f"{alert(name)}Escalated", lasts, rule.escalate.to)


def _alert(alarms: Alarms, name: str, called: str, lasts_s: float, to: Sequence[str]) -> dict[str, Any]:
    rule = alarms.rules[name]
    figure = FIGURES[rule.figure]
    expression = _taken(rule, tuple(_before(alarms, name)))
    return {
        "alert": called,
        "expr": " or ".join((expression, *_held(figure, called))),
        "for": f"{lasts_s:g}s",
        "keep_firing_for": f"{rule.gone_s:g}s",
        "labels": {"severity": rule.severity, "to": ",".join(to)},
        "annotations": {"summary": _summary(rule, figure), "description": f"{figure.help}.", "run": _run(rule)},
    }


def _beyond(rule: Rule, where: Mapping[str, Sequence[str]]) -> str:
    """The figure with these labels (each one of several values) beyond the rule's bound."""
    figure = f"{PREFIX}{rule.figure}{_matchers(where)}"
    if rule.older_than is not None:
        return f"time() - {figure} > {seconds(rule.older_than):.15g}"
    return f"{figure} > {rule.above:.15g}" if rule.above is not None else f"{figure} < {rule.below:.15g}"


def _matchers(where: Mapping[str, Sequence[str]]) -> str:
    told = [
        f"{name}={_quoted(values[0])}" if len(values) == 1 else f"{name}=~{_quoted('|'.join(values))}"
        for name, values in where.items()
    ]
    return f"{{{','.join(told)}}}" if told else ""


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _taken(rule: Rule, before: Sequence[str]) -> str:
    """What this rule takes: all that fits and holds, but for what a rule before it does."""
    mine = _beyond(rule, {name: (value,) for name, value in rule.where.items()})
    return " unless ".join((mine, *before))


def _before(alarms: Alarms, name: str) -> Iterator[str]:
    """What earlier rules take of the same figure; those that differ in the value of one label only are one."""
    rule = alarms.rules[name]
    several: dict[tuple[object, ...], list[Rule]] = {}
    for other, earlier in alarms.rules.items():
        if other == name:
            break
        if earlier.figure == rule.figure and not _apart(earlier, rule):
            key = (earlier.above, earlier.below, earlier.older_than, tuple(earlier.where))
            several.setdefault(key if len(earlier.where) == 1 else (other,), []).append(earlier)
    for alike in several.values():
        yield _beyond(alike[0], {name: [one.where[name] for one in alike] for name in alike[0].where})


def _apart(one: Rule, other: Rule) -> bool:
    """Whether no sample can fit both."""
    return any(one.where[name] != other.where[name] for name in one.where.keys() & other.where.keys())


def _held(figure: Figure, called: str) -> Iterator[str]:
    """The same alert, firing, as long as nobody can tell that it is over."""
    firing = f"max without ({', '.join(_OF_RULE)}) (ALERTS{{alertname={_quoted(called)},alertstate=\"firing\"}})"
    if not figure.only_while:
        yield f"({firing} unless on ({', '.join((ESTATE, *figure.labels))}) {figure.exported})"
        return
    named = f"{{figure={_quoted(figure.name)}}}"
    yield f"({firing} unless on ({ESTATE}) {PREFIX}read{named})"
    if "part" in figure.labels:
        yield f"({firing} and on ({ESTATE}, part) {PREFIX}blind{named})"


def _summary(rule: Rule, figure: Figure) -> str:
    where = f"{{{{ $labels.{ESTATE} }}}}: "
    if rule.says:
        return where + "".join(f"{plain}{_filled(word)}" for plain, word, *_ in Formatter().parse(rule.says))
    labels = ", ".join(f"{{{{ $labels.{name} }}}}" for name in figure.labels)
    about = f"{figure.name} of {labels}" if labels else figure.name
    if rule.older_than is not None:
        return f"{where}{about} is {{{{ $value | humanizeDuration }}}} old"
    return f"{where}{about} is {{{{ $value }}}}"


def _filled(word: str | None) -> str:
    if word is None:
        return ""
    return {"value": "{{ $value }}", "age": "{{ $value | humanizeDuration }}"}.get(word, f"{{{{ $labels.{word} }}}}")


def _run(rule: Rule) -> str:
    if rule.hint:
        return rule.hint
    if rule.figure in OF_STATUS:
        return "./dr status says what it is, and what to run"
    return "./dr alarms" if rule.figure in OF_ALARMS else "./dr drills.due"
