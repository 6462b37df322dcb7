"""The one place of the lab that sleeps."""

import time
from collections.abc import Callable

from inventories.errors import TimedOut


def wait_until(
    what: str, ready: Callable[[], bool], seconds: float, every: float = 0.1, hint: str = ""
) -> None:
    """Ask until the answer is yes.

    The question is asked at least once, and TimedOut says what never came true.
    """
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() >= deadline:
            raise TimedOut(f"{what} did not happen within {seconds:g} s.", hint)
        time.sleep(every)
