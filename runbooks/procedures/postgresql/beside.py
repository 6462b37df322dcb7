"""On which host a backup is restored beside production, and how the primary reads it there."""

from __future__ import annotations

from typing import Protocol

from inventories.errors import BadInput, Refused, Unreachable
from runbooks.actions.postgresql import bridge
from runbooks.hosts import Host, Run
from runbooks.probes.postgresql.side import SideCluster


class Placed(Protocol):
    """What knows where its side cluster is."""

    @property
    def primary(self) -> str: ...

    @property
    def side(self) -> str: ...

    @property
    def at(self) -> str: ...


def chosen(context: Run, primary: str, *, swap: bool = False) -> str:
    """The host's name: what was said, else what the inventory says, else the primary's own.

    Only there a side cluster can take the primary's place, which is a rename. Raises BadInput, Unreachable.
    """
    said, declared = context.options.on, str(context.estate.data.get("side_host") or "")
    if swap:
        if said not in ("", primary):
            raise BadInput(f"--swap renames what lies on {primary}'s own disk, not on {said}'s", "leave --on out")
        return primary
    wanted = said or declared or primary
    fit = [host.name for host in (*context.estate.postgres, context.estate.backup)]
    if wanted not in fit:
        raise BadInput(f"{wanted} has no PostgreSQL to restore a backup with", f"--on is one of {', '.join(fit)}")
    if wanted != primary:
        try:
            context.estate.host(wanted).must_answer()
        except Unreachable as error:
            raise Unreachable(str(error), f"--on {primary} restores beside the primary instead") from error
    return wanted


def host_of(context: Run, state: Placed) -> Host:
    return context.estate.host(state.at or state.primary)


def must_be_beside(state: Placed) -> None:
    """Raises Refused for a side cluster on another host than the primary's: no rename brings it over."""
    if state.at not in ("", state.primary):
        raise Refused(
            f"the side cluster {state.side} is on {state.at}, and --swap takes one on {state.primary}",
            f"start afresh, with --swap or --on {state.primary}",
        )


def dropping(state: Placed) -> str:
    """The command that removes it, on the host where it is."""
    return f"cd /opt/mystocks-dr && sudo -u postgres python3 -m agents.postgresql.side.cluster drop --name {state.side}"


def readers(context: Run) -> tuple[tuple[str, str], ...]:
    return tuple((host.name, host.address) for host in context.estate.postgres)


def socket_of(context: Run, state: Placed, there: SideCluster) -> str:
    """The folder of a socket on the primary's host that leads to the side cluster, wherever it is.

    Raises Refused for one that was opened to be looked at where it is: restore-pitr lets nobody in from elsewhere.
    """
    host, primary = host_of(context, state), context.estate.host(state.primary)
    if host == primary:
        return there.socket
    if there.readers is not None and primary.name not in there.readers:
        raise Refused(
            f"the side cluster {state.side} on {host} lets nobody in from {primary}",
            f"its target again, without --from and with --on {host}, opens one that {primary} may read; "
            "what is restored by hand takes --listen and --reader for that",
        )
    return bridge.open_to(primary, state.side, host, there.port)


def leave(context: Run, state: Placed) -> None:
    """The primary reads it no more."""
    host, primary = host_of(context, state), context.estate.host(state.primary)
    if host != primary:
        bridge.close(primary, state.side, host)
