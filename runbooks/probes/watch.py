"""Whether the watch's service runs, by systemd's word on its host, and whether it is one that looks and could act."""

from __future__ import annotations

from runbooks.hosts import Estate, Host

UNIT = "mystocks-watch.service"
ACTIVE = "active"
SILENT_S = 60  # a watch writes every two seconds what it sees, whatever it does
# How old is the newest of what it wrote, by the clock of its own host; then every program that its account cannot run.
_WORD = """systemctl is-active %s || true
now=$(date +%%s)
for file in /var/lib/mystocks-watch/state/watch/*.json; do
  test -e "$file" && echo "said $((now - $(stat -c %%Y "$file")))"
done
for program in{}; do
  runuser -u mystocks-watch -- sh -c 'command -v -- "$0"' "$program" >/dev/null 2>&1 || echo "lacks $program"
done
true
"""


def hosts(estate: Estate) -> tuple[Host, ...]:
    """Those of the group `watch`; none where the inventory has no such group."""
    names = estate.groups.get("watch", ())
    return tuple(host for host in estate.hosts if host.name in names)


def word(estate: Estate, host: Host, timeout: float) -> str:
    """`active`, `inactive`, `failed` and so on; of one that is active and no watch, why. Raises DrError."""
    programs = _programs(estate, host)
    command = _WORD.replace("{}", " %s" * len(programs))
    return judged(host.run(command, UNIT, *programs, timeout=timeout).stdout)


def judged(said: str) -> str:
    """What the host's answer comes to."""
    active, *more = said.splitlines() or [""]
    told: dict[str, list[str]] = {"said": [], "lacks": []}
    for line in more:
        kind, _, value = line.partition(" ")
        told.get(kind, []).append(value)
    if active.strip() != ACTIVE:
        return active.strip()
    silent_s = min(map(int, told["said"]), default=0)
    if silent_s > SILENT_S:
        return f"{ACTIVE}, and has written nothing for {silent_s} s"
    return f"{ACTIVE}, and its account cannot run {' and '.join(told['lacks'])}" if told["lacks"] else ACTIVE


def _programs(estate: Estate, host: Host) -> tuple[str, ...]:
    """What that watch would cut database hosts off with, where it may act."""
    acts = (host.entry.model_extra or {}).get("watch_act", estate.data.get("watch_act"))
    commands = [one.entry.watch_fence_command or one.entry.fence_command for one in estate.postgres if acts]
    return tuple(sorted({command[0] for command in commands if command}))
