"""What can be typed wrong at `./dr validate` ends with 2, a sentence and a hint, before any host is asked."""

from __future__ import annotations

import pytest

from inventories.errors import ExitCode
from tests.unit.test_tasks_support import run


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--store", "redis"), "there is no store 'redis' that is validated"),
        (("--store", "postgresql", "--level", "slow"), "there is no level 'slow'"),
        (("--store", "postgresql", "--against", "backup"), "nothing of postgresql is compared with 'backup'"),
        (("--store", "postgresql", "--since", "2026-11-28 10:00:00Z"), "--since narrows a comparison, and nothing is "
         "compared"),
        (("--store", "postgresql", "--against", "baseline", "--since", "2026-11-28 10:00:00"), "'2026-11-28 10:00:00' "
         "has no time zone, so it is another moment on every machine"),
        (("--since", "2026-11-28 10:00:00Z", "--from", "2026-11-28 10:00:00Z"), "--since and --from were given, and "
         "mean the same"),
        (("--against", "etl", "--label", "x"), "--against and --label were given: a mark names a backup itself"),
        (("--store", "postgresql", "--symbols", "600000"), "--symbols means nothing to a validation of postgresql"),
        (("--level", "full"), "--level means nothing to a validation of tdengine"),
        (("--store", "postgresql", "--scheduled", "--tables", "order_records"), "--tables means nothing to a "
         "validation of the whole store"),
        (("--scheduled", "--symbols", "600000"), "--symbols means nothing to a validation of the whole store"),
        (("--store", "postgresql", "--against", "standby", "--file", "x.db"), "--against and --file were given, and "
         "content is held against one thing"),
        (("--file", "x.db"), "--file means nothing to a validation of tdengine"),
        (("--against", "standby"), "nothing of tdengine is compared with 'standby'"),
    ],
)
def test_what_means_nothing_is_bad_input(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], sentence: str
) -> None:
    code, _, err = run(capsys, "validate", *words)
    assert code == ExitCode.BAD_INPUT
    assert err.splitlines()[0] == sentence
    assert err.splitlines()[-1].startswith("HINT: ")
