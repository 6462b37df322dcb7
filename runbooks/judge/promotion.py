"""What `status` says of the next promotion of each standby, before anybody needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runbooks.judge.finding import Finding
from runbooks.probes.postgresql.promotion import Hindrance, Outlook
from runbooks.probes.postgresql.server import Node

_DEPLOY = "./dr deploy puts the program there that tells; a server that hangs is seen in its log"


def findings(
    nodes: Sequence[Node], outlooks: Mapping[str, Outlook], unknown: Mapping[str, str]
) -> Iterator[Finding]:
    """A standby of which nobody can tell is told as well: silence is no promise."""
    for node in nodes:
        if node.host.entry.delay_s:
            continue  # never promoted
        outlook = outlooks.get(node.name)
        if outlook is not None:
            for one in outlook.hindrances:
                yield Finding(f"promotion of {node.name}" if outlook.standby else "promotion of a standby",
                              f"{one.measured} ({costs(one)})", one.limit, one.hint)  # fmt: skip
        elif node.is_standby:
            why = unknown.get(f"promotion of {node.name}", "nobody asked")
            yield Finding(f"promotion of {node.name}", f"nobody can tell: {why}", "nothing delays it", _DEPLOY)


def costs(one: Hindrance) -> str:
    """What it would do to a promotion, in words."""
    if one.stops:
        return "stops it"
    if one.seconds is None:
        return "nobody can tell for how long"
    return f"about {one.seconds:.1f} s" if one.seconds else "no delay"
