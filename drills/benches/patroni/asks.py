"""What Patroni and its etcd say of themselves, by their own HTTP interfaces."""

from __future__ import annotations

import base64
import http.client
import json
from dataclasses import dataclass
from typing import Any

from drills.benches.patroni.setup import ETCD, NODES, REST, STORE, Pace
from inventories.errors import TargetFailed
from lab.state import LabState

_ANSWER_S = 5.0
MAY_LAG = 2**20  # bytes; Patroni's own default of what one may lack that is promoted
Json = dict[str, Any]


@dataclass(frozen=True)
class Roles:
    """Who leads, and who streams from it."""

    leader: str
    standby: str


def ask(address: str, port: int, path: str, method: str = "GET", body: Json | None = None) -> Json:
    """One request. Raises TargetFailed for no answer, and for one that is none."""
    line = http.client.HTTPConnection(address, port, timeout=_ANSWER_S)
    try:
        line.request(method, path, None if body is None else json.dumps(body))
        answer = line.getresponse()
        text = answer.read()
        said = json.loads(text) if answer.status == http.client.OK else None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise TargetFailed(f"{address}:{port}{path} gives no answer: {error}") from error
    finally:
        line.close()
    if not isinstance(said, dict):
        raise TargetFailed(f"{address}:{port}{path} answers {answer.status}: {text[:200]!r}")
    return said


def etcd_serves(lab: LabState) -> bool:
    """Raises TargetFailed."""
    return str(ask(lab.hosts[STORE].address, ETCD, "/health").get("health")) == "true"


def whole(lab: LabState) -> Roles | None:
    """Both nodes at work on one timeline, as every one of them says; None while they are not. Raises TargetFailed."""
    told = [roles(ask(lab.hosts[name].address, REST, "/cluster")) for name in NODES]
    return told[0] if all(one == told[0] for one in told) else None


def roles(cluster: Json) -> Roles | None:
    """Of an answer to /cluster; None unless one leads, the other streams, and their timelines are the same."""
    members = cluster.get("members") or []
    leaders = [one for one in members if one.get("role") == "leader" and one.get("state") == "running"]
    streaming = [one for one in members if one.get("role") == "replica" and one.get("state") == "streaming"]
    if len(members) != len(NODES) or len(leaders) != 1 or len(streaming) != 1:
        return None
    lag = streaming[0].get("lag")
    if leaders[0].get("timeline") != streaming[0].get("timeline") or not isinstance(lag, int) or lag > MAY_LAG:
        return None
    return Roles(str(leaders[0]["name"]), str(streaming[0]["name"]))


def set_pace(lab: LabState, node: str, pace: Pace) -> None:
    """Of the whole cluster, through one of its nodes. Raises TargetFailed."""
    ask(lab.hosts[node].address, REST, "/config", "PATCH", pace.as_settings())


def keeps(lab: LabState, pace: Pace) -> bool:
    """Whether that pace is in force: every node has it, and the leader's own lease runs for so long.

    Raises TargetFailed.
    """
    wanted = pace.as_settings()
    for name in NODES:
        said = ask(lab.hosts[name].address, REST, "/config")
        if {clock: said.get(clock) for clock in wanted} != wanted:
            return False
    return granted(lab) == pace.ttl


def granted(lab: LabState) -> int:
    """Seconds for which etcd gives the leader its key. Raises TargetFailed where nobody leads."""
    store = lab.hosts[STORE].address
    key = base64.b64encode(f"/service/{lab.name}/leader".encode()).decode()
    found = ask(store, ETCD, "/v3/kv/range", "POST", {"key": key}).get("kvs") or []
    if not found or not found[0].get("lease"):
        raise TargetFailed("etcd has no key of a leader")
    lease = ask(store, ETCD, "/v3/lease/timetolive", "POST", {"ID": found[0]["lease"]})
    return int(lease.get("grantedTTL") or 0)


