"""What is begun ahead does nothing before its word, and is the very command that runs without having been begun."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploys.postgresql import restore_command as asked_by_server
from inventories.errors import Refused, TargetFailed, TimedOut
from inventories.inventory import HostEntry
from runbooks import begun, layout
from runbooks.actions.postgresql import asking, promotion
from runbooks.actions.postgresql import server as act
from runbooks.engine import runner
from runbooks.engine.wait import until
from runbooks.hosts import Estate, Host
from runbooks.knock import Door
from runbooks.layout import Layout
from runbooks.probes import network
from runbooks.procedures.postgresql.failover import FAILOVER, FailoverOptions
from runbooks.run import execute

HOST = Host("pg2", HostEntry(name="pg2", ssh_hostname="127.0.0.1"), Path("/nowhere"))
WAITS = 'echo begun >>%s; read -r word && test "$word" = go || exit 7; echo went >>%s; cat'


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """`ssh` runs here what it is given, and so does `runuser`."""
    (tmp_path / "ssh").write_text('#!/bin/sh\nexec sh -c "$5"\n')
    (tmp_path / "runuser").write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    for program in ("ssh", "runuser"):
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    yield tmp_path
    begun.drop()


def reads(path: Path, text: str) -> None:
    """Raises when the file does not say so within a few seconds."""
    end = time.monotonic() + 5
    while (path.read_text() if path.exists() else "") != text:
        assert time.monotonic() < end, f"{path} never said {text!r}"
        time.sleep(0.01)


# ---- the hand


def test_begun_command_waits_and_its_run_goes_on_with_it(here: Path) -> None:
    log = here / "log"
    HOST.begin(WAITS, log, log)
    reads(log, "begun\n")
    assert HOST.run(WAITS, log, log, stdin="go\nrest").stdout == "rest"
    assert log.read_text() == "begun\nwent\n"  # once


def test_command_that_was_not_begun_or_of_other_words_runs_by_itself(here: Path) -> None:
    log, other = here / "log", here / "other"
    HOST.begin(WAITS, log, log)
    reads(log, "begun\n")
    assert HOST.run(WAITS, other, other, stdin="go\n").rc == 0
    assert (log.read_text(), other.read_text()) == ("begun\n", "begun\nwent\n")


def test_begun_command_that_has_ended_is_started_anew(here: Path) -> None:
    flag = here / "flag"
    HOST.begin("test -e %s && cat", flag)
    time.sleep(0.3)
    flag.touch()
    assert HOST.run("test -e %s && cat", flag, stdin="x").stdout == "x"


def test_what_was_begun_long_ago_is_ended_and_started_anew(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = here / "log"
    HOST.begin(WAITS, log, log)
    reads(log, "begun\n")
    monkeypatch.setattr(begun, "LASTS_S", 0.0)
    assert HOST.run(WAITS, log, log, stdin="go\n").rc == 0
    assert log.read_text() == "begun\nbegun\nwent\n"


def test_what_is_dropped_has_done_nothing(here: Path) -> None:
    log = here / "log"
    HOST.begin(WAITS, log, log)
    reads(log, "begun\n")
    begun.drop()
    with pytest.raises(TargetFailed, match="ended with 7"):
        HOST.run(WAITS, log, log, stdin="")
    assert "went" not in log.read_text()


def test_begun_command_has_its_time_like_any_other(here: Path) -> None:
    HOST.begin("cat; sleep 30")
    with pytest.raises(TimedOut):
        HOST.run("cat; sleep 30", stdin="x", timeout=0.2)


def test_what_a_run_has_begun_ends_with_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drill's process lives on, and would ask a session of a server that it has started again since."""
    log = here / "log"

    def refused(*_: object, **__: object) -> None:
        HOST.begin(WAITS, log, log)
        reads(log, "begun\n")
        raise Refused("it takes writes")

    monkeypatch.setattr(runner, "run", refused)
    estate = Estate("toy", "toy", (HOST,), {"backup": ("pg2",)}, {})
    with pytest.raises(Refused):
        execute(FAILOVER, estate, FailoverOptions(), print, runs=here)
    assert HOST.run(WAITS, log, log, stdin="go\n").rc == 0
    reads(log, "begun\nbegun\nwent\n")


# ---- what is begun


def test_viewer_that_is_ready_knocks_only_when_it_is_told(here: Path) -> None:
    with socket.socket() as sshd, socket.socket() as server:
        for one in (sshd, server):
            one.bind(("127.0.0.1", 0))
            one.listen()
        threading.Thread(target=lambda: [sshd.accept() for _ in range(2)], daemon=True).start()
        viewer = Host(
            "app1", HostEntry(name="app1", ssh_hostname="127.0.0.1", ssh_port=sshd.getsockname()[1]), Path("/nowhere")
        )
        port = server.getsockname()[1]
        network.begin(viewer, HOST, port, 0.6)
        server.settimeout(0.3)
        with pytest.raises(TimeoutError):
            server.accept()
        assert network.look(viewer, HOST, port, 0.6) is Door.OPEN
        server.accept()


class Server:
    """A `psql` that keeps what it is told, and the file that says whom commits wait for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.told = folder / "begun", folder / "told"
        self.waits = folder / "conf.d" / "90-synchronous.conf"
        self.waits.parent.mkdir()
        self.waits.touch()
        (folder / "psql").write_text(f"#!/bin/sh\necho begun >>{self.begun}\ncat >>{self.told}\n")
        (folder / "psql").chmod(0o755)
        monkeypatch.setattr(Layout, "etc", folder)
        monkeypatch.setattr(Layout, "data", folder)


def test_session_that_is_ready_promotes_when_it_is_told_and_commits_wait_as_before_until_then(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(here, monkeypatch)
    promotion.get_ready(HOST, Layout(17))
    reads(server.begun, "begun\n")
    reads(server.told, "")
    assert server.waits.exists()
    assert promotion.let_it_write(HOST, Layout(17)) == ()
    assert not server.waits.exists() and server.told.read_text() == ""
    act.promote(HOST, HOST, 5)
    assert "pg_promote(true, 5)" in server.told.read_text()
    assert server.begun.read_text() == "begun\n"  # once


def test_session_of_a_server_that_was_started_again_is_not_asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(here, monkeypatch)
    for program in ("systemctl", "pg_ctlcluster", "install"):
        (here / program).write_text("#!/bin/sh\n")
        (here / program).chmod(0o755)
    promotion.get_ready(HOST, Layout(17))
    reads(server.begun, "begun\n")
    promotion.bring_up(HOST, Layout(17))
    act.promote(HOST, HOST, 5)
    assert server.begun.read_text() == "begun\nbegun\n"


# ---- what the archive is asked ahead


class Archive:
    """A repository of files, asked by a `pgbackrest` that counts; restore_command as PostgreSQL would run it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.files, self.log = folder / "asked", folder / "repository", folder / "asked.log"
        self.files.mkdir()
        (folder / "pgbackrest").write_text(
            '#!/bin/sh\nfor name; do before=$to to=$last last=$name; done\n'
            f'echo "$to" >>{self.log}\ntest ! -e {self.files}/broken || exit 49\n'
            f'test -e {self.files}/$to || exit 1\n'
            # One that is slow opens its file late, and fills it later still.
            f'if mv {self.files}/slow {self.files}/was-slow 2>/dev/null; then sleep 0.4; : >"$last"; sleep 0.8; fi\n'
            f'cp {self.files}/$to "$last"\ntest ! -e {self.files}/was-slow || sleep 0.4\n'
        )
        (folder / "timeout").write_text("#!/bin/sh\nexit 0\n")
        for program in ("pgbackrest", "timeout"):
            (folder / program).chmod(0o755)
        monkeypatch.setattr(asking, "ASKED", str(self.folder))
        monkeypatch.setattr(asked_by_server, "ASKED", str(self.folder))
        self.command = asked_by_server.restore_command("192.0.2.31", "main")
        self.to = folder / "restored"

    def ask(self, *names: str) -> None:
        asking.ahead(HOST, names, 5)

    def restores(self, name: str) -> bool:
        self.to.unlink(missing_ok=True)
        text = self.command.replace("%f", name).replace("%p", str(self.to))
        return os.waitstatus_to_exitcode(os.system(text)) == 0 and self.to.exists()

    @property
    def asked(self) -> list[str]:
        return self.log.read_text().split() if self.log.exists() else []


@pytest.fixture
def archive(here: Path, monkeypatch: pytest.MonkeyPatch) -> Archive:
    return Archive(here, monkeypatch)


def test_both_sides_name_the_same_folder() -> None:
    assert asked_by_server.ASKED == layout.ASKED


def test_server_takes_what_was_asked_a_moment_ago_and_asks_for_the_rest(archive: Archive) -> None:
    (archive.files / "00000003.history").write_text("history")
    (archive.files / "other").write_text("wal")
    archive.ask("00000004.history", "00000003.history")
    assert sorted(archive.asked) == ["00000003.history", "00000004.history"]
    assert not archive.restores("00000004.history")
    assert archive.restores("00000003.history") and archive.to.read_text() == "history"
    assert len(archive.asked) == 2
    assert archive.restores("other") and archive.to.read_text() == "wal"
    assert archive.asked[2:] == ["other"]


@pytest.mark.parametrize("by", [-6, 3600], ids=["older", "of a clock that was set back since"])
def test_answer_of_another_time_is_asked_for_anew(archive: Archive, by: float) -> None:
    archive.ask("00000004.history")
    for left in archive.folder.iterdir():
        os.utime(left, (time.time() + by, time.time() + by))
    (archive.files / "00000004.history").write_text("somebody was promoted")
    assert archive.restores("00000004.history")


def test_archive_that_could_not_be_asked_leaves_no_answer(archive: Archive) -> None:
    (archive.files / "broken").touch()
    archive.ask("00000004.history")
    assert list(archive.folder.iterdir()) == []
    (archive.files / "broken").unlink()
    (archive.files / "00000004.history").write_text("it is there")
    assert archive.restores("00000004.history")


def test_answer_is_whole_although_somebody_who_asked_before_has_none_yet(archive: Archive) -> None:
    (archive.files / "00000003.history").write_text("history")
    (archive.files / "slow").touch()
    first = threading.Thread(target=archive.ask, args=("00000003.history",))
    first.start()
    until(lambda: archive.asked, 5.0, what="the first to ask", every=0.01)
    archive.ask("00000003.history")
    assert (archive.folder / "00000003.history").read_text() == "history"
    first.join()


def test_answers_are_gone_once_nobody_believes_them(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_ASK", asking._ASK.replace("sleep 10", "sleep 0.1"))
    (archive.files / "00000003.history").write_text("history")
    archive.ask("00000004.history", "00000003.history")
    until(lambda: not list(archive.folder.iterdir()), 5.0, what="the answers to go", every=0.01)


def test_nothing_is_asked_before_the_word(archive: Archive) -> None:
    asking.begin(HOST, ("00000004.history",))
    time.sleep(0.3)
    assert archive.asked == [] and not archive.folder.exists()
    archive.ask("00000004.history")
    assert archive.asked == ["00000004.history"]
