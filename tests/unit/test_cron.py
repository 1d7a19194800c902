from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.model import cron


@pytest.mark.parametrize(
    "text",
    ["*/30 * * * *", "@hourly", "0 0 1,15 * 1-5", "5/10 ? * JAN-mar Sun", "0-59/2 23 31 12 6", "00 7 * * MON,WED"],
)
def test_what_kubernetes_takes_is_taken_as_it_is(text: str) -> None:
    assert cron.checked(text) == text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("60 * * * *", "the minute '60' is not a number, range or step of 0-59"),
        ("* 24 * * *", "the hour '24'"),
        ("* * 0 * *", "the day of month '0'"),
        ("* * * 13 *", "the month '13' is not a number, range or step of 1-12 or jan-dec"),
        ("* * * * 7", "the day of week '7' is not a number, range or step of 0-6 or sun-sat"),
        ("5-1 * * * *", "the minute '5-1'"),
        ("*/0 * * * *", "the minute '\\*/0'"),
        ("1,, * * * *", "the minute ''"),
        ("* * * * monday", "the day of week 'monday'"),
        ("\u0661 * * * *", "the minute"),
        ("@reboot", "'@reboot' is not one of @yearly"),
    ],
)
def test_what_kubernetes_would_refuse_is_refused_by_its_field(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        cron.checked(text)


@given(st.lists(st.text("0123456789*/-,?mon", min_size=1, max_size=6), min_size=5, max_size=5))
def test_any_five_fields_are_a_schedule_or_a_clear_error(fields: list[str]) -> None:
    try:
        assert cron.checked(" ".join(fields))
    except ValueError as error:
        assert "is not a number, range or step of" in str(error)  # noqa: PT017  (some fit)
