"""Hold a lease on the backup repository, so that nothing in it expires under a restore, a drill or a proof."""

from __future__ import annotations

from runbooks.hosts import Host

_AGENT = "cd /opt/mystocks-dr && python3 -m agents.jobs.leases"

RESTORE_S = 24 * 3600.0  # longer than a restore takes, which no budget bounds; it is given back in the end


def hold(backup: Host, identity: str, owner: str, why: str, seconds: float, label: str | None = None) -> None:
    """Take the lease `identity`, or prolong it; it ends by itself after `seconds`.

    Choose the backup after this returned: until then it could still expire. Raises DrError.
    """
    chosen, further = (" --label %s", (label,)) if label else ("", ())
    backup.run(
        f"{_AGENT} hold %s --owner %s --why %s --seconds %s{chosen}",
        identity, owner, why, f"{seconds:.0f}", *further, user="postgres", timeout=130,
    )  # fmt: skip


def release(backup: Host, identity: str) -> None:
    """Give the lease back; one that is gone already is no mistake."""
    backup.run(f"{_AGENT} release %s", identity, user="postgres")
