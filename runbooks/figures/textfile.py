"""The file that node exporter's textfile collector reads: replaced whole, and nothing waits for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inventories.errors import BadInput, TargetFailed
from runbooks.figures.kinds import Reading
from runbooks.files import put

SUFFIX = ".prom"  # the collector reads no other file
_HINT = "name a file of the folder that node exporter's --collector.textfile.directory names"


def require_name(path: Path) -> None:
    """Raises BadInput for a name that the collector would never read."""
    if path.suffix != SUFFIX:
        raise BadInput(f"{path} does not end in {SUFFIX}, so node exporter would never read it", _HINT)


def require(path: Path) -> None:
    """Raises BadInput for what the collector would never read."""
    require_name(path)
    if not path.parent.is_dir():
        raise BadInput(f"{path.parent} is no folder", _HINT)


def write(path: Path, exposition: str) -> None:
    """Readable for everybody: a scrape sees the old figures or the new. Raises TargetFailed."""
    try:
        put(path, exposition, 0o644)  # node exporter runs as a user of its own
    except OSError as error:
        hint = "df -h, and the rights of its folder"
        raise TargetFailed(f"{path} cannot be written: {error.strerror}", hint) from error


class Told:
    """Writes each look's figures. What keeps it from that is said once, and keeps no alarm from being raised: figures
    that grow old are an alarm of Prometheus' own.
    """

    def __init__(self, path: Path, estate: str, say: Callable[[str], None]) -> None:
        self._path, self._estate, self._say = path, estate, say
        self._failed = ""

    def __call__(self, reading: Reading) -> None:
        try:
            from runbooks.figures import exposition  # whose library an alarming host may lack

            write(self._path, exposition.text(self._estate, reading))
            self._failed = ""
        except Exception as error:  # of whatever kind: the alarms come first
            if str(error) != self._failed:
                self._failed = str(error)
                self._say(f"WARNING: no figures are told to Prometheus: {error}")
