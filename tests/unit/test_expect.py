from __future__ import annotations

import pytest

from inventories.errors import BadInput
from runbooks.expect import VARIABLE, WHOLE, Expected, from_environment


def test_without_it_the_estate_is_expected_to_be_whole() -> None:
    assert from_environment({}) == from_environment({VARIABLE: " "}) == WHOLE
    assert not WHOLE.degraded


def test_it_survives_the_way_into_another_process() -> None:
    expected = Expected(primary="pg2", fenced=("pg1",), off=("pg1",), degraded=True)
    assert from_environment(expected.env()) == expected
    assert expected.named == {"pg1", "pg2"}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "Invalid JSON"),
        ('{"primry": "pg2"}', "primry"),
        ('{"off": "pg1"}', "off"),
        ('{"degraded": "much"}', "degraded"),
    ],
)
def test_mistake_is_one_sentence_with_an_example(text: str, named: str) -> None:
    with pytest.raises(BadInput, match=named) as refused:
        from_environment({VARIABLE: text})
    assert "\n" not in str(refused.value)
    assert '"degraded"' in refused.value.hint
