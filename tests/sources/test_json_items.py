"""JSON read object by object: the same objects as read at once, whatever the window."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources import json_items
from pipelines.sources.json_items import BadJsonError, Item, flat, lines, objects

VALUE = st.recursive(
    st.none() | st.booleans() | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), VALUE, max_size=4), max_size=8)


def text(value: str) -> io.StringIO:
    return io.StringIO(value, newline="")


@settings(max_examples=200, deadline=None)
@given(OBJECTS, st.integers(1, 40), st.sampled_from([None, 2]))
def test_objects_come_as_they_were_written_whatever_the_window(
    items: list[dict[str, Any]], chunk: int, indent: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_items, "_CHUNK", chunk)
        wrapped = {"meta": {"jumlah": [1, 2, {"a": "]"}]}, "data": {"reports": items}, "akhir": 1}
        plain = list(objects(text(json.dumps(items, indent=indent)), ()))
        inner = list(objects(text(json.dumps(wrapped, indent=indent)), ("data", "reports")))
        by_line = list(lines(text("".join(json.dumps(i, ensure_ascii=False) + "\n" for i in items))))
    assert plain == inner == by_line == [Item(i) for i in items]


def test_numbers_keep_the_digits_they_were_written_with() -> None:
    found = list(
        objects(text('[{"id": 12345678901234567890123, "lat": -6.20, "n": NaN, "i": -Infinity, "e": 1e5}]'), ())
    )
    assert found == [Item({"id": "12345678901234567890123", "lat": "-6.20", "n": "NaN", "i": "-Infinity", "e": "1e5"})]


@pytest.mark.parametrize(
    ("written", "path", "before", "why"),
    [
        ('[{"a": 1}, {"a": ', (), 1, "bukan JSON yang utuh"),
        ('[{"a": 1}, {"a": "terpot', (), 1, "bukan JSON yang utuh"),
        ('[{"a": 1} {"a": 2}]', (), 1, "bukan JSON yang utuh"),
        ('[{"a": 1}, {a: 2}, {"a": 3}' + " " * 100 + "]", (), 1, "bukan JSON yang utuh"),
        ("[", (), 0, "bukan JSON yang utuh"),
        ('{"data": []}', (), 0, "opsi records"),
        ('{"data": []}', ("isi",), 0, "tidak punya daftar laporan di isi"),
        ("{}", ("isi",), 0, "tidak punya daftar laporan di isi"),
        ('[{"a": 1}, ' + '{"a":' * 100_000, (), 1, "bersarang terlalu dalam"),
    ],
)
def test_what_stands_before_the_damage_is_read_and_the_damage_is_named(
    written: str, path: tuple[str, ...], before: int, why: str
) -> None:
    found = objects(text(written), path)
    assert [next(found).value for _ in range(before)] == [{"a": "1"}] * before
    with pytest.raises(BadJsonError, match=why):
        next(found)


def test_one_object_may_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "MAX_OBJECT", 100_000)
    with pytest.raises(BadJsonError, match="satu objeknya lebih dari"):
        list(objects(text('[{"a": "' + "x" * 1_000_000 + '"}]'), ()))


def test_a_broken_line_is_one_item_and_the_lines_behind_it_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_items, "MAX_OBJECT", 1_000)
    long = '{"a": "' + "x" * 3_000 + '"}'
    found = list(lines(text(f'\ufeff{{"a": 1}}\n\n{{"a": \n{long}\n[1]\n{{"a": 2}}')))
    assert found == [
        Item({"a": "1"}), Item(None, '{"a": \n'), Item(None, long[:1_000]), Item(None, "[1]\n"), Item({"a": "2"})
    ]  # fmt: skip


def test_nested_fields_get_a_name_with_dots_and_lists_stay_json() -> None:
    value = {"a": {"b": {"c": "x"}}, "d": ["satu", {"e": None}], "f": True, "g": None, "h": [], "i": "1.50"}
    assert flat(value) == {"a.b.c": "x", "d": '["satu", {"e": null}]', "f": "true", "i": "1.50"}
    deep: dict[str, Any] = {"x": "dasar"}
    for _ in range(9):
        deep = {"x": deep}
    assert flat(deep) == {"x.x.x.x.x.x.x": '{"x": {"x": {"x": "dasar"}}}'}


def test_objects_that_stand_in_an_object_by_their_keys_gain_the_key() -> None:
    text = '{"n": 2, "reports": {"101": {"isi": "a"}, "102": {"isi": "b"}, "103": 7}}'
    found = list(objects(io.StringIO(text), ["reports"], "TrackingID"))
    assert [item.value for item in found] == [
        {"TrackingID": "101", "isi": "a"}, {"TrackingID": "102", "isi": "b"}, None,
    ]  # fmt: skip
    assert list(objects(io.StringIO('{"reports": {}}'), ["reports"], "k")) == []
    assert [i.value for i in objects(io.StringIO('[{"isi": "a"}]'), [], "k")] == [{"isi": "a"}]
