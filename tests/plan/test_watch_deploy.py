"""What a deploy brings to a watch's host, what starts it anew, and what goes where no watch is any more."""

from __future__ import annotations

import base64
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploys import tree, watch
from inventories.errors import BadInput
from inventories.inventory import HERE

ONLY = watch.ONLY["inventories"]
# Nobody's: an example to copy.
_EXAMPLES = {"production.example.py"}


def test_inventories_of_the_operators_stay_where_they_are(tmp_path: Path) -> None:
    room = tmp_path / "inventories"
    shutil.copytree(HERE, room, ignore=shutil.ignore_patterns("__pycache__"))
    before = tree.wanted(room, ONLY)
    theirs = ("production.py", "elsewhere.py", "group_data/pg_primary.py", "hosts.yaml")
    for name in theirs:
        (room / name).write_text('fence_command = ["ipmi", "off"]\n')
    assert tree.wanted(room, ONLY) == before
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(tree.packed(room, ONLY)))) as archive:
        assert not set(theirs) & set(archive.getnames())


def test_all_of_our_own_is_brought() -> None:
    listed = subprocess.run(
        ["git", "-C", str(HERE), "ls-files", "."], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not listed:
        pytest.skip("this copy of the tree is no git repository")
    brought = {name for name, known in tree.wanted(HERE, ONLY).items() if known.startswith("f")}
    assert set(listed) - _EXAMPLES == brought


class Deploy:
    """What there is on a host, and what a deploy does to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *there: str) -> None:
        self.there, self.data = there, SimpleNamespace(get=lambda name: None)
        self.removed: list[str] = []
        self.services: list[dict[str, Any]] = []
        monkeypatch.setattr(watch, "host", self)
        for kind in ("file", "directory"):
            monkeypatch.setattr(watch.files, kind, lambda path, present, **_: self.removed.append(path))
        monkeypatch.setattr(watch.systemd, "service", lambda **more: self.services.append(more))

    def get_fact(self, _fact: object, paths: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
        return {path: ("regular", "644", "root", "root") for path in paths if path in self.there}


def test_service_brings_no_more_of_the_inventories(monkeypatch: pytest.MonkeyPatch) -> None:
    Deploy(monkeypatch)
    brought: dict[str, tuple[str, ...]] = {}
    monkeypatch.setattr(watch, "tree", lambda src, only, **_: brought.update({Path(src).name: only}))
    monkeypatch.setattr(watch, "placed", lambda **_: SimpleNamespace(did_change=None))
    monkeypatch.setattr(watch, "any_changed", lambda *_: None)
    monkeypatch.setattr(watch, "_unit", lambda: "")
    monkeypatch.setattr(watch, "_marking", lambda: None)
    for module, name in ((watch.systemd, "daemon_reload"), (watch.server, "shell")):
        monkeypatch.setattr(module, name, lambda **_: None)
    watch.service()
    assert brought["inventories"] == ONLY


@pytest.mark.parametrize("changed", ["inventory", "key"])
def test_another_inventory_or_key_starts_the_watch_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    Deploy(monkeypatch)
    said = {"inventory": "x = 1\n", "key": "ssh-ed25519 AAAA"}
    key = SimpleNamespace(public=tmp_path / "key.pub")
    monkeypatch.setattr(watch, "_inventory", lambda: said["inventory"])
    monkeypatch.setattr(watch, "_key", lambda: key)
    key.public.write_text(said["key"])
    before = watch._unit()
    assert watch._unit() == before
    said[changed] += "other"
    key.public.write_text(said["key"])
    assert watch._unit() != before


def test_a_former_watch_keeps_neither_key_nor_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = Deploy(monkeypatch, watch.KEY, watch.INVENTORY, "/etc/systemd/system/mystocks-watch.service")
    watch.gone()
    assert {watch.KEY, watch.INVENTORY} < set(deploy.removed)
    assert [(one["running"], one["enabled"]) for one in deploy.services] == [(False, False)]


def test_a_host_that_never_was_a_watch_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = Deploy(monkeypatch)
    watch.gone()
    assert (deploy.removed, deploy.services) == ([], [])


def test_without_a_watch_nobody_has_its_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    rights = [f"{watch.HOME}/.ssh/authorized_keys", "/etc/sudoers.d/mystocks-watch"]
    deploy = Deploy(monkeypatch, *rights)
    monkeypatch.setattr(watch.estate, "nodes", lambda *_: ())
    watch.way_in()
    assert deploy.removed == rights


class Alarming(Deploy):
    """The first watch's host of an inventory that has channels, one of them with a secret."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str = "backup1", *there: str) -> None:
        super().__init__(monkeypatch, *there)
        self.name = name
        self.values: dict[str, Any] = {
            "alarm_channels": {"mail": "mailtos://dr:{secret}@mail.example.org", "journal": "log"},
            "pki_dir": "/nowhere",
        }
        self.data = SimpleNamespace(get=self.values.get)
        self.placed: dict[str, Any] = {}
        nodes = tuple(SimpleNamespace(name=one, address="192.0.2.31") for one in ("backup1", "control2"))
        monkeypatch.setattr(watch.estate, "nodes", lambda *groups: nodes if groups == (watch.GROUP,) else ())
        monkeypatch.setattr(watch, "placed", self._put)
        monkeypatch.setattr(watch, "known_host", lambda **_: None)
        for module, called in ((watch.systemd, "daemon_reload"), (watch.server, "user")):
            monkeypatch.setattr(module, called, lambda **_: None)
        monkeypatch.setattr(watch, "packages", lambda names, **_: setattr(self, "packages", names))
        key = SimpleNamespace(public=Path(__file__), private=Path(__file__))
        monkeypatch.setattr(watch, "_key", lambda: key)
        monkeypatch.setenv("DR_SECRET_ALARM_MAIL", "s3cret-of-mail")

    def _put(self, places: list[Any], **_: object) -> SimpleNamespace:
        self.placed |= {place.path: place for place in places}
        return SimpleNamespace(did_change=lambda: False)


def test_first_watch_raises_the_alarms_and_alone_knows_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = Alarming(monkeypatch)
    watch.deploy()
    watch._alarming(lambda: False)
    secrets = deploy.placed[watch.ALARM_SECRETS]
    assert (secrets.mode, secrets.owner, secrets.text) == ("0600", watch.USER, "alarm_mail: s3cret-of-mail\n")
    inventory = deploy.placed[watch.INVENTORY].text
    assert "{secret}" in inventory and "s3cret-of-mail" not in inventory
    assert f"'secrets_file': '{watch.ALARM_SECRETS}'" in inventory
    assert "apprise" in deploy.packages
    unit = deploy.placed[watch._ALARMS_FILE].text
    assert "doors.main alarms.on" in unit and "s3cret" not in unit
    assert [one["service"] for one in deploy.services if one.get("running")] == [watch.ALARMS]


def test_first_watch_takes_the_marks_as_often_as_the_catalogue_says(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = Alarming(monkeypatch)
    watch._marking()
    timer, service = (deploy.placed[path].text for path in watch._MARK_FILES)
    assert "OnCalendar=*:0/5\n" in timer
    assert "doors.main mark auto --scheduled\n" in service and f"User={watch.USER}" in service
    assert [one["service"] for one in deploy.services if one.get("enabled")] == ["mystocks-mark.timer"]


def test_second_watch_takes_no_mark_and_none_is_taken_where_that_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = Alarming(monkeypatch, "control2", *watch._MARK_FILES)
    watch._marking()
    assert deploy.placed == {} and deploy.removed == list(watch._MARK_FILES)
    assert [(one["service"], one["running"]) for one in deploy.services] == [("mystocks-mark.timer", False)]
    never = SimpleNamespace(marks=SimpleNamespace(every_min=0))
    monkeypatch.setattr(watch, "load_recovery", lambda: never)
    deploy = Alarming(monkeypatch, "backup1", *watch._MARK_FILES)
    watch._marking()
    assert deploy.removed == list(watch._MARK_FILES)


def test_a_watch_knows_of_a_tdengine_that_it_does_not_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its backups' manifests are on the backup host, and a mark binds them."""
    Alarming(monkeypatch)
    assert "'tdengine_beside': False" in watch._inventory()
    there = watch.estate.nodes
    tdengine = (SimpleNamespace(name="tsdb1", address="192.0.2.41"),)
    monkeypatch.setattr(watch.estate, "nodes", lambda *groups: tdengine if groups == ("tdengine",) else there(*groups))
    assert "'tdengine_beside': True" in watch._inventory()


def test_second_watch_raises_none_and_knows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = Alarming(monkeypatch, "control2", watch._ALARMS_FILE, watch.ALARM_SECRETS)
    watch.deploy()
    watch._alarming(lambda: False)
    assert watch.ALARM_SECRETS not in deploy.placed and "apprise" not in deploy.packages
    assert deploy.removed == [watch._ALARMS_FILE, watch.ALARM_SECRETS]
    assert [(one["service"], one["running"]) for one in deploy.services] == [(watch.ALARMS, False)]


@pytest.mark.parametrize("changed", ["secret", "channels"])
def test_another_channel_or_secret_starts_the_alarms_anew(monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    deploy = Alarming(monkeypatch)
    before = watch._alarms_unit()
    assert watch._alarms_unit() == before
    if changed == "secret":
        monkeypatch.setenv("DR_SECRET_ALARM_MAIL", "another-one")
    else:
        deploy.values["alarm_channels"] = {"journal": "log"}
    assert watch._alarms_unit() != before


def test_secret_that_is_nowhere_is_told_before_anything_is_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    deploy = Alarming(monkeypatch)
    monkeypatch.delenv("DR_SECRET_ALARM_MAIL")
    with pytest.raises(BadInput, match="the channel mail needs the secret alarm_mail"):
        watch.deploy()
    assert deploy.placed == {}
