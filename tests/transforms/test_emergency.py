"""Emergencies on written cases (models/emergencies.tsv, cases/emergency_fresh.tsv), and the promises of how a text is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from read_cases import cases

from pipelines import classifiers
from pipelines.knowledge import Knowledge
from pipelines.settings import Settings, default_models_dir
from pipelines.transforms.emergency import Alarm, Alarms
from pipelines.transforms.route import fold

CASES = cases("emergencies", default_models_dir())
FRESH = cases("emergency_fresh")  # written before their author had read a rule
FIRE = Alarm("api", ("kebakar*", "si jago merah"), (), ("sate",))
CRASH = Alarm("laka", (), ((("tabrak*",), ("luka*", "pingsan")),), ())
OWN = Alarms(
    [FIRE, CRASH],
    unless=("takut",),
    calm=("minggu lalu",),
    window=4,
    reads=60,
    spellings={"kbkran": "kebakaran", "nabrak": "tabrak", "mg": "minggu"},
)


def flagged(alarms: Alarms, text: str) -> str | None:
    return alarms.of(text, fold(text), fold)


def test_nineteen_of_twenty_emergencies_are_flagged_and_hardly_a_complaint(own_knowledge: Knowledge) -> None:
    alarms = own_knowledge.routing.alarms
    now = [c["text"] for c in CASES if c["emergency"]]
    other = [c["text"] for c in CASES if not c["emergency"]]
    missed = [t for t in now if not flagged(alarms, t)]
    wrong = [t for t in other if flagged(alarms, t)]
    assert len(now) >= 110 and len(other) >= 110
    assert len(missed) <= 0.05 * len(now), missed
    assert len(wrong) <= 0.05 * (len(now) - len(missed)), wrong


def test_seven_of_eight_emergencies_of_texts_that_no_rule_was_written_for_are_flagged(own_knowledge: Knowledge) -> None:
    alarms = own_knowledge.routing.alarms
    unread = FRESH[1::2]  # odd lines of the file; the others were looked at when rules were mended
    now = [c["text"] for c in unread if c["emergency"] == "1"]
    other = [c["text"] for c in unread if c["emergency"] == "0"]
    missed = sum(not flagged(alarms, t) for t in now)
    wrong = sum(bool(flagged(alarms, t)) for t in other)
    assert len(now) == 96 and len(other) == 36
    assert missed <= len(now) / 8
    assert wrong <= 0.05 * (len(now) - missed)


def test_with_the_judge_nineteen_of_twenty_emergencies_are_flagged_and_of_those_that_nobody_read_nearly_so(
    own_knowledge: Knowledge, own_settings: Settings
) -> None:
    alarms, alike = own_knowledge.routing.alarms, classifiers.likeness(own_settings)
    texts = [c["text"] or "" for c in FRESH]
    found = [bool(flagged(alarms, t)) or like for t, like in zip(texts, alike.of(texts), strict=True)]
    now = [c["emergency"] == "1" for c in FRESH]
    for part, least in ((slice(None), 0.95), (slice(1, None, 2), 0.94)):
        right = sum(f and n for f, n in zip(found[part], now[part], strict=True))
        assert right >= least * sum(now[part])
        assert sum(found[part]) - right <= 0.03 * right


def test_everyday_complaints_are_told_like_no_emergency(own_settings: Settings) -> None:
    texts = ["lampu jalan mati di depan pasar", "sampah menumpuk di tps", "mohon perbaiki trotoar rusak", ""]
    assert classifiers.likeness(own_settings).of(texts) == [False] * 4
    assert classifiers.likeness(own_settings).of([]) == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Tidak ada kebakaran, cuma asap sate tetangga", None),
        ("bukan kebakaran besar, hanya bakar daun", None),
        ("Besok ada simulasi kebakaran di gedung sekolah", None),
        ("Ada kebakaran bukan simulasi! api sudah besar", "kebakaran"),
        ("Tidak bohong ada kebakaran di rusun", "kebakaran"),
    ],
)
def test_what_is_denied_or_rehearsed_is_no_fire_and_what_is_not_is_one(
    own_knowledge: Knowledge, text: str, rule: str | None
) -> None:
    assert flagged(own_knowledge.routing.alarms, text) == rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("pasar kebakaran", "api"),
        ("pasar kbkran", "api"),
        ("pasar kebakarannnn", "api"),
        ("nabrakkk, pingsan", "laka"),
        ("kebakaran mg lalu", None),
        ("Kebakarannya besar", "api"),
        ("terkebakaran", None),
        ("Si Jago Merah datang", "api"),
        ("si jago. merah", None),
        ("takut kebakaran", None),
        ("warga takut, pasar kebakaran", "api"),
        ("kebakaran sate", None),
        ("kebakaran. minggu lalu", None),
        ("tabrakan, dua luka2", "laka"),
        ("tabrakan di jalan", None),
        ("luka lama. tabrakan", "laka"),
        ("tabrakan a b c d luka", None),
        (f"{'x ' * 40}kebakaran", None),
        (f"kebakaran {'x ' * 400}minggu lalu", None),
        ("", None),
    ],
)
def test_a_text_is_read_as_the_file_says(text: str, rule: str | None) -> None:
    assert flagged(OWN, text) == rule


def test_what_was_read_before_changes_no_reading(own_knowledge: Knowledge) -> None:
    """Words are remembered between texts."""
    texts = [str(c["text"]) for c in (*CASES, *FRESH)]
    alarms = own_knowledge.routing.alarms
    once = [flagged(alarms, text) for text in texts]
    assert [flagged(alarms, text) for text in reversed(texts)] == once[::-1]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(["kebakaran", "takut", "tabrak", "luka", "pingsan", "x", ".", ",", "sate"]), max_size=12)
)
def test_words_that_silence_never_raise_an_alarm(words: list[str]) -> None:
    said = " ".join(words)
    assert flagged(OWN, f"{said}. minggu lalu") is None
    loud = Alarms([FIRE, CRASH], window=4, reads=60)
    assert flagged(OWN, said) is None or flagged(loud, said) is not None
