"""The shapes that travel: one source for every schema, identities that never change."""

from __future__ import annotations

import math

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import contracts
from pipelines.contracts import (
    KEYS,
    LANDED,
    REPORTS,
    WAREHOUSE,
    column,
    report_id_of,
    short_hash,
    ticket_id_of,
    ticket_no_of,
)


@pytest.mark.parametrize("name", ["LANDED", *WAREHOUSE])
def test_every_table_and_every_field_says_what_it_means(name: str) -> None:
    schema = LANDED if name == "LANDED" else WAREHOUSE[name]
    assert schema.metadata[b"description"]
    assert not [f.name for f in schema if len(contracts.describe(f)) < 3]


def test_every_table_has_a_key_of_fields_that_are_never_empty() -> None:
    assert set(KEYS) == set(WAREHOUSE)
    for name, key in KEYS.items():
        assert all(not WAREHOUSE[name].field(f).nullable for f in key)


def test_identities_are_what_they_were_yesterday() -> None:
    report = report_id_of("jaki", "app", "JK2306180342")
    assert report == "tq496nwrjvk6vvh8"
    assert ticket_id_of(report) == "ttq496nwrjvk6vvh8"
    assert ticket_no_of(report) == "KN-TQ49-6NWR-JVK6"


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_two_items_share_an_id_only_if_they_are_the_same(a: tuple[str, str, str], b: tuple[str, str, str]) -> None:
    # The separator is a control character that no source's name may hold.
    if "\x1f" not in "".join((*a, *b)):
        assert (report_id_of(*a) == report_id_of(*b)) == (a == b)


@given(st.text(), st.sampled_from([40, 60, 80, 100]))
def test_a_short_hash_is_made_of_letters_safe_to_read_aloud(text: str, bits: int) -> None:
    made = short_hash(text, bits=bits)
    assert len(made) == bits // 5
    assert not set(made) - set("0123456789abcdefghjkmnpqrstvwxyz")


def test_a_lone_surrogate_has_an_id_too() -> None:
    assert len(report_id_of("email", "dki", "\ud800")) == 16


def test_a_column_gives_plain_values_and_none_whatever_pandas_calls_missing() -> None:
    frame = pd.DataFrame({"a": [1.0, math.nan], "b": ["x", None], "c": pd.array([True, pd.NA], dtype="boolean")})
    assert [column(frame, c) for c in frame] == [[1.0, None], ["x", None], [True, None]]


def test_a_frame_that_does_not_fit_is_refused() -> None:
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError, KeyError)):
        contracts.to_table(pd.DataFrame({"report_id": [1]}), REPORTS)
