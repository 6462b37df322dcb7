"""Alarms as a service on the backup host: what breaks reaches a real mailbox and a webhook, and so does its end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from deploys import run as deploys
from drills import by_watch
from drills.prepare import provision
from lab import faults, state
from runbooks import hosts
from runbooks.alarms.far import UNIT
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from tests.drills.doors import dr
from tests.drills.estate import lab_of, make_whole, power_on, quiet, rejoin, roles
from tests.unit.alarms_kit import Hook, Mailbox

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(1800)]
RULES = "/opt/mystocks-dr/watch/inventories/catalog/alarms.yaml"
# Minutes of patience are hours of a test; night and day are the same to it.
HASTY = r"s/, for: [0-9]+min/, for: 5s/; s/, for: 60s/, for: 5s/; s/^quiet: .*//"
ARRIVES_S, LOST_PRIMARY_S = 90.0, 30.0


@dataclass
class Watched:
    estate: Estate
    mailbox: Mailbox
    hook: Hook

    @property
    def backup(self) -> Host:
        return self.estate.backup

    def arrives(self, *words: str, seconds: float = ARRIVES_S) -> float:
        """Wait until both have a message whose title holds these words; when the first of them had it."""
        found: list[float] = []

        def there() -> tuple[bool, bool]:
            hooked = any(all(word in title for word in words) for title in self.hook.titles)
            mailed = any(all(word in subject for word in words) for subject, _ in self.mailbox.mails)
            if hooked or mailed:
                found.append(time.monotonic())
            return hooked, mailed

        until(there, seconds, what=f"a message with {' and '.join(words)}", accept=all, every=0.2)
        return found[0]

    def over(self, *words: str) -> None:
        self.arrives("RESOLVED", *words)


@pytest.fixture(scope="module")
def watched(estate_lab: Estate) -> Iterator[Watched]:
    make_whole(estate_lab)
    by_watch.forget(estate_lab.backup)
    gateway = state.load(lab_of(estate_lab)).gateway
    mailbox, hook = Mailbox(gateway), Hook(gateway)
    mailbox.start()
    hook.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DR_LAB_WATCH", "look")
        patch.setenv("DR_LAB_ALARMS", json.dumps({"mail": mailbox.url, "hook": hook.url}))
        try:
            provision(hosts.load("lab"), quiet)
            yield Watched(hosts.load("lab"), mailbox, hook)
        finally:
            patch.delenv("DR_LAB_WATCH")
            patch.delenv("DR_LAB_ALARMS")
            provision(hosts.load("lab"), quiet)
            by_watch.forget(estate_lab.backup)
            mailbox.stop()
            hook.stop()
    assert estate_lab.backup.run("systemctl is-active %s || true", UNIT).text != "active"


def hasty(watched: Watched) -> None:
    watched.backup.run("sed -i -E %s %s && systemctl restart %s", HASTY, RULES, UNIT)


def test_it_runs_and_a_second_deploy_changes_nothing(watched: Watched) -> None:
    until(lambda: dr("alarms", "--json"), 60, what="a first look", accept=lambda said: '"late": false' in said.out)
    assert not deploys.deploy("lab").by_operation
    listed = dr("alarms")
    assert "hook" in listed.out and "mail" in listed.out and "Traceback" not in listed.err


def test_it_costs_little(watched: Watched) -> None:
    said = watched.backup.run("systemctl show -p MainPID --value %s", UNIT).text
    memory = watched.backup.run("awk '/^Pss:/ {print $2 / 1024}' /proc/%s/smaps_rollup", said).text
    assert float(memory) < 150, f"{memory} MiB"


def test_a_test_arrives_and_a_mail_is_confirmed(watched: Watched) -> None:
    proved = dr("alarms.test")
    assert proved.code == 0 and "hook (webhook): arrived" in proved.out, proved.out + proved.err
    code = next(subject for subject, _ in watched.mailbox.mails if "[TEST]" in subject).rpartition(" ")[2]
    assert dr("alarms.test", "--confirm", code).out == "The channel mail is proved.\n"
    dr("alarms.test", "--confirm", "nobodys").assert_told(2, "had the code")


def test_ten_faults_reach_a_mailbox_and_a_webhook_and_so_does_their_end(watched: Watched) -> None:
    hasty(watched)
    primary, standby = roles(watched.estate)
    app, backup, out = watched.estate.app, watched.backup, watched.estate.host(standby)
    break_and_mend: dict[tuple[str, ...], tuple[Callable[[], object], Callable[[], object]]] = {
        ("watch on",): (
            lambda: backup.run("systemctl stop mystocks-watch"), lambda: backup.run("systemctl start mystocks-watch"),
        ),
        ("replayer",): (
            lambda: app.run("systemctl stop mystocks-replayer"), lambda: app.run("systemctl start mystocks-replayer"),
        ),
        ("job verify",): (
            lambda: backup.run("cd /var/lib/mystocks-dr/jobs && cp -p verify.json /root/ && sed -i -E "
                               "'s/\"outcome\": (null|\"passed\")/\"outcome\": \"failed\"/; "
                               "s/\"ended_at\": null/\"ended_at\": 1790000000/' verify.json"),
            lambda: backup.run("cp -p /root/verify.json /var/lib/mystocks-dr/jobs/"),
        ),
        ("certificate of PostgreSQL",): (
            lambda: out.run("cd /etc/postgresql/mystocks && cp -p host.crt /root/ && echo none > host.crt"),
            lambda: out.run("cp -p /root/host.crt /etc/postgresql/mystocks/"),
        ),
        ("archive",): (
            lambda: backup.run("systemctl stop pgbackrest-server"),
            lambda: backup.run("systemctl start pgbackrest-server"),
        ),
    }  # fmt: skip
    for breaks, _ in break_and_mend.values():
        breaks()
    watched.estate.host(primary).execute("select pg_switch_wal()")
    for words in break_and_mend:
        watched.arrives("[", *words, seconds=240 if words == ("archive",) else ARRIVES_S)
    for _, mends in break_and_mend.values():
        mends()
    for words in break_and_mend:
        watched.over(*words)

    faults.power_off(lab_of(watched.estate), standby)
    watched.arrives(f"{standby} as a standby")
    watched.arrives("commits: hang")
    watched.hook.stop()
    faults.power_off(lab_of(watched.estate), app.name)
    until(lambda: [one for one, _ in watched.mailbox.mails if "outbox" in one and "CRITICAL" in one], ARRIVES_S,
          what="a mail while the webhook is out", accept=bool)  # fmt: skip
    watched.hook.start()
    watched.arrives("outbox")
    power_on(watched.estate)
    for words in (f"{standby} as a standby", "commits: hang", "outbox"):
        watched.over(words)
    make_whole(watched.estate)


def test_lost_primary_is_told_within_thirty_seconds(watched: Watched) -> None:
    primary, _ = roles(watched.estate)
    lost = time.monotonic()
    faults.power_off(lab_of(watched.estate), primary)
    took = watched.arrives("hosts that take writes") - lost
    power_on(watched.estate)
    rejoin(watched.estate)
    make_whole(watched.estate)
    assert took < LOST_PRIMARY_S, f"{took:.1f} s"


def test_nothing_was_told_twice(watched: Watched) -> None:
    told = [one["message"].rpartition("\n")[2] for one in watched.hook.got if "[TEST]" not in one["title"]]
    assert sorted(told) == sorted(set(told))
    mailed = [body.rstrip().rpartition("\n")[2] for subject, body in watched.mailbox.mails if "[TEST]" not in subject]
    assert sorted(mailed) == sorted(set(mailed)) and len(set(mailed)) == len(set(told)) >= 20
