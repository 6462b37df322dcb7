"""What was typed wrong is named in words, with what may have been meant."""

from __future__ import annotations

import pytest

from doors.misspelt import HINT, in_words, without_value

NAMES = ("drill", "drift", "demo", "lab.up", "failover")


@pytest.mark.parametrize(
    ("said", "typed", "sentence", "hint"),
    [
        (
            "No idea what 'drlil' is!",
            "drlil", "There is no task 'drlil'.", f"Did you mean ./dr drill or ./dr drift? {HINT}",
        ),
        (
            "No idea what 'failver' is!",
            "failver", "There is no task 'failver'.", f"Did you mean ./dr failover? {HINT}",
        ),
        ("No idea what 'xyzzy' is!", "xyzzy", "There is no task 'xyzzy'.", HINT),
        ("No idea what '--nope' is!", "drill --nope", "There is no option --nope here.", HINT),
        (
            "Flag <Argument: rate (r) [float]> needed value and was not given one!",
            "drill --rate", "--rate needs a value.", HINT,
        ),
        (
            "could not convert string to float: 'abc'",
            "drill --rate abc", "--rate takes a number, and 'abc' is none.", HINT,
        ),
        (
            "invalid literal for int() with base 10: '1.5'",
            "drill --seed=1.5", "--seed takes a number, and '1.5' is none.", HINT,
        ),
        ("No idea what '' is!", "", "There is no task ''.", HINT),
        ("something new", "x", "something new", HINT),
    ],
)  # fmt: skip
def test_a_wrong_word_is_named_with_what_may_have_been_meant(said: str, typed: str, sentence: str, hint: str) -> None:
    assert in_words(said, typed.split(), NAMES) == f"{sentence}\nHINT: {hint}"


@pytest.mark.parametrize(
    ("typed", "option"),
    [
        (("drill", "--rounds", ""), "--rounds"),
        (("drill", "--rounds="), "--rounds"),
        (("drill", "-r", "", "--json"), "-r"),
        (("drill", "--rounds", "3", "--scenario", "a,b"), ""),
        (("lab.ssh", "pg1", "--", "psql", "--set="), ""),
    ],
)
def test_an_option_that_was_given_nothing_is_not_taken_for_one_that_was_left_out(
    typed: tuple[str, ...], option: str
) -> None:
    assert without_value(typed) == option
