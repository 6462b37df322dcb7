"""A blank node is told of the copies that it lacks, as a follower that has nothing; what is there is never touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agents.base.errors import AgentError, BadConfig
from agents.tdengine import seed as tdengine_seed
from agents.tdengine.seed import exported, imported, local, seed

NODES = ("tsdb1", "tsdb2", "tsdb3")


def vnode(number: int) -> dict[str, Any]:
    """What a copy on tsdb1 says of itself."""
    nodes = [{"nodePort": "6030", "nodeFqdn": name, "nodeId": str(at + 1)} for at, name in enumerate(NODES)]
    config = {
        "vgId": str(number), "dbname": "1.market_data", "precision": "2", "vndStats.ctables": "40",
        "syncCfg.replicaNum": "3", "syncCfg.myIndex": "0", "syncCfg.nodeInfo": nodes,
    }  # fmt: skip
    return {"config": config, "state": {"commit version": "180", "commit ID": "4", "commit term": "2"}}


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A survivor's data with vgroups 2 and 3."""
    monkeypatch.setattr(tdengine_seed, "_running", lambda: False)
    monkeypatch.setattr(tdengine_seed.os, "getuid", lambda: 1)
    folder = tmp_path / "survivor"
    (folder / "dnode").mkdir(parents=True)
    (folder / "dnode/dnode.json").write_text(json.dumps({"dnodeId": 1, "clusterId": "77"}))
    for number in (2, 3):
        (folder / f"vnode/vnode{number}").mkdir(parents=True)
        (folder / f"vnode/vnode{number}/vnode.json").write_text(json.dumps(vnode(number)))
    entries = [{"vgId": number, "dropped": 0, "vgVersion": 5, "diskPrimary": 0} for number in (2, 3)]
    (folder / "vnode/vnodes.json").write_text(json.dumps({"vnodes": entries}))
    return folder


def test_disk_is_told_whether_or_not_the_server_runs(data: Path, tmp_path: Path) -> None:
    assert local(data) == {"dnode": 1, "cluster": "77", "vgroups": [2, 3], "running": False}
    assert local(tmp_path / "blank") == {"dnode": 0, "cluster": "", "vgroups": [], "running": False}


def test_listed_vgroup_without_its_folder_is_not_there(data: Path) -> None:
    (data / "vnode/vnode3/vnode.json").unlink()
    assert local(data)["vgroups"] == [2]


def test_blank_node_gets_each_copy_as_a_follower_that_has_nothing(data: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank"
    assert imported("tsdb3", exported("tsdb3", data), blank) == {"laid": [2, 3], "kept": []}
    laid = json.loads((blank / "vnode/vnode2/vnode.json").read_text())
    assert laid["config"]["syncCfg.myIndex"] == "2"
    assert laid["config"]["vndStats.ctables"] == "0"
    assert laid["state"] == {"commit version": "-1", "commit ID": "0", "commit term": "0"}
    listed = json.loads((blank / "vnode/vnodes.json").read_text())["vnodes"]
    assert [entry["vgId"] for entry in listed] == [2, 3]
    assert local(blank)["vgroups"] == [2, 3]


def test_our_own_vgroup_that_nobody_else_has_is_laid_empty_to_be_dropped(data: Path, tmp_path: Path) -> None:
    """TDengine drops no database of which a copy is offline: "VGroup is offline (0x03ae)"."""
    blank = tmp_path / "blank"
    assert imported("tsdb3", {**exported("tsdb3", data), "alone": [4]}, blank) == {"laid": [2, 3, 4], "kept": []}
    laid = json.loads((blank / "vnode/vnode4/vnode.json").read_text())
    config = laid["config"]
    assert (config["vgId"], config["dbname"], config["syncCfg.replicaNum"]) == ("4", "1.mystocks_dr", "1")
    assert [node["nodeFqdn"] for node in config["syncCfg.nodeInfo"]] == ["tsdb3"]
    assert (config["syncCfg.myIndex"], laid["state"]["commit version"]) == ("0", "-1")
    with pytest.raises(BadConfig, match="No other copy on tsdb3 says how vgroup 4 is laid"):
        imported("tsdb3", {"vgroups": {}, "alone": [4]}, tmp_path / "other")


def test_copy_that_is_there_is_kept(data: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank"
    seeds = exported("tsdb3", data)
    imported("tsdb3", {"vgroups": {"2": seeds["vgroups"]["2"]}}, blank)
    mine = blank / "vnode/vnode2/vnode.json"
    mine.write_text(mine.read_text().replace('"-1"', '"500"'))
    assert imported("tsdb3", seeds, blank) == {"laid": [3], "kept": [2]}
    assert '"500"' in mine.read_text()


def test_nothing_is_laid_beside_a_running_server(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tdengine_seed, "_running", lambda: True)
    with pytest.raises(AgentError, match="taosd runs"):
        imported("tsdb3", exported("tsdb3", data), tmp_path / "blank")


def test_host_that_has_no_copy_gets_no_seed(data: Path) -> None:
    assert exported("tsdb9", data) == {"vgroups": {}}
    with pytest.raises(BadConfig, match="none on tsdb9"):
        seed(vnode(2), "tsdb9")


def test_torn_file_is_a_sentence(data: Path) -> None:
    (data / "vnode/vnodes.json").write_text("{")
    with pytest.raises(AgentError, match=r"vnodes\.json cannot be read") as error:
        local(data)
    assert "--replace" in error.value.hint
