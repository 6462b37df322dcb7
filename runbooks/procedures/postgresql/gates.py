"""What must hold before a procedure of PostgreSQL starts: two nodes to choose from, and one that answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed

from inventories.errors import Refused
from runbooks.engine.step import Gate
from runbooks.hosts import Run


def two_nodes(context: Run) -> None:
    """Raises Refused unless there are at least two PostgreSQL hosts to choose from."""
    if len(context.estate.postgres) < 2:
        raise Refused("the inventory has one PostgreSQL host, so there is nothing to fail over to")


TWO_NODES = Gate("two-nodes", "The inventory names at least two PostgreSQL hosts.", two_nodes)


def one_answers(context: Run) -> None:
    """Raises Refused when no PostgreSQL host answers SSH: then there is nothing to work with."""
    hosts = context.estate.postgres
    pool = ThreadPoolExecutor(len(hosts))
    answers = as_completed([pool.submit(host.reachable) for host in hosts])
    found = any(answer.result() for answer in answers)
    pool.shutdown(wait=False)  # the first answer is enough; a dead host is not waited for
    if not found:
        names = ", ".join(f"{host.name} ({host.dialled})" for host in hosts)
        raise Refused(
            f"no PostgreSQL host answers: {names}",
            "check the operator's own network; power the hosts on, then ./dr start-cluster; where they are lost with "
            "their disks, put blank machines in their place in the inventory: ./dr restore-cluster",
        )


ONE_ANSWERS = Gate("one-answers", "At least one PostgreSQL host answers SSH.", one_answers)
