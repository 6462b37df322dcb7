"""A container engine's program as a script: it records its calls and answers from files."""

import json
import shlex
from pathlib import Path

from lab.engine import Engine, Kind

_SCRIPT = """#!/bin/sh
printf '%s\\n' "$*" >>{calls}
for answer in {answers}/*; do
  [ -e "$answer" ] || break
  case "$*" in "$(cat "$answer/when")"*)
    cat "$answer/out"; cat "$answer/err" >&2; exit "$(cat "$answer/code")" ;;
  esac
done
exit 0
"""


class FakeEngine:
    """``engine`` is for the code under test; ``answer`` prepares, ``calls`` tells what was asked."""

    def __init__(self, folder: Path, kind: Kind = Kind.PODMAN) -> None:
        self._answers = folder / "answers"
        self._answers.mkdir(parents=True)
        self._calls = folder / "calls"
        program = folder / kind.value
        program.write_text(
            _SCRIPT.format(calls=shlex.quote(str(self._calls)), answers=shlex.quote(str(self._answers)))
        )
        program.chmod(0o755)
        self.engine = Engine(kind, (str(program),))

    def answer(self, when: str, out: object = "", err: str = "", code: int = 0) -> None:
        """Answer calls that start with ``when``; what is not text goes out as JSON. The first wins."""
        folder = self._answers / f"{len(list(self._answers.iterdir())):03}"
        folder.mkdir()
        text = out if isinstance(out, str) else json.dumps(out)
        for name, value in (("when", when), ("out", text), ("err", err), ("code", str(code))):
            (folder / name).write_text(value)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []
