"""What linking compares of reports, as columns of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from pipelines.contracts import TRAITS, to_frame
from pipelines.transforms.traits import Ragged, Traits, concat, distinct, traits_of
from tests.transforms.told import MATCHING, PLACE, read, report, table


def flat(x: Traits) -> dict[str, list[Any]]:
    """Traits as plain values, lists of lists where a report has several."""
    values = {name: getattr(x, name) for name in x.__slots__}
    return {
        name: [v.values[a:b].tolist() for a, b in zip(v.start, v.start[1:], strict=False)]
        if isinstance(v, Ragged)
        else [repr(e) for e in v.tolist()]
        for name, v in values.items()
    }


def test_a_group_that_matching_no_longer_has_says_nothing() -> None:
    stored = table(report("aspal berlubang"))
    older = stored.set_column(TRAITS.get_field_index("groups"), TRAITS.field("groups"), pa.array([["dulu"]]))
    assert traits_of(older, MATCHING).kinds.tolist() == np.zeros((1, len(MATCHING.groups))).tolist()


def test_traits_are_the_same_from_the_table_a_frame_and_part_by_part() -> None:
    rows = [
        report("jalan berlubang", kind="jalan", street="jalan melati", files=[{"sha256": "a"}, {"sha256": "b"}]),
        report(),
        report("pohon tumbang dekat pasar", category_reported="pohon", **PLACE),
    ]
    made = table(*rows)
    whole = flat(traits_of(made, MATCHING))
    assert flat(traits_of(to_frame(made), MATCHING)) == whole
    assert flat(traits_of(pd.concat([to_frame(made[:1]), to_frame(made[1:])]), MATCHING)) == whole
    assert flat(concat([read(row) for row in rows])) == whole
    assert flat(concat([read(*rows[1:]), read(rows[0])]).take(np.array([2, 0, 1]))) == whole


@given(st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=6), st.data())
def test_lists_of_any_lengths_are_taken_as_a_plain_list_is(lists: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=9)) if lists else []
    made = Ragged(np.array([v for some in lists for v in some], np.int64), np.cumsum([0, *map(len, lists)]))
    took = made.take(np.array(rows, np.int64))
    assert [took.values[a:b].tolist() for a, b in zip(took.start, took.start[1:], strict=False)] == [
        lists[n] for n in rows
    ]
    assert made.owners().tolist() == [n for n, some in enumerate(lists) for _ in some]


@given(st.lists(st.integers(-(2**62), 2**62) | st.integers(-3, 3)))
def test_the_different_numbers_of_many_rise(numbers: list[int]) -> None:
    assert distinct(np.array(numbers, dtype=np.int64)).tolist() == sorted(set(numbers))
