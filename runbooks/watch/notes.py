"""That a watch acts, noted where every watch looks, before it does."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from inventories.errors import DrError
from runbooks.engine import process
from runbooks.watch.deputy import Deed
from runbooks.watch.desk import Declines, Desk

Say = Callable[[str], None]


class Notes:
    """What this watch has noted. What could not be taken back yet is owed."""

    def __init__(self, desk: Desk, say: Say) -> None:
        self._desk, self._say = desk, say
        self._owed: list[str] = []

    def act(self, primary: str, cooldown_s: float) -> str:
        """Its token. Raises Declines; TargetFailed where nobody answers: what is noted all the same is taken back."""
        token = secrets.token_hex(8)
        request = {"token": token, "cooldown_s": cooldown_s, "by": process.user_at_machine(), "primary": primary}
        try:
            self._desk.change("act", request)
        except Declines:
            raise
        except DrError:
            self._back(token)
            raise
        return token

    def judge(self, token: str, deed: Deed) -> None:
        """What ended before anything was touched does not count."""
        if not deed.touched:
            self._back(token)

    def _back(self, token: str) -> None:
        self._owed.append(token)
        self.settle()

    def settle(self) -> None:
        """Take back what is owed. Never raises."""
        while self._owed:
            try:
                self._desk.change("back", {"token": self._owed[0]})
            except DrError as error:
                self._say(f"WARNING: what touched nothing counts as done until the cooldown is over: {error}")
                return
            self._owed.pop(0)
