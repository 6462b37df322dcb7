"""How tables are named: what is written so is read so, whatever is in it."""

from __future__ import annotations

import pytest

from runbooks.table_copy import names


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("orders", (("public", "orders"),)),
        ("Orders, audit.notes", (("public", "Orders"), ("audit", "notes"))),
        ('"a.b", "x, y"."say ""no"""', (("public", "a.b"), ("x, y", 'say "no"'))),
        ("成交记录, a-b, public.c", (("public", "成交记录"), ("public", "a-b"), ("public", "c"))),
        (" a ,, ", (("public", "a"),)),
        ("", ()),
    ],
)
def test_every_legal_name_is_read_and_written_again(text: str, found: tuple[tuple[str, str], ...]) -> None:
    read = names.many(text)
    assert tuple(names.split(name) for name in read) == found
    assert names.many(",".join(read)) == read


@pytest.mark.parametrize("text", ["a.b.c", 'a"b', '"open', "a,.b"])
def test_what_is_no_name_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        names.many(text)


def test_length_is_counted_in_bytes() -> None:
    assert not names.too_long("x" * 63)
    assert names.too_long("录" * 22), "22 characters of 3 bytes"
    assert names.too_long(names.beside("audit." + "x" * 55, "_restored"))


def test_a_name_reaches_sql_quoted() -> None:
    assert names.qualified('audit."say ""no"""') == '"audit"."say ""no"""'
    assert names.beside("audit.notes", "_replaced") == "audit.notes_replaced"
