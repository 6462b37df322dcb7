"""Whose clock is wrong: hosts that answered and this machine, the most that agree outvoting the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

from runbooks.judge.finding import Finding

SLACK_S = 60.0  # by how much clocks may differ without being wrong
HERE = "this machine"
_DAY_S = 86400.0


def findings(ahead: Mapping[str, float], told: str = "") -> Iterator[Finding]:
    """`ahead`: host -> seconds by which its clock is ahead of this machine's. `told` was said of clocks already."""
    clocks = {HERE: 0.0, **ahead}
    groups = [[other for other in clocks.values() if abs(other - one) <= SLACK_S] for one in clocks.values()]
    most = max(groups, key=len)
    rivals = [group for group in groups if len(group) == len(most) and not set(group) & set(most)]
    truth = 0.0 if rivals else median(most)
    for name, one in clocks.items():
        if abs(one - truth) > SLACK_S and f"of {name} " not in told:
            doubt = ", or this machine's is wrong" if rivals else ""
            yield Finding(f"clock of {name}", f"{_off(one - truth)}{doubt}", "in step", f"`chronyc makestep` on {name}")


def _off(seconds: float) -> str:
    word = "ahead of" if seconds > 0 else "behind"
    size = abs(seconds)
    if size >= 2 * _DAY_S:
        return f"{size / _DAY_S:.1f} d {word} the others"
    return f"{size / 3600:.1f} h {word} the others" if size >= 7200 else f"{size:.0f} s {word} the others"
