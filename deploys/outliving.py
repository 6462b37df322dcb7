"""What a deploy starts and what may take hours: a unit of its own, which outlives the deploy that started it.

Named and found like the long work of the runbooks (runbooks/long_work/), which refuse to begin anything beside it.
"""

from __future__ import annotations

from pyinfra.api import QuoteString, StringCommand

FOLDER = "/var/lib/mystocks-dr-work"
# A deploy that was cut off leaves it working: the next one waits for that, and begins it anew unless it ended well.
SCRIPT = f"""
unit=$1 names=$2 user=$3 at=$4
shift 4
folder={FOLDER}/$unit
joined=no
while systemctl is-active $unit | grep -qE '^active$|ing$'; do joined=yes; sleep 1; done
if test $joined = yes && test -e "$folder/well"; then exit 0; fi
listed=$(systemctl list-units --all --plain --no-legend --full 'mystocks-*') || exit 1
other=$(printf '%s\\n' "$listed" | awk '$3 ~ /ing$|^active$/ {{print $1}}' | grep -xE "$names")
if test -n "$other"; then
  echo "$other works here: wait for its end, or systemctl stop $other" >&2
  exit 1
fi
umask 077
rm -rf "$folder"
mkdir -p "$folder"
: >"$folder/out"
echo "test \\"\\$SERVICE_RESULT\\" != success || touch $folder/well" >"$folder/after"
systemd-run --quiet --collect --wait --unit=$unit --uid="$user" --property=WorkingDirectory="$at" \\
  --property="ExecStopPost=+/bin/sh $folder/after" --property=IgnoreSIGPIPE=no \\
  --property=StandardOutput=append:"$folder/out" --property=StandardError=append:"$folder/out" -- "$@"
code=$?
test $code = 0 || tail -n 20 "$folder/out" >&2
exit $code
"""


def outliving(on: str, kind: str, *words: str, user: str = "root", at: str = "/") -> StringCommand:
    """The command that has `words` done on a host; nothing secret may be among them, as they can be read there.

    `on` and `kind` as in runbooks/long_work/.
    """
    unit, names = f"mystocks-{on}-{kind}.service", rf"mystocks-{on}-[a-z0-9_]+\.service"
    # systemd would take each ${...} and $$ for its own.
    given = (unit, names, user, at, *(word.replace("$", "$$") for word in words))
    return StringCommand("sh", "-c", QuoteString(SCRIPT), "sh", *(QuoteString(word) for word in given))
