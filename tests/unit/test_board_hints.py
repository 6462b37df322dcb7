"""What the page shows as a command can be copied and run: no word of the sentence around it is part of it."""

from __future__ import annotations

import pytest

from drills.board.hints import Piece, pieces


@pytest.mark.parametrize(
    ("hint", "commands"),
    [
        ("./dr deploy writes it", ["./dr deploy"]),
        ("./dr deploy --limit pg1 starts it", ["./dr deploy --limit pg1"]),
        ("./dr rejoin pg1 --yes stops it and brings it back", ["./dr rejoin pg1 --yes"]),
        ("./dr rejoin HOST --yes for the one on the lower timeline", ["./dr rejoin HOST --yes"]),
        ("./dr backup.run --store tdengine takes one now; give stores.tdengine.shadow more",
         ["./dr backup.run --store tdengine"]),
        ("./dr backup.run --type full runs it now", ["./dr backup.run --type full"]),
        ("look at the report of the slowest drill: ./dr runs", ["./dr runs"]),
        ("./dr failover --resume --yes ends it, ./dr runbook.abandon --yes takes it back",
         ["./dr failover --resume --yes", "./dr runbook.abandon --yes"]),
        ("keep spare hosts provisioned (./dr deploy with them in the inventory)", ["./dr deploy"]),
        ("./dr drill --scenario standby measures it", ["./dr drill --scenario standby"]),
        ("DR_LAB_POSTGRES=3 ./dr drill --rounds 3", ["DR_LAB_POSTGRES=3 ./dr drill --rounds 3"]),
        ('./dr drills.record --promise planned-switchover --consent "WHO: WHY"',
         ['./dr drills.record --promise planned-switchover --consent "WHO: WHY"']),
        ("bring the backup host back", []),
    ],
)  # fmt: skip
def test_a_command_ends_where_the_sentence_goes_on(hint: str, commands: list[str]) -> None:
    found = pieces(hint)
    assert [piece.text for piece in found if piece.is_command] == commands
    assert "".join(piece.text for piece in found).replace(" ", "") == hint.replace(" ", "")


def test_a_sentence_without_a_command_is_one_piece() -> None:
    assert pieces("bring the backup host back") == (Piece("bring the backup host back", False),)
