"""What can be typed wrong at `./dr validate` ends with 2, a sentence and a hint, before any host is asked."""

from __future__ import annotations

import pytest

from doors import validation
from inventories.errors import BadInput, ExitCode
from runbooks.marks import names
from runbooks.validation.run import Against
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
        (("--store", "postgresql", "--tables", ","), "',' names nothing"),
        (("--store", "postgresql", "--baseline", "/nowhere/kept"), "there is no baseline at /nowhere/kept"),
        (("--save-baseline", "--baseline", "/"), "there is no baseline at /"),
        (("--symbols", " , "), "' , ' names nothing"),
        (("--store", "postgresql", "--level", "deep"), "level deep compares every row with a copy, and none is "
         "compared"),
        (("--store", "postgresql", "--level", "deep", "--against", "baseline"), "level deep compares every row with a "
         "copy, and none is compared"),
        (("--store", "postgresql", "--side", "a"), "--side chooses a copy, and none is compared"),
        (("--store", "postgresql", "--since", "2026-11-28 10:00:00Z", "--file", "x.db"), "--since narrows a "
         "comparison, and a file is compared whole"),
        (("--store", "postgresql", "--save-baseline", "--tables", "order_records"), "a baseline of some tables would "
         "take the place of the estate's own, which is of all"),
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


def test_no_mark_takes_a_word_that_means_something_else() -> None:
    """Whatever --against may be told beside a mark's name, of either store."""
    assert set(names.TAKEN) == {*Against, *(word for words in validation._OTHERS.values() for word in words)}
    for word in names.TAKEN:
        names.check(word)  # one that stands is restored to as ever
        with pytest.raises(BadInput, match=f"./dr validate --against {word} means something else"):
            names.check_new(word)


def test_the_hint_names_the_store_that_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Who names no store has TDengine's validation."""
    assert "--store postgresql" in run(capsys, "validate", "--level", "deep")[2].splitlines()[-1]
    assert "--store tdengine" in run(capsys, "validate", "--store", "postgresql", "--label", "x")[2].splitlines()[-1]
