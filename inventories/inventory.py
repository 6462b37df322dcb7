"""Read a pyinfra inventory file without pyinfra: hosts, groups and their data, validated."""

from __future__ import annotations

import os
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError, field_validator

from inventories import delay, quorum
from inventories.addresses import canonical, is_address, is_host_name
from inventories.errors import BadInput, DrError

HERE = Path(__file__).resolve().parent
GROUPS = ("pg_primary", "pg_standby", "backup", "offsite", "app", "watch", "tdengine")
POSTGRES = ("pg_primary", "pg_standby")
_HOP = r"(?:[\w.-]+@)?[\w.-]+(?::\d+)?"


class HostEntry(BaseModel):
    """One host as the inventory declares it. `address` is what other hosts dial, by default what SSH dials.

    `ssh_hostname` may be a name; `ssh_proxy_jump` is a bastion, or several with commas, as OpenSSH's ProxyJump.
    `synchronous` False: a standby that no commit waits for and that is never promoted; so is one with an `apply_delay`
    such as "1h", which replays what it receives so much later.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str
    ssh_hostname: str
    ssh_user: str = "root"
    ssh_port: int = Field(default=22, ge=1, le=65535)
    ssh_key: str | None = None
    ssh_known_hosts_file: str | None = None
    ssh_strict_host_key_checking: str = "yes"
    ssh_proxy_jump: str | None = Field(default=None, pattern=rf"^{_HOP}(,{_HOP})*$")
    db_address: str | None = Field(default=None, alias="address")
    fence_command: tuple[str, ...] | None = None
    watch_fence_command: tuple[str, ...] | None = None
    synchronous: StrictBool = True  # 0 or "no" would be False here only
    apply_delay: str = ""

    @field_validator("ssh_hostname", "db_address")
    @classmethod
    def _one_spelling(cls, text: str | None) -> str | None:
        return canonical(text) if text and is_address(text) else text

    @field_validator("fence_command", "watch_fence_command")
    @classmethod
    def _names_a_program(cls, words: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """No words are no command, as None is; one that begins with nothing would be found out in the night."""
        if words and not words[0].strip():
            raise ValueError("its first word is the program that is run, and it is empty")
        return words

    @property
    def address(self) -> str:
        return self.db_address or self.ssh_hostname

    @property
    def delay_s(self) -> int:
        """By how much a delayed standby is behind; 0 for every other host."""
        return delay.seconds(self.apply_delay)

    @property
    def never_promoted(self) -> str:
        """Why it is neither waited for nor promoted, in words; empty where it may be."""
        if self.delay_s:
            return "delayed by declaration"
        return "" if self.synchronous else "asynchronous by declaration"

    @property
    def lets_in(self) -> str:
        """What has to go from its entry so that it may be."""
        return "`apply_delay`" if self.delay_s else "`synchronous`"

    @property
    def hops(self) -> tuple[str, ...]:
        """Host names of the bastions, without user and port."""
        jumps = self.ssh_proxy_jump.split(",") if self.ssh_proxy_jump else []
        return tuple(hop.rpartition("@")[2].partition(":")[0] for hop in jumps)


@dataclass(frozen=True)
class Inventory:
    """`groups`: group -> host names; `data`: values that all hosts share; `hosts` in the file's order."""

    name: str
    path: Path
    estate: str
    hosts: tuple[HostEntry, ...]
    groups: Mapping[str, tuple[str, ...]]
    data: Mapping[str, Any]


def inventory_path(inventory: str | None) -> Path:
    """The file of an inventory given by name, by path, or by DR_INVENTORY (default: lab). Raises BadInput."""
    wanted = inventory or os.environ.get("DR_INVENTORY") or "lab"
    path = Path(wanted).expanduser() if "/" in wanted or wanted.endswith(".py") else HERE / f"{wanted}.py"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in HERE.glob("*.py") if p.stem in ("lab", "production")))
        hint = f"the inventories are: {known}"
        if wanted == "production":
            hint = "copy inventories/production.example.py to inventories/production.py"
        raise BadInput(f"there is no inventory {wanted!r} (looked for {path})", hint)
    return path


def read_inventory(inventory: str | None = None) -> Inventory:
    """Groups of one inventory file. Raises BadInput naming file, host and value."""
    path = inventory_path(inventory)
    try:
        names = runpy.run_path(str(path))
    except DrError:
        raise
    except Exception as error:
        raise BadInput(
            f"{path} cannot be read: {type(error).__name__}: {error}",
            "compare it with inventories/production.example.py",
        ) from error
    values = _public(runpy.run_path(str(HERE / "group_data" / "all.py")))
    data = dict(values)
    said: dict[str, dict[str, Any]] = {}
    groups: dict[str, tuple[str, ...]] = {}
    for group, value in _public(names).items():
        members, shared = _group(path, group, value)
        if members is None:
            continue
        groups[group] = tuple(name for name, _ in members)
        for name, own in members:
            said[name] = _said_again(path, name, said.get(name, {}), {**shared, **own})
            data.update({key: item for key, item in shared.items() if not key.startswith(("ssh_", "_"))})
    entries = {name: _entry(path, name, own) for name, own in said.items()}
    if not entries:
        raise BadInput(f"{path} declares no host", "see inventories/production.example.py")
    _contradictions(path, tuple(entries.values()), groups)
    _side_host(path, str(data.get("side_host") or ""), groups)
    _watch(path, values, said, groups)
    delay.check(path, {entry.name: entry.apply_delay for entry in entries.values() if entry.apply_delay}, groups)
    asynchronous = [entry.name for entry in entries.values() if not entry.synchronous]
    quorum.check(path, asynchronous, groups, data.get("synchronous_standbys"))
    _said_of_some(path, data, {name: {**values, **own} for name, own in said.items()}, groups)
    if groups.get("pg_standby") and not groups.get("pg_primary"):
        raise BadInput(
            f"{path}: {', '.join(groups['pg_standby'])} in pg_standby, and no host in pg_primary to follow",
            "name the one that is to be primary at first; from then on roles are read from the hosts",
        )
    return Inventory(path.stem, path, str(data.get("estate", path.stem)), tuple(entries.values()), groups, data)


# Of several a deploy would take the first by name, and a runbook the first that is written.
_ALONE = {
    "pg_primary": ("can be the first primary", "move the others to pg_standby"),
    "backup": ("keeps the repository and the estate record", "take the others out; a second copy is off-site"),
    "offsite": ("keeps the second copy", "take the others out"),
}


def _contradictions(path: Path, entries: tuple[HostEntry, ...], groups: Mapping[str, tuple[str, ...]]) -> None:
    """Raises BadInput for what each host alone does not show: each of these would one day fence the wrong host."""
    _names_twice(path, tuple(entry.name for entry in entries), groups)
    _lost_together(path, groups)
    for group, (why, hint) in _ALONE.items():
        members = groups.get(group, ())
        if len(members) > 1:
            raise BadInput(f"{path}: {group} is {', '.join(members)}, but one host alone {why}", hint)
    both = [name for name in groups.get("pg_primary", ()) if name in groups.get("pg_standby", ())]
    if both:
        raise BadInput(
            f"{path}: {both[0]} is in pg_primary and in pg_standby", "name it once; roles move by themselves later"
        )
    at: dict[tuple[str, int], str] = {}
    for entry in entries:
        other = at.setdefault((entry.ssh_hostname, entry.ssh_port), entry.name)
        if other != entry.name:
            raise BadInput(
                f"{path}: {other} and {entry.name} have the same address, {entry.ssh_hostname}:{entry.ssh_port}",
                "correct ssh_hostname or ssh_port of one of them",
            )
    dialled: dict[str, str] = {}
    for entry in entries:
        _what_no_runbook_could_do(path, entry)
        other = dialled.setdefault(entry.address, entry.name)
        if other != entry.name:
            raise BadInput(
                f"{path}: {other} and {entry.name} have the same address, {entry.address}",
                "correct `address` of one of them: it is what the other hosts dial",
            )


def _names_twice(path: Path, names: tuple[str, ...], groups: Mapping[str, tuple[str, ...]]) -> None:
    for group, members in groups.items():
        twice = [name for nr, name in enumerate(members) if name in members[:nr]]
        if twice:
            raise BadInput(f"{path}: {group} names {twice[0]} twice", "name it once, or the other host otherwise")
    spelled: dict[str, str] = {}
    for name in names:
        other = spelled.setdefault("".join(c if c.isalnum() else "_" for c in name.lower()), name)
        if other != name:
            raise BadInput(
                f"{path}: {other} and {name} are one name to PostgreSQL's slots (small letters, digits and _)",
                "give one of them another name",
            )


def _said_again(path: Path, name: str, before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """What several groups say of one host, together. Raises BadInput where they would have it reached in two ways."""
    for key in HostEntry.model_fields:
        word = "address" if key == "db_address" else key
        if word in before and word in now and before[word] != now[word]:
            raise BadInput(
                f"{path}: {name} is named twice, with {word} {before[word]!r} and with {word} {now[word]!r}",
                "say it once; every other group may name the host alone",
            )
    return {**now, **before}


def _side_host(path: Path, name: str, groups: Mapping[str, tuple[str, ...]]) -> None:
    """Raises BadInput for one that no backup could be restored on."""
    fit = [host for group in ("pg_primary", "pg_standby", "backup") for host in groups.get(group, ())]
    if name and name not in fit:
        raise BadInput(
            f"{path}: side_host is {name!r}, which is no database host and no backup host",
            f"name one of {', '.join(fit)}, or leave it empty for the primary's own",
        )


# A watch is lost with what is beside it; and where application and watch are one, two pairs of eyes are one.
_NO_PLACE_TO_WATCH_FROM = (*POSTGRES, "tdengine", "app", "offsite")


def _watch(
    path: Path, values: Mapping[str, Any], said: Mapping[str, dict[str, Any]], groups: Mapping[str, tuple[str, ...]]
) -> None:  # fmt: skip
    """Raises BadInput for a watch that could be lost with what it watches, or that sees no more than others do.

    What it may do is said by whichever host is one, and by no other.
    """
    for name in groups.get("watch", ()):
        for group in _NO_PLACE_TO_WATCH_FROM:
            if name in groups.get(group, ()):
                raise BadInput(
                    f"{path}: {name} is in watch and in {group}, and a watch there would not see its own host's loss",
                    "put the backup host, or a host of no other group, into watch",
                )
    for own in said.values():
        act = own.get("watch_act", values.get("watch_act"))
        if act not in ("", "failover"):
            raise BadInput(f"{path}: watch_act is {act!r}, and a watch can act by failover alone", "'failover', or ''")


# What one host would be lost with, so that neither could be had back from the other: group, groups, why.
_APART = (
    ("app", POSTGRES, "what its outbox keeps while the database is away would be lost with the database"),
    ("backup", POSTGRES, "the backups and the estate record would be lost with the database"),
    ("offsite", ("backup", *POSTGRES), "the second copy would be lost with what it is a copy of"),
)


def _lost_together(path: Path, groups: Mapping[str, tuple[str, ...]]) -> None:
    """Raises BadInput for a host that is what it has to outlive."""
    for group, others, why in _APART:
        for other in others:
            both = [name for name in groups.get(group, ()) if name in groups.get(other, ())]
            if both:
                raise BadInput(f"{path}: {both[0]} is in {group} and in {other}: {why}", f"give {group} its own host")


# A deploy reads them at each host, a runbook once for all.
_ONCE = ("estate", "postgres_version", "database", "stanza", "synchronous_standbys")


def _said_of_some(
    path: Path, data: Mapping[str, Any], each: Mapping[str, Mapping[str, Any]], groups: Mapping[str, tuple[str, ...]]
) -> None:  # fmt: skip
    """Raises BadInput for a value of the whole estate that is another one at some of its hosts."""
    members = [name for group in (*POSTGRES, "backup", "app", "watch") for name in groups.get(group, ())]
    for key in _ONCE:
        for name in members:
            if each[name].get(key) != data.get(key):
                raise BadInput(
                    f"{path}: {key} is {data.get(key)!r}, and {each[name].get(key)!r} at {name}: the estate has one",
                    f"say it with what every group shares, as `_SSH` of inventories/production.example.py; {name} too",
                )


def _what_no_runbook_could_do(path: Path, entry: HostEntry) -> None:
    """Raises BadInput for a host that a deploy could provision and no runbook could recover."""
    if not is_address(entry.address):
        told = "address" if entry.db_address else "ssh_hostname"
        raise BadInput(
            f"{path}: {told} of {entry.name} is {entry.address!r}, which is no IP address, and the other hosts dial it",
            f"give {entry.name} an `address` that is one; ssh_hostname may stay a name",
        )
    asks = [key for key in _PASSWORDS if (entry.model_extra or {}).get(key)]
    if asks:
        raise BadInput(
            f"{path}: {entry.name} has {asks[0]}, and no runbook types a password",
            f"let {entry.ssh_user} use sudo without one (NOPASSWD in sudoers), and log in with a key",
        )


# pyinfra's words for it.
_PASSWORDS = ("_sudo_password", "_use_sudo_password", "ssh_password")


def _entry(path: Path, name: str, data: dict[str, Any]) -> HostEntry:
    try:
        return HostEntry.model_validate({"ssh_hostname": name, **delay.declared(path, name, data), "name": name})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"{path}: {name}.{where} is {first.get('input')!r}: {first['msg']}",
            "correct the value; inventories/production.example.py has one of each kind",
        ) from error


def _group(path: Path, group: str, value: Any) -> tuple[list[tuple[str, dict[str, Any]]] | None, dict[str, Any]]:
    """pyinfra's two forms: a list of hosts, or (list, data shared by them). None for what is no group.

    Raises BadInput for a group of ours in another form, or in another spelling: nobody would find its hosts.
    """
    members, shared = value if isinstance(value, tuple) and len(value) == 2 else (value, {})
    if not isinstance(members, list) or not isinstance(shared, dict):
        if group in GROUPS:
            raise BadInput(
                f"{path}: {group} is {value!r}, and a group is a list of hosts, or a list and the values they share",
                f'{group} = ["NAME"], or [] for none',
            )
        return None, {}
    near = [] if group in GROUPS else get_close_matches(group, GROUPS, 1, 0.8)
    if near:
        raise BadInput(f"{path}: nothing is deployed to a group {group}", f"is it {near[0]}?")
    return [_member(path, group, host) for host in members], shared


def _member(path: Path, group: str, host: Any) -> tuple[str, dict[str, Any]]:
    """A name, or (name, data). Raises BadInput."""
    name, own = host if isinstance(host, tuple) and len(host) == 2 else (host, {})
    if not isinstance(name, str) or not isinstance(own, dict):
        raise BadInput(
            f"{path}: {group} has {host!r}, and a host is its name, or its name and what is said of it",
            '("pg1", {"ssh_hostname": "192.0.2.21"})',
        )
    if not is_host_name(name):
        raise BadInput(
            f"{path}: {group} has a host {name!r}, and PostgreSQL, SSH or a file could not be given that name",
            "ASCII letters and digits, with . - _ between them, 63 at most",
        )
    return name, own


def _public(names: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in names.items() if not name.startswith("_") and name != "annotations"}
