"""Change PostgreSQL on a host: fence, promote, stop, start, switch synchronous replication.

Every function may be run twice. All go over SSH; SQL runs as the OS user postgres.
"""

from __future__ import annotations

from inventories import quorum
from inventories.errors import TargetFailed
from runbooks.hosts import Host
from runbooks.layout import DATA, FENCED, Layout, slot
from runbooks.long_work.work import Asker, Work, run_long

# Marker and mask come first: whatever happens to this SSH connection, the next boot finds them. What was stopped, or
# waits for a disk, hears no request to end; killing needs nobody's attention, and takes every process of the unit.
_FENCE = """
set -u
printf '%%s\\n' %s > {fenced}; sync {fenced}
systemctl mask {unit} 2>/dev/null
pid=$(head -n1 {data}/postmaster.pid 2>/dev/null)
ask() {{ timeout "$1" pg_ctlcluster --skip-systemctl-redirect {version} main stop -m "$2" >/dev/null 2>&1; }}
runs() {{ test "$(cat /proc/$pid/comm 2>/dev/null)" = postgres; }}
if runs && test {patience} != 0; then ask {patience} fast || ask 2 immediate; fi
runs && kill -KILL "$pid" 2>/dev/null
systemctl kill --signal=KILL {unit} 2>/dev/null
timeout 5 systemctl stop {unit} 2>/dev/null
for look in $(seq 40); do listens=$(ss -Hltn 'sport = :5432') && test -z "$listens" && exit 0; sleep 0.05; done
exit 1
"""


def fence(host: Host, layout: Layout, reason: str, patience: float = 2) -> None:
    """Stop PostgreSQL and keep it from coming back: marker for the start guard, masked unit, then the stop.

    `patience`: seconds for a fast shutdown, which ships the last WAL, before an immediate one; with 0 the server is
    killed unasked, because it hangs. Raises TargetFailed when something still listens.
    """
    script = _FENCE.format(
        fenced=FENCED, unit=layout.unit, version=layout.version, data=layout.data, patience=f"{patience:g}"
    )
    host.run(script, reason, timeout=patience + 10)


def unfence(host: Host, layout: Layout) -> None:
    """Take marker and mask away. Only after standby.signal is there may the unit start again."""
    host.run(
        f"rm -f {FENCED} && systemctl unmask {layout.unit} 2>/dev/null; "
        f"systemctl reset-failed {layout.unit} 2>/dev/null; true"
    )


def promote(host: Host, returning: Host, timeout: float, further: tuple[str, ...] = ()) -> None:
    """Promote this standby, waiting at most `timeout` seconds, and hold WAL for `returning` from the first record on.

    So for `further` standbys, which follow it as soon as their slots are there.

    Whatever forbids writes is taken out of its files before. Raises TargetFailed when the promotion has not come by
    then; it may come still.
    """
    wait_s = max(1, int(timeout))
    sql = (
        "SELECT pg_reload_conf();\n"
        f"DO $$ BEGIN IF pg_is_in_recovery() AND NOT pg_promote(true, {wait_s}) THEN "
        f"RAISE EXCEPTION 'the promotion did not come within {wait_s} s'; END IF; END $$;\n"
        + "".join(_slot_sql(name) for name in (*further, returning.name))
    )
    host.execute(sql, timeout=timeout + 5)


def hold_wal(host: Host, name: str) -> None:
    """Create the slot that holds WAL for a standby."""
    host.execute(_slot_sql(name))


def _slot_sql(name: str) -> str:
    """A slot that lost its WAL holds nothing any more, and is made anew."""
    return (
        f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
        f"WHERE slot_name = '{slot(name)}' AND wal_status = 'lost' AND NOT active;\n"
        f"SELECT pg_create_physical_replication_slot('{slot(name)}', true) "
        f"WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '{slot(name)}');\n"
    )


def switch_wal(host: Host, restore_point: str) -> None:
    """Name this moment in the WAL and close the segment, so that the archive holds the new timeline at once."""
    host.execute(f"SELECT pg_create_restore_point('{restore_point}'); SELECT pg_switch_wal();")


def archive_again(host: Host, layout: Layout, before: str) -> None:
    """Let the archiver push every segment that this host still has of the timeline of segment `before`, up to it.

    A standby marks what it receives as archived, because archiving is its primary's business; what a dead primary
    had not pushed yet would be missing for ever. Only segments before the fork: those are the same on both hosts,
    and pgBackRest passes over what it has already.
    """
    script = """
    cd %s/pg_wal/archive_status
    for done in %s????????????????.done; do
      segment=${done%%.done}
      if [ -e "../$segment" ] && [ "$segment" \\< %s ]; then mv "$done" "$segment.ready"; fi
    done
    """
    host.run(script, layout.data, before[:8], before, user="postgres")


def never_archive(host: Host, layout: Layout, names: tuple[str, ...]) -> None:
    """Mark these files as if they were archived: the server removes them in its time, and the archiver passes over."""
    script = """
    cd %s/pg_wal/archive_status
    for name in NAMES; do
      test -e "../$name" || continue
      mv "$name.ready" "$name.done" 2>/dev/null || test -e "$name.done" || touch "$name.done"
    done
    """
    host.run(script.replace("NAMES", " ".join(["%s"] * len(names))), layout.data, *names, user="postgres")


def checkpoint(host: Host) -> None:
    """Write a checkpoint now: a shutdown, or pg_rewind's look at the control file, then finds it done."""
    host.execute("CHECKPOINT;", timeout=120)


def stop(host: Host, layout: Layout) -> None:
    """Fast shutdown: waits until every standby has received the last record."""
    host.run(f"systemctl stop {layout.unit}", timeout=90)


START_S = 120.0


def start(host: Host, layout: Layout) -> None:
    """Start through systemd, where the start guard stands."""
    try:
        host.run(f"systemctl start {layout.unit}", timeout=START_S)
    except TargetFailed as error:
        log = host.run(f"journalctl -u {layout.unit} -n 20 -o cat --no-pager", expect=None).stdout
        guard = [line for line in log.splitlines() if "start guard" in line]
        raise TargetFailed(f"{error}; {guard[-1] if guard else log.strip()[-300:]}", error.hint) from error


def make_standby(host: Host, layout: Layout) -> None:
    """Mark the stopped cluster as a standby, and as one that nobody waits for."""
    host.run(
        f"install -o postgres -g postgres -m 0600 /dev/null {layout.data}/standby.signal && rm -f {layout.synchronous}"
    )


def as_standby(host: Host, layout: Layout) -> None:
    """Let the stopped cluster recover as a standby: one whose promotion broke off has lost the mark of it."""
    host.run("install -o postgres -g postgres -m 0600 /dev/null %s", f"{layout.data}/standby.signal")


def as_primary(host: Host, layout: Layout) -> None:
    """Let the stopped cluster take writes again when it starts: only for the one that has everything."""
    host.run("rm -f %s", f"{layout.data}/standby.signal")


def make_primary_again(host: Host, layout: Layout) -> None:
    """Undo `make_standby` and start: only for a cluster that nobody has succeeded.

    It commits alone unless `write_names` has said before whom it waits for.
    """
    host.run(f"rm -f {layout.data}/standby.signal {FENCED}; systemctl unmask {layout.unit} 2>/dev/null; true")
    start(host, layout)


def drop_slots(host: Host) -> None:
    """Drop physical slots that a former primary brought along: on a standby they only hold WAL for nobody."""
    host.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
        "WHERE slot_type = 'physical' AND NOT active AND pg_is_in_recovery();"
    )


def synchronous_on(host: Host, layout: Layout, names: tuple[str, ...], least: int = 1) -> None:
    """Make the primary wait for one of these standbys at every commit; of more than one for `least`."""
    write_names(host, layout, names, least)
    host.execute("SELECT pg_reload_conf();")


def write_names(host: Host, layout: Layout, names: tuple[str, ...], least: int = 1) -> None:
    """Say whom commits wait for, from the server's next start or reload on; `least` 0: nobody."""
    if not least:
        forget_names(host, layout)
        return
    line = quorum.line(names, least)
    host.run(f"printf '%%s\\n' %s | runuser -u postgres -- tee {layout.synchronous} >/dev/null", line)


def forget_names(host: Host, layout: Layout) -> None:
    """Commits wait for nobody, from the server's next start or reload on. What it commits then exists once: say so."""
    host.run("rm -f %s", layout.synchronous)


def synchronous_off(host: Host, layout: Layout) -> None:
    """Let the primary commit alone. What it commits from now on exists once: say so."""
    host.run(f"rm -f {layout.synchronous}")
    host.execute("SELECT pg_reload_conf();")


def look_for_primary(host: Host) -> None:
    """Let a standby look for its primary anew: of one without power it would go on waiting until its own timeout.

    By signal, since pg_terminate_backend knows sessions only.
    """
    host.run("pkill -TERM -u postgres -f '^postgres: .*walreceiver' || true")


def drop_walsender(host: Host, standby: str) -> None:
    """End the primary's connection to a standby that is gone, instead of waiting for its timeout."""
    host.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = '{standby}';")


# pg_waldump ends with an error where the WAL ends, which is what it is asked to find. Where the segment of the fork is
# gone already, what is left is listed from its first record on, and `incomplete` says so.
_KEEP = """
set -eu
umask 077; mkdir -p {kept}
touch {kept}/commits.txt
cd {data}/pg_wal
for segment in $(ls | grep -E '^[0-9A-F]{{24}}(\\.partial)?$' || true); do
  if [ "$(printf '%s' "$segment" | cut -c1-8)" = {timeline_hex} ] && ! [ "$segment" \\< {first} ]; then
    cp -p "$segment" {kept}/
  fi
done
if [ -e {first} ]; then
  {bin}/pg_waldump --timeline={timeline} --start={fork} --rmgr=Transaction --path=. \\
    > {kept}/commits.txt 2> {kept}/end.txt || true
elif segments=$(ls {kept} | grep -E '^[0-9A-F]{{24}}$'); then
  touch {kept}/incomplete
  {bin}/pg_waldump --rmgr=Transaction --path=. $(printf '%s\\n' "$segments" | sed -n '1p;$p') \\
    > {kept}/commits.txt 2> {kept}/end.txt || true
fi
"""


def keep_fork(
    host: Host, layout: Layout, timeline: int, fork: str, first_segment: str, folder: str, asker: Asker
) -> None:
    """Copy the WAL that only this host has, from the fork on, and list its commits, before a rebuild erases it."""
    script = _KEEP.format(
        kept=folder, data=layout.data, bin=layout.bin, timeline=timeline, fork=fork,
        timeline_hex=f"{timeline:08X}", first=first_segment,
    )  # fmt: skip
    run_long(host, Work(DATA, "keep_fork", ("sh", "-c", script)), asker)


def keep_wal(host: Host, layout: Layout, folder: str, asker: Asker) -> int:
    """Copy all WAL of this host; the bytes it takes."""
    script = (
        'set -e; umask 077; mkdir -p "$1"; cd "$2/pg_wal"; '
        'for segment in *; do test ! -f "$segment" || cp -p "$segment" "$1"/; done; du -sb "$1" | cut -f1'
    )
    return int(run_long(host, Work(DATA, "keep_wal", ("sh", "-c", script, "sh", folder, layout.data)), asker).text)


def forget_kept(host: Host, folder: str) -> None:
    """Remove a copy that turned out to hold no commit."""
    host.run("rm -rf %s", folder)
