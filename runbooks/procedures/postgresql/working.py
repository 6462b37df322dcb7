"""Before a run begins: whether another one's work goes on where this one would act."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from inventories.errors import DrError, Refused
from runbooks.hosts import Host, Run
from runbooks.long_work.work import Asker, others_work


def nobody_works(context: Run, *ons: str) -> None:
    """Raises Refused while another run works on one of these (`data`, `side-NAME`) on a host that answers.

    Asked before lock and journal, so that the run which is refused overtakes nobody: the one that began the work can be
    resumed. Where nobody can tell, whoever would begin work there refuses by itself.
    """
    # Wherever a side cluster may be; a backup host that does not answer is no reason.
    hosts: Sequence[Host] = (*context.estate.postgres, context.estate.backup)
    asker = Asker.of(context)

    def look(host: Host) -> Refused | None:
        try:
            if host.reachable():
                return next((found for on in ons if (found := others_work(host, on, asker))), None)
        except DrError:
            pass
        return None

    with ThreadPoolExecutor(len(hosts)) as pool:
        found = [refused for refused in pool.map(look, hosts) if refused]
    if found:
        raise found[0]
