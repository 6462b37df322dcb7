"""What runs on the host: look at a unit, begin one, read what it left. All of a work lies in one folder of root's.

`begun` says on whose behalf (JSON), `boot` and `uptime` since when, `out` and `err` are what the program says, `ended`
is how it ended, written by systemd whatever happened; `taken` is the same, once the run has heard of it.
"""

from __future__ import annotations

FOLDER = "/var/lib/mystocks-dr-work"
# A host on which systemd does not answer can tell nothing, and must not keep the one who asks.
_ASK = "timeout 10 systemctl"
# Least of processor and disk wherever somebody else wants them, told to systemd for control groups, where the host has
# them, and to the kernel for each process: a server that is left behind keeps the latter.
SHARES = "--property=CPUWeight=1 --property=IOWeight=1"
MANNERS = f"{SHARES} --property=Nice=19 --property=IOSchedulingClass=idle"
BUSY, SILENT, ALIVE, TAKEN = 75, 76, 77, 78  # how BEGIN ends when it began nothing
TRANSIENT = "/run/systemd/transient"

# Whether a unit is alive is asked of systemd and of the kernel: a process that no signal ends, because it waits for a
# disk, outlives its unit. Names are told by a whole pattern: what works on side-a is none of side-a-b's.
_WHO = f"""
names=$1
listed=$({_ASK} list-units --all --plain --no-legend --full 'mystocks-*') || exit {SILENT}
alive=$(printf '%s\\n' "$listed" | awk '$3 ~ /ing$|^active$|^maintenance$/ {{print $1}}')
alive="$alive $(grep -hoE '/mystocks-[a-z0-9_.-]+\\.service' /proc/[0-9]*/cgroup 2>/dev/null | cut -c2-)"
alive=$(printf '%s\\n' $alive | grep -xE "$names" | sort -u)
"""
# Waits a little for the end by itself: a question a second is enough, and the answer comes at once.
LOOK = f"""
unit=$2 patience=$3
{_WHO}
turn=0
while test $turn -lt $patience && printf '%s\\n' $alive | grep -qxF "$unit" && ! test -e {FOLDER}/$unit/ended; do
  sleep 0.1; turn=$((turn + 1))
done
test $turn = 0 || {{
{_WHO}
}}
echo "alive $(echo $alive)"
test -z "$alive" || printf '%s\\n' $alive | grep -qxF "$unit" || unit=$(echo $alive | cut -d' ' -f1)
cd {FOLDER}/$unit 2>/dev/null || exit 0
# By printf: an echo of sh takes a backslash for a sign of its own.
printf 'begun %s\\n' "$(cat begun 2>/dev/null)"
printf 'ended %s\\n' "$(cat ended 2>/dev/null)"
test ! -e taken || echo "taken yes"
test "$(cat boot 2>/dev/null)" = "$(cat /proc/sys/kernel/random/boot_id)" && echo "boot same"
echo "age $(awk -v since="$(cat uptime 2>/dev/null || echo 0)" '{{print $1 - since}}' /proc/uptime)"
pids=$(grep -lsF "/$unit" /proc/[0-9]*/cgroup | sed 's,/cgroup$,,; s,.*/,,')
for pid in $pids; do cat /proc/$pid/io /proc/$pid/stat 2>/dev/null; done | awk '
  /^[rw]char:/ {{bytes += $2}}
  /^[0-9]+ \\(/ {{sub(/^.*\\) /, ""); ticks += $12 + $13 + $14 + $15}}
  END {{printf "bytes %.0f\\nticks %.0f\\n", bytes, ticks}}'
printf 'last %s\\n' "$(tail -n1 err | cut -c1-200)"
"""
# Everything that works, whatever on, with what its begun says.
LIST = f"""
set -- 'mystocks-.+\\.service'
{_WHO}
for unit in $alive; do
  test ! -e {FOLDER}/$unit/begun || printf '%s %s\\n' "$unit" "$(cat {FOLDER}/$unit/begun)"
done
"""
# In the folder, run by systemd when the unit is over, however that came.
AFTER = """
cd "$(dirname "$0")" || exit 1
worked=$(awk -v since="$(cat uptime)" '{print $1 - since}' /proc/uptime)
echo "$SERVICE_RESULT $EXIT_CODE $EXIT_STATUS $worked" >ended.new
sync ended.new
mv ended.new ended
"""
# systemd begins nothing under a name that it has loaded, and it keeps one that has ended, whoever stopped it, for as
# long as another unit refers to it. Its own file of such a unit is taken away; a file or a mask of somebody's is not.
FREE = f"""
systemctl reset-failed $unit 2>/dev/null
turn=0
while {_ASK} show --property=LoadState --value $unit | grep -qE '^(loaded|masked|bad-setting|error)$'; do
  file=$({_ASK} show --property=FragmentPath --value $unit)
  test "$file" = {TRANSIENT}/$unit || {{
    echo "systemd has $unit by ${{file:-a mask}}, which is not ours" >&2
    exit {TAKEN}
  }}
  test $turn -lt 10 || {{
    rm -rf "$file" "$file.d"
    systemctl daemon-reload
    break
  }}
  turn=$((turn + 1))
  sleep 0.1
done
"""
# Under a lock, so that two who looked at the same moment do not both begin.
BEGIN = f"""
umask 077
mkdir -p {FOLDER}
exec 9>{FOLDER}/lock
flock -w 15 9 || exit {BUSY}
unit=$2 user=$3 at=$4 begun=$5 after=$6 manners=$7
{_WHO}
test -z "$alive" || {{ echo $alive; exit {ALIVE}; }}
{FREE}
folder={FOLDER}/$unit
rm -rf $folder
# What is not noted would be nobody's: on a full disk nothing is begun.
mkdir $folder &&
  printf '%s\\n' "$begun" >$folder/begun &&
  printf '%s' "$after" >$folder/after &&
  cat /proc/sys/kernel/random/boot_id >$folder/boot &&
  cut -d' ' -f1 /proc/uptime >$folder/uptime &&
  true >$folder/out >$folder/err &&
  sync $folder/begun $folder/boot || {{ rm -rf $folder; exit 1; }}
shift 7
exec systemd-run --quiet --collect $manners --unit=$unit --uid="$user" --property=WorkingDirectory="$at" \\
  --property=KillMode=control-group --property=IgnoreSIGPIPE=no --property="ExecStopPost=+/bin/sh $folder/after" \\
  --property=StandardOutput=append:$folder/out --property=StandardError=append:$folder/err -- "$@"
"""
# In the folder, run in a scope of its own, which every process that is named joins, and which lives as long as they do.
_MOVE = """
for line in $(grep -E '^0::|:name=systemd:' /proc/self/cgroup); do
  case $line in *name=systemd*) base=/sys/fs/cgroup/systemd ;; *) base=/sys/fs/cgroup ;; esac
  test -e $base/cgroup.procs || base=/sys/fs/cgroup/unified
  for pid in "$@"; do echo $pid >"$base/${line##*:}/cgroup.procs"; done 2>/dev/null
done
true
"""
# Around a program that starts a server which is to live on: with the unit all of its control group ends, so the server
# is given one of its own once the program has succeeded. Run as root, because only root may.
LEAVE = f"""
unit=$1 user=$2 shares=$3
shift 3
runuser -u "$user" -- "$@"
code=$?
test $code = 0 || exit $code
cat >{FOLDER}/$unit/move <<'move'
{_MOVE}
move
turn=0
while test $turn -lt 20; do
  set --
  for pid in $(grep -lsF "/$unit" /proc/[0-9]*/cgroup | sed 's,/cgroup$,,; s,.*/,,'); do
    test $pid = $$ || ! test -e /proc/$pid/io || set -- "$@" $pid
  done
  test $# -gt 0 || exit 0
  systemd-run --quiet --scope $shares --unit=mystocks-left-$$-$turn.scope /bin/sh {FOLDER}/$unit/move "$@" >&2
  turn=$((turn + 1))
  sleep 0.1
done
echo "the server that it started cannot be given a control group of its own" >&2
exit 1
"""
READ = f"tail -c 16777216 {FOLDER}/%s/out; tail -c 65536 {FOLDER}/%s/err >&2"
TAKE = f"mv {FOLDER}/%s/ended {FOLDER}/%s/taken"
STOP = "systemctl stop %s"
