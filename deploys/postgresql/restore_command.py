"""restore_command: how a server asks the archive for a WAL segment or a history file."""

from __future__ import annotations

ASKED = "/run/postgresql/mystocks-asked"  # what runbooks/actions/postgresql/asking.py has asked for
# An answer that is older is asked for anew, and so is one of the future, which a clock that was set back leaves.
FRESH, FUTURE = "-5 seconds", "1 second"


def restore_command(repository: str, stanza: str) -> str:
    """Take the answer that a failover got a moment ago; else knock first, then ask.

    A promotion asks the archive several times, one after the other, a start about as often, and each silence adds up.
    To PostgreSQL an archive that does not answer and one that does not have the file are the same.
    """
    fresh = f'find "$1" -newermt "{FRESH}" ! -newermt "{FUTURE}" 2>/dev/null | grep -q .'
    knock = f'timeout 0.3 bash -c "exec 3<>/dev/tcp/{repository}/8432" 2>/dev/null'
    return (
        f"fresh() {{ {fresh}; }}; "
        f'if fresh {ASKED}/%f.absent; then exit 1; elif fresh {ASKED}/%f; then exec cp {ASKED}/%f "%p"; fi; '
        f'{knock} && pgbackrest --stanza={stanza} --io-timeout=5 archive-get %f "%p"'
    )
