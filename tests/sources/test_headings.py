"""What columns are called, however many a header claims to have."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.headings import fold, names_of


@given(st.lists(st.sampled_from(["", " ", "Isi", "isi ", "Isi (2)", "kolom 2", "No"]), max_size=12))
def test_columns_have_names_of_their_own_as_far_as_the_last_one_that_has_any(header: list[str]) -> None:
    names = names_of(header)
    assert len({fold(name) for name in names}) == len(names)
    assert not any(name.strip() for name in header[len(names) :])
    assert not header[: len(names)] or header[len(names) - 1].strip()


def test_a_header_made_to_hurt_is_named_as_any_other() -> None:
    # Twice as many took four times as long once: minutes for the first, hours for the second.
    assert names_of(["a"] * 50_000)[-1] == "a (50000)"
    assert names_of(["a", *[""] * 900_000]) == ["a"]
