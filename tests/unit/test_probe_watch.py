"""What `status` takes for a watch: one that runs, writes what it sees, and could cut a host off."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from inventories.inventory import HostEntry
from runbooks.hosts import Estate, Host, Ran
from runbooks.judge.watch import findings
from runbooks.probes import watch

FENCE = ("/usr/local/sbin/fence-host", "off")


def estate(**own: object) -> Estate:
    def host(name: str, **more: object) -> Host:
        return Host(name, HostEntry.model_validate({"name": name, "ssh_hostname": "192.0.2.1", **more}), Path("/n"))

    hosts = (host("pg1", fence_command=FENCE), host("pg2", fence_command=FENCE, watch_fence_command=("ipmi",)))
    groups = {"pg_primary": ("pg1",), "pg_standby": ("pg2",), "watch": ("b1",)}
    return Estate("toy", "toy", (*hosts, host("b1", **own)), groups, {"watch_act": "failover"})


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("active\nsaid 2\n", "active"),
        ("active\n", "active"),
        ("active\nsaid 90000\nsaid 1\n", "active"),
        ("active\nsaid 312\n", "active, and has written nothing for 312 s"),
        ("active\nsaid 1\nlacks a\nlacks /b\n", "active, and its account cannot run a and /b"),
        ("failed\nsaid 1\nlacks ipmi\n", "failed"),
        ("", ""),
    ],
)
def test_active_is_not_all(said: str, word: str) -> None:
    """A process that hangs, or whose way to turn a host off is missing, is active to systemd."""
    assert watch.judged(said) == word
    found = list(findings({"b1": word}))
    assert bool(found) == (word != "active")
    assert all(one.hint for one in found)


def test_each_trouble_leads_on_by_its_own_hint() -> None:
    words = ("failed", watch.judged("active\nsaid 312\n"), watch.judged("active\nlacks ipmi\n"))
    assert len({next(findings({"b1": word})).hint for word in words}) == 3


@pytest.mark.parametrize(("own", "asked"), [({}, {*FENCE[:1], "ipmi"}), ({"watch_act": ""}, set())])
def test_only_a_watch_that_may_act_needs_what_fences(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: dict[str, str], asked: set[str]
) -> None:
    """What it would run is its own, where it has one; asked of a shell as a host's would be."""
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho active\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def run(_: Host, command: str, *words: str, **__: object) -> Ran:
        text = (command % words).replace("/var/lib/mystocks-watch", str(tmp_path))  # nobody has its account here
        done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
        return Ran(0, done.stdout, "", 0.0)

    there = estate(**own)
    monkeypatch.setattr(Host, "run", run)
    word = watch.word(there, there.host("b1"), 1.0)
    assert word.startswith("active")
    assert {name for name in (FENCE[0], "ipmi") if name in word} == asked

    kept = tmp_path / "state" / "watch"
    kept.mkdir(parents=True)
    (kept / "toy.json").write_text("{}")
    os.utime(kept / "toy.json", (time.time() - 400, time.time() - 400))
    assert "has written nothing for 40" in watch.word(there, there.host("b1"), 1.0)
