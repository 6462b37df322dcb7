"""Run one of the agents' programs on a host: its JSON, or its sentence and hint in the family of its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from inventories.errors import BadInput, DrError, Interrupted, Refused, TargetFailed
from runbooks.hosts import Host, Ran
from runbooks.long_work.work import Asker, Work, run_long

ROOT = "/opt/mystocks-dr"
_FAMILIES: dict[int, type[DrError]] = {2: BadInput, 3: Refused, 4: Interrupted}


def ask(
    host: Host, module: str, *words: object, timeout: float, user: str = "postgres", stdin: str | None = None,
    verdict: bool = False,
) -> Any:  # fmt: skip
    """The JSON that `python3 -m agents.<module> <words>` prints; raises what `run` raises.

    With `verdict` also the JSON of a program that found something wrong and ended with 1.
    """
    return run(host, module, *words, timeout=timeout, user=user, stdin=stdin, verdict=verdict).json()


def run(
    host: Host, module: str, *words: object, timeout: float, user: str = "postgres", stdin: str | None = None,
    verdict: bool = False,
) -> Ran:  # fmt: skip
    """Run it to its end.

    Raises BadInput (the program ended with 2), Refused (3), Interrupted (4), TargetFailed (anything else), TimedOut,
    Unreachable.
    """
    command = _command(module, words)
    return _told(host, host.run(command, *words, user=user, timeout=timeout, expect=None, stdin=stdin), verdict)


def begin(host: Host, module: str, *words: object, user: str = "postgres") -> None:
    """Have a program ready that does nothing before it has read its input, for a `run` of the same words."""
    host.begin(_command(module, words), *words, user=user)


def _command(module: str, words: tuple[object, ...]) -> str:
    return f"cd {ROOT} && exec python3 -m agents.{module}" + " %s" * len(words)


def work(
    module: str, *words: object, on: str, kind: str, user: str = "postgres", leaves: bool = False,
    silent: str | float = "work.silent", queues_s: float = 0.0, expects: str = "", gives_way: bool = False,
    pace: tuple[str, ...] = (),
) -> Work:  # fmt: skip
    """The program as long work: `on` what and of which `kind`, see there. Nothing secret may be among the words."""
    argv = ("python3", "-m", f"agents.{module}", *map(str, words))
    return Work(on, kind, argv, user, ROOT, leaves, silent, queues_s, expects, gives_way, pace)


def run_work(
    host: Host, wanted: Work, asker: Asker, verdict: bool = False, prepare: Callable[[], None] | None = None
) -> Ran:
    """Run a program as a unit that outlives this connection, and wait for its end; raises what `run` and `run_long` do.

    With `verdict` also the output of a program that found something wrong and ended with 1.
    """
    return _told(host, run_long(host, wanted, asker, expect=None, prepare=prepare), verdict)


def _told(host: Host, ran: Ran, verdict: bool) -> Ran:
    if ran.rc == 0 or (verdict and ran.rc == 1 and _is_json(ran.stdout)):
        return ran
    raise failure(host, ran)


def failure(host: Host, ran: Ran) -> DrError:
    """What an agent that ended badly said last, as an error of ours."""
    lines = [line.strip() for line in ran.stderr.splitlines() if line.strip()]
    hints = [line.removeprefix("HINT:").strip() for line in lines if line.startswith("HINT:")]
    plain = [line for line in lines if not line.startswith("HINT:")] or ["it said nothing"]
    if not hints and (ran.rc == BadInput.exit_code or "No module named" in plain[-1]):
        hints = [f"./dr deploy brings the agents of this version, if {host} has others or none; then repeat"]
    return _FAMILIES.get(ran.rc, TargetFailed)(f"{host}: {plain[-1]}", hints[-1] if hints else "")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
