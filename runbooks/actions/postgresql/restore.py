"""Bring a backup onto a host that holds no data. The restore runs as a unit of its own: it outlives our connection.

Beside the data directory lies a mark for as long as what is there was only restored: whoever comes again goes on with
it, and nobody mistakes it for data that something else wrote.
"""

from __future__ import annotations

from runbooks.hosts import Host
from runbooks.layout import BLANK, RESTORE_LOG, RESTORE_MARK, RESTORE_UNIT, STANZA, Layout

# Contents, not the directory: it may be a file system of its own.
_CLEAR = """
set -eu
data=%s aside=%s
if test -e %s; then exit 0; fi
if test -e $data/%s; then find $data -mindepth 1 -delete; fi
if test -n "$(ls -A $data 2>/dev/null)"; then
  if test -z "$aside" || test -e "$aside"; then echo "$data holds data, or $aside exists" >&2; exit 1; fi
  mv $data "$aside"
fi
install -d -o postgres -g postgres -m 0700 $data
"""
# Our restore_command is declared in postgresql.conf; the one that pgBackRest writes would hide it for ever.
_JOB = """
set -eu
data=$1 mark=$2 label=$3 stanza=$4
note() {
  printf '{"label": "%s", "state": "%s", "at": %s}\\n' "$label" "$1" "$(date +%s.%N)" >$mark.new
  mv $mark.new $mark
}
note begun
pgbackrest --stanza=$stanza --set=$label --delta --type=standby --process-max="$(nproc)" restore
sed -i -e '/^restore_command/d' -e '/^recovery_target/d' $data/postgresql.auto.conf
note done
"""
_BEGIN = """
set -eu
unit=%s mark=%s label=%s log=%s job=%s data=%s stanza=%s
if systemctl is-active -q $unit; then exit 0; fi
if grep -qs "\\"label\\": \\"$label\\", \\"state\\": \\"done\\"" $mark; then exit 0; fi
systemctl reset-failed $unit 2>/dev/null || true
install -o postgres -g postgres -m 0640 /dev/null $log
rm -f $data/postmaster.pid
systemd-run --quiet --unit=$unit --uid=postgres --gid=postgres --property=WorkingDirectory=/ \\
  --property=StandardOutput=append:$log --property=StandardError=append:$log \\
  /bin/sh -c "$job" sh $data $mark $label $stanza
"""


def clear(host: Host, layout: Layout, aside: str) -> None:
    """Make room for a restore: what a deploy made blank goes, what holds data is renamed to `aside`.

    Raises TargetFailed when there are data and `aside` is empty or taken. Never deletes data.
    """
    host.run(_CLEAR, layout.data, aside, layout.beside(RESTORE_MARK), BLANK, timeout=300)


def begin(host: Host, layout: Layout, label: str) -> None:
    """Start restoring this backup as a standby, unless that runs or is done already; return at once."""
    host.run(
        _BEGIN, RESTORE_UNIT, layout.beside(RESTORE_MARK), label, RESTORE_LOG, _JOB, layout.data, STANZA,
        timeout=20,
    )  # fmt: skip


def stop(host: Host) -> None:
    """End a restore that runs; the next one goes on with what it left."""
    host.run("systemctl stop %s 2>/dev/null || true", RESTORE_UNIT, timeout=60)


def settled(host: Host, layout: Layout) -> None:
    """Take the mark away: from now on the directory holds data."""
    host.run("rm -f %s", layout.beside(RESTORE_MARK))
