"""One question tells how full the disks are and what the host's clock says."""

from __future__ import annotations

import time
from typing import Any

import pytest

from inventories.errors import TargetFailed
from runbooks.hosts import Ran
from runbooks.probes import disk

DF = "/ 1000 400\n/var/lib/pgbackrest 2000 100\n/ 1000 400\n"


class Fake:
    """A host whose clock is so many seconds ahead."""

    def __init__(self, ahead: float, says: str = "") -> None:
        self.ahead, self.says, self.asked = ahead, says, ""

    def run(self, command: str, *words: object, **_: Any) -> Ran:
        self.asked = command
        assert command.count("%s") - command.count("%%s") == len(words)
        said = f"{self.says or time.time() + self.ahead}\n" if "date" in command else ""
        return Ran(0, said + DF, "", 0.0)


def test_a_host_tells_its_time_with_its_disks() -> None:
    host = Fake(90.0)
    disks, ahead = disk.with_clock(host, ("/", "/var/lib/pgbackrest"))  # type: ignore[arg-type]
    assert ahead == pytest.approx(90.0, abs=2.0)
    assert [one.mount for one in disks] == ["/", "/var/lib/pgbackrest"]
    assert disk.look(host, ("/",)) != ()  # type: ignore[arg-type]
    assert "date" not in host.asked


def test_what_is_no_time_is_said() -> None:
    with pytest.raises(TargetFailed, match="does not say what time it is: 'bash: date"):
        disk.with_clock(Fake(0, "bash: date: not found"), ("/",))  # type: ignore[arg-type]
