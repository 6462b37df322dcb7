"""A host in a folder: the scripts really run, beside a systemd of a few lines that keeps units as files."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from inventories.errors import TargetFailed, Unreachable
from inventories.inventory import HostEntry
from runbooks.hosts import Host, Ran
from runbooks.long_work import scripts

# Units are files that hold the process group; what systemd would do around a process is done by a shell.
_SYSTEMCTL = r"""#!/bin/sh
case $1 in
  is-active) test ! -e $UNITS/$2 || echo active; test -e $UNITS/$2; exit ;;
  list-units)
    test ! -e $UNITS/../silent || exit 1
    for last in "$@"; do :; done
    cd $UNITS && for unit in $last; do test ! -e "$unit" || echo "$unit loaded active running a unit"; done; exit 0 ;;
  show)
    loaded=$UNITS/../loaded/$4
    test -e "$loaded" || exit 0
    case $2 in *LoadState) echo loaded ;; *) cat "$loaded" ;; esac ;;
  daemon-reload) for one in $UNITS/../loaded/*; do test -e "$(cat "$one")" || rm "$one"; done ;;
  stop) while test -e $UNITS/$2; do kill -TERM -$(cat $UNITS/$2) 2>/dev/null; sleep 0.02; done ;;
esac
"""
_SYSTEMD_RUN = r"""#!/bin/bash
# Processes that are given a scope of their own leave the unit's control group.
if test "$2" = --scope; then
  while test "$1" != /bin/sh; do
    case $1 in --property=*Weight=*) echo "scope ${1#--property=}" >>$UNITS/../manners ;; esac
    shift
  done
  shift 2
  for pid; do echo $pid >>$UNITS/../moved; rm -r $UNITS/../proc/$pid; done
  exit 0
fi
while test "$1" != --; do
  case $1 in
    --wait) waits=yes ;;
    --unit=*) unit=${1#--unit=} ;;
    --property=Nice=*|--property=IOSchedulingClass=*|--property=*Weight=*)
      echo "unit ${1#--property=}" >>$UNITS/../manners ;;
    --property=ExecStopPost=*) after=${1#--property=ExecStopPost=+} ;;
    --property=StandardOutput=append:*) out=${1#--property=StandardOutput=append:} ;;
    --property=StandardError=append:*) err=${1#--property=StandardError=append:} ;;
  esac
  shift
done
shift
for word; do case ${word//\$\$/} in *\$*) echo "systemd would expand $word" >&2; exit 1 ;; esac; done
set -- "${@//\$\$/\$}"
test ! -e $UNITS/$unit || exit 1
test ! -e $UNITS/../loaded/$unit || { echo "Unit $unit was already loaded or has a fragment file." >&2; exit 1; }
rm -f $UNITS/../started
: >$UNITS/$unit
echo "$unit" >>$UNITS/../begun
{
  setsid "$@" >>$out 2>>$err </dev/null &
  echo $! >$UNITS/$unit
  : >$UNITS/../started
  wait $!
  code=$?
  echo $code >$UNITS/../code
  if test $code -gt 128; then
    export SERVICE_RESULT=signal EXIT_CODE=killed EXIT_STATUS=$(kill -l $code)
  elif test $code = 0; then
    export SERVICE_RESULT=success EXIT_CODE=exited EXIT_STATUS=0
  else
    export SERVICE_RESULT=exit-code EXIT_CODE=exited EXIT_STATUS=$code
  fi
  test -e $UNITS/../powerless || $after
  grep -lsF "/$unit" $UNITS/../proc/*/cgroup | xargs -r dirname | xargs -r rm -r
  rm $UNITS/$unit
} >/dev/null 2>&1 9>&- &
until test -e $UNITS/../started; do sleep 0.01; done
test -n "$waits" || exit 0
while test -e $UNITS/$unit; do sleep 0.01; done
exit $(cat $UNITS/../code)
"""
_RUNUSER = """#!/bin/sh
shift 3
if test -e $UNITS/../server; then mv $UNITS/../server $UNITS/../proc; fi
exec "$@"
"""


@dataclass
class Machine:
    """Where the commands of a host end up. `away`: SSH fails; `looks`: how often it was asked."""

    folder: Path
    away: bool = False
    ran: list[str] = field(default_factory=list)

    @property
    def host(self) -> Host:
        return Host("pg1", HostEntry(name="pg1", ssh_hostname="192.0.2.11"), Path("/nowhere"))

    @property
    def begun(self) -> list[str]:
        """Every unit that was begun, in order."""
        path = self.folder / "begun"
        return path.read_text().splitlines() if path.exists() else []

    def left(self, unit: str) -> Path:
        return self.folder / "work" / unit

    def process(self, pid: int, unit: str, moved: int, ticks: int) -> None:
        """What the kernel says of one process of a unit: bytes read and written, and time used."""
        folder = self.folder / "proc" / str(pid)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup").write_text(f"0::/system.slice/{unit}\n")
        (folder / "io").write_text(f"rchar: {moved}\nwchar: {moved}\nsyscr: 7\nread_bytes: 4096\n")
        (folder / "stat").write_text(f"{pid} (pg (re) wind) S 1 1 1 0 -1 4194560 1 2 3 4 {ticks} {ticks} 0 0 20 0\n")

    def server(self, pid: int, unit: str) -> None:
        """What the program of the unit will have started when it is over."""
        self.process(pid, unit, 0, 0)
        (self.folder / "proc").rename(self.folder / "server")

    @property
    def moved(self) -> list[str]:
        """Processes that were given a control group of their own."""
        path = self.folder / "moved"
        return path.read_text().split() if path.exists() else []

    def power_cut(self, unit: str) -> None:
        """It ends without a word, and its boot was another one."""
        (self.folder / "powerless").touch()
        self.stop(unit)
        (self.left(unit) / "boot").write_text("an earlier one\n")

    def keeps_loaded(self, unit: str, by: Path | None = None) -> Path:
        """systemd knows the name, though nothing works under it: by the file of its own that it made, or by another."""
        path = by or self.folder / "transient" / unit
        path.parent.mkdir(exist_ok=True)
        path.write_text("[Service]\n")
        (self.folder / "loaded").mkdir(exist_ok=True)
        (self.folder / "loaded" / unit).write_text(f"{path}\n")
        return path

    def stop(self, unit: str) -> None:
        subprocess.run(["systemctl", "stop", unit], env=self.environment(), check=True)

    def hang(self, hangs: bool = True) -> None:
        """systemd does not answer."""
        if hangs:
            (self.folder / "silent").touch()
        else:
            (self.folder / "silent").unlink()

    def run(self, command: str, *args: object, expect: int | None = 0, **_: object) -> Ran:
        if self.away:
            raise Unreachable("pg1 (192.0.2.11:22) cannot be reached over SSH: timed out")
        text = command % tuple(shlex.quote(str(arg)) for arg in args) if args else command
        self.ran.append(text)
        started = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", self.here(text)], env=self.environment(), capture_output=True, text=True, check=False
        )
        if expect is not None and done.returncode != expect:
            raise TargetFailed(f"pg1: ended with {done.returncode}: {done.stderr}")
        return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - started)

    def here(self, text: str) -> str:
        """The same command for this folder instead of a host's root."""
        text = text.replace(scripts.FOLDER, str(self.folder / "work"))
        text = text.replace(scripts.TRANSIENT, str(self.folder / "transient"))
        for ours in ("/proc/[0-9]*", "/proc/$pid", "/proc/$$pid"):
            text = text.replace(ours, f"{self.folder}{ours}")
        return text

    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}", "UNITS": str(self.folder / "units")}


_PROGRAMS = {"systemctl": _SYSTEMCTL, "systemd-run": _SYSTEMD_RUN, "runuser": _RUNUSER}


def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """One that every Host of the test is."""
    for name, text in _PROGRAMS.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "units").mkdir()
    there = Machine(tmp_path)
    monkeypatch.setattr(Host, "run", lambda _, *args, **more: there.run(*args, **more))
    return there
