"""What drift tells of a server's settings."""

from __future__ import annotations

from typing import Any, cast

from runbooks.hosts import Host
from runbooks.look import drift


class Server:
    """A host whose server read these settings from these files."""

    name = "pg2"

    def query(self, _sql: str) -> list[dict[str, Any]]:
        files = ("/var/lib/postgresql/17/main/postgresql.auto.conf", "/etc/postgresql/17/main/conf.d/50-by-hand.conf")
        return [{"name": "work_mem", "setting": "64MB", "sourcefile": file} for file in files]


def test_a_setting_by_hand_is_a_difference_whatever_file_it_is_in() -> None:
    told = [one.detail for one in drift._altered(cast(Host, Server()))]
    assert told == [
        "pg2: ALTER SYSTEM set work_mem to '64MB'.",
        "pg2: /etc/postgresql/17/main/conf.d/50-by-hand.conf sets work_mem to '64MB'.",
    ]
