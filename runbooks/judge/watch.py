"""A watch that is declared and does not look: nobody would act while nobody is awake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runbooks.judge.finding import Finding


def findings(watches: Mapping[str, str]) -> Iterator[Finding]:
    """By host systemd's word for its service; a host that does not answer has a finding of its own."""
    for host, word in watches.items():
        if word != "active":
            hint = "./dr watch.start starts it; journalctl -u mystocks-watch there says why it ended"
            yield Finding(f"watch on {host}", word or "unknown", "active", hint)
