"""Several small files and folders in one operation: one question to the host instead of two or three for each.

A text travels on standard input and never through a directory that others can read, so it may hold a secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyinfra import host
from pyinfra.api import FactBase, QuoteString, StringCommand, operation
from pyinfra.api.util import get_template

from deploys.estate import template


@dataclass(frozen=True)
class Place:
    """What is to be at a path. `owner` is the group too where no `group` is named; `text` None: any content, empty
    where there is no file.
    """

    path: str
    mode: str
    owner: str = "root"
    text: str | None = field(default=None, repr=False)
    folder: bool = False
    group: str = ""

    @property
    def team(self) -> str:
        return self.group or self.owner

    @property
    def facts(self) -> tuple[str, ...]:
        """As the fact `Placed` tells it, the content left out where it does not matter."""
        known = ("directory" if self.folder else "regular", self.mode.lstrip("0"), self.owner, self.team)
        return known if self.text is None else (*known, hashlib.sha256(self.text.encode()).hexdigest())


def folder(path: str, mode: str, owner: str = "root") -> Place:
    return Place(path, mode, owner, folder=True)


def rendered(component: str, name: str, **values: Any) -> str:
    """The text of a template; an undefined name is an error."""
    return str(get_template(template(component, name)).render(**values))


class Placed(FactBase[dict[str, tuple[str, ...]]]):
    """Path -> kind, mode, user, group and, of a file, the SHA-256 of its content; what is not there is left out."""

    default = dict

    def command(self, paths: tuple[str, ...]) -> StringCommand:
        script = (
            'for p in "$@"; do if [ -e "$p" ]; then '
            'sum=$([ -f "$p" ] && sha256sum <"$p" | cut -c1-64); stat -L -c "%n|%F|%a|%U|%G|$sum" "$p"; fi; done'
        )
        return StringCommand("sh", "-c", QuoteString(script), "sh", *map(QuoteString, paths))

    def process(self, output: Iterable[str]) -> dict[str, tuple[str, ...]]:
        found = {}
        for line in output:
            path, kind, *known = line.strip().split("|")
            found[path] = (kind.split()[0], *known)  # "regular file", "regular empty file"
        return found


@operation()
def placed(places: Sequence[Place]) -> Generator[StringCommand, None, None]:
    """Put every folder and file where it belongs, with its owner, mode and content. Folders come before their files."""
    there = host.get_fact(Placed, paths=tuple(place.path for place in places))
    wrong = [place for place in places if there.get(place.path, ())[: len(place.facts)] != place.facts]
    if not wrong:
        host.noop("all of it is in its place")
    for place in wrong:
        yield _put(place, there=place.path in there)


def _put(place: Place, there: bool) -> StringCommand:
    shape = ("-o", place.owner, "-g", place.team, "-m", place.mode)
    path = QuoteString(place.path)
    if place.folder:
        return StringCommand("install", "-d", *shape, path)
    if place.text is None:
        if there:
            change = f'chown {place.owner}:{place.team} "$1" && chmod {place.mode} "$1"'
            return StringCommand("sh", "-c", QuoteString(change), "sh", path)
        return StringCommand("install", *shape, "/dev/null", path)
    replace = f'install {" ".join(shape)} /dev/stdin "$1.new" && mv "$1.new" "$1"'
    return StringCommand("sh", "-c", QuoteString(replace), "sh", path, _stdin=place.text)
