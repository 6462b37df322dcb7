"""What the key of a watch's service may do: enough to fail over, from its own host, and no more."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from inventories.errors import BadInput, DrError, Refused, Unreachable
from runbooks.hosts import Estate, Host

_ASK = "id -u; sudo -n id -u 2>/dev/null || echo none; cat ~/.ssh/authorized_keys 2>/dev/null"
_DEPLOY = "./dr deploy, from the operator's machine, puts it right"
_ANSWER_S = 10.0
# Whatever more stood there would be let through, or would take back what `restrict` forbids.
_OPTIONS = re.compile(r'restrict,from="([0-9A-Fa-f.:]+)" ssh-')


def require_key(estate: Estate) -> None:
    """Before anybody is asked. Raises BadInput for a key that is not there, or that others can read."""
    for host in estate.hosts:
        named = host.entry.ssh_key
        if not named:
            raise BadInput(f"the watch has no key of its own to reach {host} with", _DEPLOY)
        path = Path(named).expanduser()
        if not path.is_file():
            raise BadInput(f"the watch's key {path} is not there", _DEPLOY)
        if path.stat().st_mode & 0o077:
            raise BadInput(f"the watch's key {path} can be read by others", f"chmod 600 {path}")
        if host.entry.ssh_user == "root":
            raise BadInput(f"the watch logs in to {host} as root: too many rights, and no name of its own", _DEPLOY)


def require(estate: Estate) -> tuple[str, ...]:
    """Raises Refused where the key may less, or more, than a failover needs. Names the hosts that did not answer.

    One that is away now, as the primary may be, is not waited for.
    """
    with ThreadPoolExecutor(len(estate.hosts)) as pool:
        found = list(pool.map(_look, estate.hosts))
    for wrong in found:
        if isinstance(wrong, Refused):
            raise wrong
    return tuple(away for away in found if isinstance(away, str))


def _look(host: Host) -> Refused | str | None:
    try:
        said = host.run(_ASK, user=host.entry.ssh_user, timeout=_ANSWER_S).stdout.splitlines()
    except Unreachable as error:
        if "Permission denied" in str(error):
            return Refused(f"{host} does not let the watch's key in, so it could not act there", _DEPLOY)
        return host.name
    except DrError as error:
        if "sudo" in str(error):
            return Refused(f"{error}: too few rights to fence and to promote", _DEPLOY)
        return host.name
    return judged(host.name, said[0] if said else "", said[1] if len(said) > 1 else "", said[2:])


def judged(host: str, user: str, by_sudo: str, keys: Sequence[str]) -> Refused | None:
    """What an account may do by its user id, that of its sudo, and the lines that let it in."""
    if user == "0":
        return Refused(f"the watch's key is root's own on {host}: too many rights", _DEPLOY)
    if by_sudo.strip() != "0":
        return Refused(f"the watch may not become root on {host}, which fencing and promoting take", _DEPLOY)
    lines = [line for line in keys if line.strip() and not line.startswith("#")]
    if not lines:
        return Refused(f"nobody can tell what lets the watch in on {host}", _DEPLOY)
    for line in lines:
        if not _OPTIONS.match(line):
            return Refused(
                f"the watch's key opens {host} from everywhere or for more than commands: too many rights", _DEPLOY
            )
    return None
