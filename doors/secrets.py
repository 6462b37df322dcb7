"""Secrets of an estate: files outside the repository."""

from invoke.context import Context
from invoke.tasks import task

from doors.support import caller_path, door


@task(help={"file": "path of the new file, such as ~/.config/mystocks-dr/secrets.yaml"})
@door
def make(c: Context, file: str) -> None:
    """Write a file with new random secrets, for you alone.

    An existing file is never replaced: lost keys are lost backups.
    """
    from inventories import secrets

    made = secrets.make(caller_path(file))
    print(f"{made} holds {len(secrets.NAMES)} new secrets. Keep a copy where this machine's end does not reach it.")
