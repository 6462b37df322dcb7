"""What leaves arrives once, whatever the other end does meanwhile; what is wrong with a channel is one sentence."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inventories.catalog.alarms import Severity
from inventories.catalog.channels import Channel, Kind, routes
from inventories.errors import BadInput
from runbooks.alarms import channels, proving
from runbooks.alarms.channels import Text
from runbooks.alarms.heartbeat import Heartbeat
from runbooks.alarms.sending import Sender
from runbooks.alarms.spool import Spool
from tests.unit.alarms_kit import NOON, Ground, finding, free_port, ground

TEXT = Text("[CRITICAL] lab: nobody writes", "since noon\nrun ./dr failover", Severity.CRITICAL)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Ground]:
    with ground(tmp_path) as made:
        yield made


def fire(desk: Ground, number: int, at: float = NOON) -> None:
    """So many alarms, each with one message on each of two channels."""
    some = [finding("disks", f"disk /{nr} of pg1", f"disk /{nr} of pg1: 99% full") for nr in range(number)]
    desk.see(*some, at=at - 60)
    desk.see(*some, at=at)


def test_a_hundred_outages_lose_nothing_and_double_nothing(desk: Ground) -> None:
    """Each time another message is made, and the channels are out in another way while it is tried."""
    for nr in range(100):
        at = NOON + nr * 100
        out = ("refuses", "answers 500", "is gone", "refuses the mail")[nr % 4]
        {"refuses": desk.hook.stop, "is gone": desk.mailbox.stop}.get(out, lambda: None)()
        desk.hook.status = 500 if out == "answers 500" else 200
        desk.mailbox.refuses = "554 rejected" if out == "refuses the mail" else ""
        what = finding("disks", f"disk /{nr} of pg1", f"disk /{nr} of pg1: 99% full")
        desk.see(what, at=at - 60)
        desk.see(what, at=at)
        desk.send(at)
        assert desk.waiting > 0, f"{out}, and everything was taken"
        {"refuses": desk.hook.start, "is gone": desk.mailbox.start}.get(out, lambda: None)()
        desk.hook.status, desk.mailbox.refuses = 200, ""
        desk.send(at + 1)
        desk.send(at + 2)
    for after in range(3):
        desk.send(NOON + 20_000 + after)
    assert desk.waiting == 0
    told = {f"[CRITICAL] lab-lab: disk /{nr} of pg1: 99% full" for nr in range(100)}
    fires = [title for title in desk.hook.titles if "CRITICAL" in title]
    mails = [subject for subject, _ in desk.mailbox.mails if "CRITICAL" in subject]
    assert len(fires) == len(mails) == 100 and set(fires) == set(mails) == told


def test_a_webhook_that_hangs_keeps_no_mail_waiting(desk: Ground) -> None:
    desk.hook.hangs_s = 2
    fire(desk, 3)
    started = time.monotonic()
    desk.send()
    assert len(desk.mailbox.mails) == 3 and time.monotonic() - started < 2
    assert [row["error"] != "" for row in desk.rows("channel") if row["name"] == "hook"] == [True]
    desk.hook.hangs_s = 0
    for after in range(1, 5):
        desk.send(NOON + after)
    assert len(desk.hook.got) == 3


def test_one_that_is_refused_for_ever_keeps_no_other_waiting(desk: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = channels.deliver

    def deliver(channel: Channel, text: Text, within_s: float) -> str:
        return "400 bad request" if "/0 of" in text.title else plain(channel, text, within_s)

    monkeypatch.setattr("runbooks.alarms.sending.deliver", deliver)
    fire(desk, 4)
    for after in range(3):
        desk.send(NOON + after)
    assert len(desk.hook.got) == len(desk.mailbox.mails) == 3 and desk.waiting == 2


def test_the_end_never_overtakes_the_beginning(desk: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.hook.stop()
    fire(desk, 1)
    desk.send()
    desk.see(at=NOON + 100)
    desk.see(at=NOON + 200)
    desk.hook.start()
    for after in (200, 201, 202):
        desk.send(NOON + after)
    assert [title.partition(" ")[0] for title in desk.hook.titles] == ["[CRITICAL]", "[RESOLVED]"]


def test_a_message_whose_sending_was_cut_off_says_so(desk: Ground) -> None:
    fire(desk, 1)
    desk.spool.run("update message set began_at = ?", NOON)
    desk.send(NOON + 1)
    assert desk.hook.asked == 0, "it may still be under way"
    desk.send(NOON + 10)
    assert "Sent again: the first attempt was interrupted" in desk.hook.got[0]["message"]


def test_two_senders_send_each_message_once(desk: Ground) -> None:
    fire(desk, 10)
    made = [
        Sender(desk.spool.path, desk.desk.alarms.sending, desk.desk.routes, desk.said.append, lambda: NOON)
        for _ in range(3)
    ]
    for one in made:
        one.start()
    assert all(one.wait(30) for one in made)
    for one in made:
        one.start()
    assert all(one.wait(30) for one in made)
    assert sorted(desk.hook.titles) == sorted(set(desk.hook.titles)) and len(desk.hook.got) == 10


def test_what_was_kept_is_sent_by_the_next_process(desk: Ground) -> None:
    fire(desk, 1)
    desk.spool.close()
    again = Ground(desk.folder, desk.desk, desk.mailbox, desk.hook)
    Sender(desk.spool.path, desk.desk.alarms.sending, desk.desk.routes, print, lambda: NOON).start()
    until = time.monotonic() + 10
    while not (again.hook.got and again.mailbox.mails) and time.monotonic() < until:
        time.sleep(0.02)
    assert len(desk.hook.got) == len(desk.mailbox.mails) == 1


@pytest.mark.parametrize(
    ("mailbox", "says"),
    [("535 5.7.8 wrong password", "535"), ("554 no such mailbox", "554"), ("", "")],
)
def test_what_a_mail_server_says_is_what_is_told(desk: Ground, mailbox: str, says: str) -> None:
    desk.mailbox.refuses = mailbox
    said = channels.deliver(desk.desk.routes.channels["mail"], TEXT, 2)
    assert says in said and bool(said) == bool(mailbox)


def test_a_wrong_password_is_told_without_the_password() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve() -> None:
            connection, _ = server.accept()
            with connection, connection.makefile("rwb") as line:
                no = b"535 5.7.8 no"
                for answer in (b"220 here", b"250-here\r\n250 AUTH LOGIN PLAIN", no, no, b"221 bye"):
                    line.write(answer + b"\r\n")
                    line.flush()
                    line.readline()

        threading.Thread(target=serve, daemon=True).start()
        port = server.getsockname()[1]
        url = f"mailto://dr:s3cret-word@127.0.0.1:{port}?from=dr@x.org&to=o@x.org&mode=insecure"
        data = {"alarm_channels": {"mail": url}, "alarm_people": {"operators": ["mail"]}}
        said = channels.deliver(routes(data, ["operators"]).channels["mail"], TEXT, 4)
    assert said and "s3cret-word" not in said


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("/no/such/pager",), "No such file"), (("sh", "-c", "echo no line >&2; exit 3"), "ended with 3: no line"),
        (("sleep", "9"), "did not end within 0.2 s"), (("true",), ""),
    ],
)  # fmt: skip
def test_a_command_that_fails_says_how(command: tuple[str, ...], says: str) -> None:
    said = channels.deliver(Channel("pager", Kind.COMMAND, command=command), TEXT, 0.2)
    assert says in said and bool(said) == bool(says)


def test_the_log_is_told_line_by_line_and_one_that_nobody_reads_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "LOG", str(tmp_path / "log"))
    assert "No such file" in channels.deliver(Channel("journal", Kind.LOG), TEXT, 1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        assert channels.deliver(Channel("journal", Kind.LOG), TEXT, 1) == ""
        assert log.recv(999) == b"<27>mystocks-dr: ALARM: [CRITICAL] lab: nobody writes"


def test_a_test_proves_what_the_channel_can_tell_and_asks_for_the_rest(desk: Ground) -> None:
    proofs = {one.channel: one for one in proving.test(desk.desk, "", "me@here", NOON)}
    assert proofs["hook"].arrived and proofs["pager"].arrived and proofs["mail"].waits
    proved = {row["name"]: row["proved_at"] for row in desk.rows("channel")}
    assert proved == {"hook": NOON, "pager": NOON, "mail": None}
    code = desk.mailbox.mails[0][0].rpartition(" ")[2]
    assert f"--confirm {code}" in desk.mailbox.mails[0][1] and "--confirm" not in desk.paged
    assert proving.confirm(desk.desk, code.lower(), NOON + 60) == "mail"
    assert desk.spool.value("select proved_at from channel where name = 'mail'") == NOON + 60
    for wrong in (code, "", "XXXXXX"):
        with pytest.raises(BadInput, match="no message of the last 7 days"):
            proving.confirm(desk.desk, wrong, NOON + 61)


def test_a_test_of_a_channel_that_is_out_fails_and_one_that_is_not_there_is_bad_input(desk: Ground) -> None:
    desk.hook.status = 500
    (proof,) = proving.test(desk.desk, "hook", "me", NOON)
    assert "500" in proof.why and not proof.arrived
    assert desk.spool.value("select failing_since from channel where name = 'hook'") == NOON
    with pytest.raises(BadInput, match="there is no channel 'fax'"):
        proving.test(desk.desk, "fax", "me", NOON)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({}, "no alarm_channels"),
        ({"alarm_channels": {"Mail": "log"}}, "names one 'Mail'"),
        ({"alarm_channels": {"mail": 3}}, "alarm_channels.mail is a int"),
        ({"alarm_channels": {"mail": "ops@example.org"}}, "a text that is no URL"),
        ({"alarm_channels": {"mail": []}}, "alarm_channels.mail is a list"),
        ({"alarm_channels": {"log": "log"}}, "tells 'operators', and alarm_people of the inventory knows nobody"),
        ({"alarm_channels": {"log": "log"}, "alarm_people": {"operators": "log"}}, "no list of channels"),
        ({"alarm_channels": {"log": "log"}, "alarm_people": {"operators": ["fax"]}}, "none of that name"),
        ({"alarm_channels": {"mail": "mailto://u:{secret}@h"}, "alarm_people": {}}, "needs the secret alarm_mail"),
    ],
)
def test_channels_that_lead_nowhere_are_bad_input(data: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says) as error:
        routes(data, ["operators"])
    assert error.value.hint


def test_a_url_that_apprise_does_not_know_is_told_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DR_SECRET_ALARM_CHAT", "hush hush")
    data = {"alarm_channels": {"chat": "nosuchchat://{secret}@example.org"}, "alarm_people": {"operators": ["chat"]}}
    chat = routes(data, ["operators"]).channels["chat"]
    assert chat.url.get_secret_value() == "nosuchchat://hush%20hush@example.org" and "hush" not in repr(chat)
    with pytest.raises(BadInput, match=r"nosuchchat://\.\.\. of which apprise can make nothing") as error:
        channels.require_usable(chat)
    assert "hush" not in str(error.value)


def test_a_message_has_its_channel_made_once(desk: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    import apprise

    made: list[str] = []
    make = apprise.Apprise.instantiate

    def counted(url: str, *rest: object, **more: object) -> object:
        made.append(url)
        return make(url, *rest, **more)

    monkeypatch.setattr(apprise.Apprise, "instantiate", staticmethod(counted))
    assert channels.deliver(desk.desk.routes.channels["hook"], TEXT, 6.0) == ""
    assert len(made) == 1 and "cto=3&rto=3" in made[0]


def test_a_sign_of_life_is_a_file_and_a_request_and_one_that_nobody_takes_is_said_once(
    tmp_path: Path, desk: Ground
) -> None:
    said: list[str] = []
    nobody = f"http://127.0.0.1:{free_port()}/ping?key=hush"
    beats = Heartbeat([str(tmp_path / "beat"), nobody], said.append)
    for at in (NOON, NOON + 10):
        beats.beat(at)
        beats.wait(10)
    assert (tmp_path / "beat").read_text() == f"{NOON + 10:.0f}\n"
    assert len(said) == 1 and "nobody takes the sign of life" in said[0] and "hush" not in said[0]
    with pytest.raises(BadInput, match="neither a URL nor the path"):
        Heartbeat(["ftp://x"], said.append)


def test_a_full_disk_loses_no_alarm_that_was_kept(tmp_path: Path, desk: Ground) -> None:
    fire(desk, 1)
    kept = json.dumps(desk.rows("message"))
    desk.spool.run("pragma max_page_count = 1")
    again = Spool(desk.spool.path)
    assert json.dumps([dict(row) for row in again.rows("select * from message order by rowid")]) == kept
