"""Ask the archive ahead of a promotion for what the server will ask it for, so that it need not wait for the answers.

A promotion asks for the segment that it ends in, for the next timeline's history and for its own, one after the other,
a login at the repository each. Asked once nobody archives any more (the old primary is fenced), the answers are the
same a moment later; restore_command believes them for five seconds, and no answer of the future,
which a clock that was set back leaves.
"""

from __future__ import annotations

from runbooks.hosts import Host
from runbooks.layout import ASKED, STANZA

# An archive that cannot be asked leaves no answer, and no file that is there in part bears its name. Somebody who asked
# before and has no answer yet (a run that was killed) writes by another name, and hands over nothing: the folder where
# that shell works is gone. What nobody believes any more goes, since it takes memory.
_ASK = """
read -r word && test "$word" = go || exit 0
umask 077
rm -rf "$0" && mkdir "$0" && cd "$0" || exit 1
stanza=$1; shift
for name; do
  (
    part=".$name.$$"
    pgbackrest --stanza="$stanza" --io-timeout=5 archive-get "$name" "$0/$part" >/dev/null 2>&1
    case $? in 0) touch "$part" && mv "$part" "$name" ;; 1) : >"$name.absent" ;; esac
  ) &
done
wait
(sleep 10; rm -f ./* ./.[!.]*) </dev/null >/dev/null 2>&1 &
"""


def ahead(host: Host, names: tuple[str, ...], timeout: float) -> None:
    """Ask for all of these at once. Only after the fence: what comes into the archive later would not be seen."""
    host.run(*_words(names), user="postgres", stdin="go\n", timeout=timeout)


def begin(host: Host, names: tuple[str, ...]) -> None:
    """Have it ready for `ahead` with these very names."""
    host.begin(*_words(names), user="postgres")


def _words(names: tuple[str, ...]) -> tuple[str, ...]:
    return "sh -c %s %s %s" + " %s" * len(names), _ASK, ASKED, STANZA, *names
