"""Bring a backup onto a host that holds no data. The restore runs as a unit of its own: it outlives our connection.

Beside the data directory lies a mark for as long as what is there was only restored: whoever comes again goes on with
it, and nobody mistakes it for data that something else wrote.
"""

from __future__ import annotations

from runbooks.hosts import Host
from runbooks.layout import BLANK, DATA, RESTORE_MARK, STANZA, Layout
from runbooks.long_work.work import Asker, Work, begin_long, require_idle, run_long

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
if grep -qs "\\"label\\": \\"$label\\", \\"state\\": \\"done\\"" $mark; then exit 0; fi
note() {
  printf '{"label": "%s", "state": "%s", "at": %s}\\n' "$label" "$1" "$(date +%s.%N)" >$mark.new
  mv $mark.new $mark
}
note begun
rm -f $data/postmaster.pid
pgbackrest --stanza=$stanza --set=$label --delta --type=standby --process-max="$(nproc)" restore
sed -i -e '/^restore_command/d' -e '/^recovery_target/d' $data/postgresql.auto.conf
note done
"""


def clear(host: Host, layout: Layout, aside: str, asker: Asker) -> None:
    """Make room for a restore: what a deploy made blank goes, what holds data is renamed to `aside`.

    Raises TargetFailed when there are data and `aside` is empty or taken, Refused while another run works on them.
    Never deletes data.
    """
    require_idle(host, DATA, asker)
    host.run(_CLEAR, layout.data, aside, layout.beside(RESTORE_MARK), BLANK, timeout=300)


def _work(layout: Layout, label: str, expects: str = "") -> Work:
    argv = ("sh", "-c", _JOB, "sh", layout.data, layout.beside(RESTORE_MARK), label, STANZA)
    return Work(DATA, "restore", argv, expects=expects)


def begin(host: Host, layout: Layout, label: str, asker: Asker, expects: str = "") -> None:
    """Start restoring this backup as a standby, unless this run has; return at once. What is done is not done again."""
    begin_long(host, _work(layout, label, expects), asker)


def finish(host: Host, layout: Layout, label: str, asker: Asker) -> None:
    """Have it restored, and wait for its end. Raises TargetFailed with pgBackRest's reason."""
    run_long(host, _work(layout, label), asker)


def settled(host: Host, layout: Layout) -> None:
    """Take the mark away: from now on the directory holds data."""
    host.run("rm -f %s", layout.beside(RESTORE_MARK))
