"""A watch that is declared and does not look: nobody would act while nobody is awake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbooks.judge.finding import Finding
from runbooks.probes.watch import ACTIVE

_ENDED = "./dr watch.start starts it; journalctl -u mystocks-watch there says why it ended"
_HANGS = "its disk may be full: df -h there; ./dr watch.stop and ./dr watch.start begin it anew"
_UNARMED = "lay it there, or name another program in watch_fence_command and deploy; until then a silent host stays"


def findings(watches: Mapping[str, str]) -> Iterator[Finding]:
    """By host the word for its service; a host that does not answer has a finding of its own."""
    for host, word in watches.items():
        if word != ACTIVE:
            active = word.startswith(ACTIVE)
            hint = _ENDED if not active else _UNARMED if "cannot run" in word else _HANGS
            yield Finding(f"watch on {host}", word or "unknown", ACTIVE, hint)
