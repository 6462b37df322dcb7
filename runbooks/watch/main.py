"""The process that looks: no door, and nothing of what a runbook or a catalogue needs.

    python -m runbooks.watch.main NUMBER        begun by `./dr watch` alone, see handed.py
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from inventories.errors import DrError, ExitCode
from runbooks.engine.signals import ended_by_signal, interruptible
from runbooks.watch import kept
from runbooks.watch.handed import Handed, received
from runbooks.watch.watching import Say, Watching, What

if TYPE_CHECKING:
    from runbooks.watch.kept import Mine

WRITES_EVERY_S = 2.0


def served(handed: Handed, make: Callable[[Handed, Say], Watching]) -> int:
    """Watch until a signal ends it; the exit code, what is wrong having been said."""
    try:
        with interruptible(), kept.held(handed.estate.name, handed.act) as mine:
            watching = make(handed, voice(handed.json))
            with ended_by_signal(watching.interrupt) as over:
                watching.acts = write = writer(mine, watching)
                threading.Thread(target=_writes, args=(write, over), daemon=True).start()
                watching.run(over)
    except DrError as error:
        return _ends(error.render(), error.exit_code)
    except OSError as error:
        return _ends(f"{error.filename or 'a file'}: {error.strerror}.\nHINT: Check its rights and df -h.")
    except KeyboardInterrupt:
        return _ends("Interrupted.", ExitCode.INTERRUPTED)
    return ExitCode.PASSED


def _ends(says: str, code: ExitCode = ExitCode.FAILED) -> int:
    sys.stderr.write(f"{says}\n")
    return code


def writer(mine: Mine, watching: Watching) -> Callable[[], None]:
    """Writes what is seen now; of two threads the later one has looked later, too."""
    turn = threading.Lock()

    def write() -> None:
        with turn:
            mine.write(watching.as_json())

    return write


def _writes(write: Callable[[], None], over: threading.Event) -> None:
    while not over.is_set():
        write()
        over.wait(WRITES_EVERY_S)


def voice(as_json: bool) -> Say:
    """How it tells: for people, or a line of JSON for each thing."""

    def program(what: What, says: str) -> None:
        tell({"at": round(time.monotonic(), 4), "what": str(what), "says": says})

    def people(what: What, says: str) -> None:
        indent = "  " if what == "runbook" else ""
        _write(f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime())} {indent}{says}")

    return program if as_json else people


def tell(told: Mapping[str, object]) -> None:
    _write(json.dumps(told))


def _write(line: str) -> None:
    """In one piece, whichever thread tells it: whoever reads it reads line by line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str]) -> int:
    return served(received(arguments[0]), lambda told, say: Watching(told.estate, told.settings, told.act, say))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
