"""People split, merge and pin: reports move, tickets follow, and every order of loading tells the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from pipelines.settings import Settings
from tests.acts_world import FAR, City, Tables, city, loaded, no_of, report_of, ticket_of
from tests.made_up import JAKI

R, T = report_of, ticket_of
Make = Callable[..., Settings]
VAGUE = "Mohon dibantu ya min, sudah lama begini terus"


@pytest.fixture
def town(make_settings: Make) -> City:
    return city(make_settings(JAKI))


@pytest.fixture
def load(tmp_path: Path, town: City) -> Callable[..., Tables]:
    return lambda *sizes: loaded(town, tmp_path / "cuts", sizes)


def street(town: City) -> None:
    """Reports 1, 2 and 3 are one ticket, though 2 tells of another place and only cites its number; 5 and 6 are another."""
    town.say(1)
    town.say(2, at=2 * FAR, isi=f"Menyusul {no_of(1)}: jalan berlubang cukup dalam di sini juga")
    town.say(3, at=-1)
    town.say(5, at=FAR)
    town.say(6, at=FAR + 1)


def test_what_was_split_off_is_a_ticket_of_its_own_named_by_its_earliest_report(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.act("split", T(1), R(3), R(2))
    found = load()
    assert found.parts == {T(1): {R(1)}, T(2): {R(2), R(3)}, T(5): {R(5), R(6)}}
    assert found.events == {T(1): ["opened", "joined", "joined", "split"], T(2): ["split"], T(5): ["opened", "joined"]}
    assert found.outcomes == ["event"]
    assert [found.tickets[t]["report_count"] for t in (T(1), T(2))] == [1, 2]


def test_a_ticket_keeps_its_first_report_so_where_that_one_is_named_the_others_leave(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.act("split", T(1), R(1), R(3))
    assert load().parts == {T(1): {R(1), R(3)}, T(2): {R(2)}, T(5): {R(5), R(6)}}


def test_later_reports_are_compared_with_what_was_split_off_as_with_any_ticket(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.act("split", T(1), R(2))
    town.say(8, at=2 * FAR)  # where report 2 is, far from report 1
    found = load()
    assert found.links[R(8)][0] == T(2)
    assert load(5, 1) == found


def test_an_edit_of_what_was_split_off_is_one_of_its_new_ticket_and_nothing_rejoins(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.act("split", T(1), R(2))
    town.say(2, isi="Pohon tumbang menutup jalan", kategori="Pohon")
    town.say(9, at=0)
    found = load()
    assert found.parts == {T(1): {R(1), R(3), R(9)}, T(2): {R(2)}, T(5): {R(5), R(6)}}
    assert found.tickets[T(2)]["category"] == "pohon"
    assert found.events[T(2)] == ["split", "edited"]
    assert found.tickets[T(1)]["category"] == "jalan"


def test_a_ticket_tells_what_the_reports_say_that_it_still_has(town: City, load: Callable[..., Tables]) -> None:
    town.say(1, at=0, isi=VAGUE, kategori="", kelurahan="")
    alone = load()
    town.say(
        2, at=3 * FAR, isi=f"Menyusul {no_of(1)}: rumah terbakar, api membesar sekarang, tolong!", kategori="Kebakaran"
    )
    both = load()
    told = (
        "category",
        "review_reason",
        "emergency",
        "report_count",
        "kelurahan_code",
        "last_report_at",
        "completeness",
    )
    assert [both.tickets[T(1)][c] for c in told] != [alone.tickets[T(1)][c] for c in told]
    assert both.tickets[T(1)]["emergency"]
    town.act("split", T(1), R(2))
    parted = load()
    assert parted.tickets[T(1)] == alone.tickets[T(1)]
    assert parted.tickets[T(2)]["emergency"]
    town.act("merge", T(2), other_id=T(1))
    assert load().live() == both.live()


def test_what_an_officer_set_stays_whichever_reports_leave_or_come(town: City, load: Callable[..., Tables]) -> None:
    street(town)
    town.status(T(1), "proses", category="pohon")
    before = load().tickets[T(1)]
    town.act("split", T(1), R(2), R(3))
    after = load().tickets[T(1)]
    owned = ("status", "status_at", "frozen", "category", "agency_id", "unit", "kelurahan_code", "kind")
    assert [after[c] for c in owned] == [before[c] for c in owned]
    assert (after["report_count"], after["last_report_at"] < before["last_report_at"]) == (1, True)
    assert load().tickets[T(2)]["status"] == "menunggu"


def test_of_merged_tickets_the_younger_points_to_the_older_and_counts_nothing(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    act = town.act("merge", T(5), other_id=T(1), reason="lubang yang sama, hubungi 081200000000")
    town.say(8, at=FAR + 1)  # matches report 5 alone
    found = load()
    assert found.parts == {T(1): {R(1), R(2), R(3), R(5), R(6), R(8)}}
    assert found.tickets[T(5)] == {"superseded_by": T(1)}
    assert found.events == {
        T(1): ["opened", "joined", "joined", "merged", "joined"], T(5): ["opened", "joined", "merged"],
    }  # fmt: skip
    _, level, _, why, _ = found.links[R(6)]
    told = orjson.loads(why)
    assert (level, told["keputusan"], told["oleh"], told["alasan"]) == (
        "decision", act, "Sari", "lubang yang sama, hubungi [TELEPON]",
    )  # fmt: skip
    assert (told["sebelumnya"]["ticket_id"], told["sebelumnya"]["score"] > 500) == (T(5), True)
    assert orjson.loads(found.links[R(8)][3])["lewat"] == T(5)
    assert load(3, 3, 1) == found


def test_a_chain_of_merges_leads_to_its_end_and_can_be_undone_from_there(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.say(7, at=3 * FAR)
    before = load()
    first = town.act("merge", T(7), other_id=T(5))
    middle = load()
    second = town.act("merge", T(5), other_id=T(1))
    town.say(8, at=3 * FAR)
    found = load()
    assert {t: found.tickets[t]["superseded_by"] for t in (T(5), T(7))} == {T(5): T(1), T(7): T(1)}
    assert R(8) in found.parts[T(1)]
    town.act("undo", undoes=first)  # the second was built on it
    town.act("undo", undoes=second)
    back = load()
    assert back.outcomes == ["event", "event", "quarantined", "event"]
    assert back.parts == middle.parts | {T(5): middle.parts[T(5)] | {R(8)}}
    town.act("undo", undoes=first)
    assert load().parts == before.parts | {T(7): {R(7), R(8)}}


def test_splitting_off_the_first_report_of_a_merged_ticket_revives_that_ticket(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    before = load()
    town.act("merge", T(5), other_id=T(1))
    town.act("split", T(1), R(5), R(6))
    after = load()
    assert (after.parts, after.live()) == (before.parts, before.live())
    assert after.events[T(5)] == ["opened", "joined", "merged", "split"]


def test_a_status_for_a_ticket_that_was_merged_is_its_own_and_closes_nothing_else(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    act = town.act("merge", T(5), other_id=T(1))
    town.status(T(5), "selesai")
    town.say(8, at=FAR + 1)
    found = load()
    assert R(8) in found.parts[T(1)]
    assert found.tickets[T(1)]["status"] == "menunggu"
    town.act("undo", undoes=act)
    town.say(9, at=FAR + 1)  # the ticket of reports 5, 6 and 8 is finished: this one opens its own
    undone = load()
    assert undone.parts == {T(1): {R(1), R(2), R(3)}, T(5): {R(5), R(6), R(8)}, T(9): {R(9)}}
    assert undone.tickets[T(5)]["status"] == "selesai"


def test_words_of_a_merged_tickets_first_report_go_on_reaching_that_ticket(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    act = town.act("merge", T(5), other_id=T(1))
    town.say(5, isi="Lubangnya sudah setengah meter", status="Proses")
    merged = load()
    assert merged.events[T(5)] == ["opened", "joined", "merged", "edited"]
    town.act("undo", undoes=act)
    found = load()
    assert (found.tickets[T(5)]["description"], found.tickets[T(5)]["status"]) == (
        "Lubangnya sudah setengah meter", "proses",
    )  # fmt: skip
    assert load(7, 1) == found


def test_a_pinned_report_stays_where_it_is_when_a_merge_is_undone(town: City, load: Callable[..., Tables]) -> None:
    street(town)
    act = town.act("merge", T(5), other_id=T(1))
    town.act("pin", T(1), R(6))
    town.act("undo", undoes=act)
    assert load().parts == {T(1): {R(1), R(2), R(3), R(6)}, T(5): {R(5)}}


def test_a_merge_takes_pinned_reports_along_and_its_undo_brings_them_back(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.act("pin", T(5), R(2))
    pinned = load()
    assert pinned.parts == {T(1): {R(1), R(3)}, T(5): {R(2), R(5), R(6)}}
    act = town.act("merge", T(5), other_id=T(1))
    assert load().parts == {T(1): {R(n) for n in (1, 2, 3, 5, 6)}}
    town.act("undo", undoes=act)
    assert (load().parts, load().live()) == (pinned.parts, pinned.live())


def test_pinned_reports_do_not_leave_when_the_others_are_split_off_but_a_split_that_names_them_moves_them(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.act("pin", T(1), R(3))
    town.act("split", T(1), R(1))
    assert load().parts[T(1)] == {R(1), R(3)}
    town.act("split", T(1), R(3))
    assert load().parts == {T(1): {R(1)}, T(2): {R(2)}, T(3): {R(3)}, T(5): {R(5), R(6)}}


def test_what_joined_because_of_a_split_comes_back_with_it(town: City, load: Callable[..., Tables]) -> None:
    street(town)
    act = town.act("split", T(1), R(2))
    town.say(8, at=2 * FAR)
    town.act("undo", undoes=act)
    found = load()
    assert found.parts == {T(1): {R(1), R(2), R(3), R(8)}, T(5): {R(5), R(6)}}
    assert found.tickets[T(2)] == {"superseded_by": T(1)}


def test_a_decision_that_is_brought_back_is_as_if_it_had_always_stood_whatever_was_merged_meanwhile(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    town.say(7, at=3 * FAR)
    apart = load()
    pin = town.act("pin", T(7), R(6))
    merge = town.act("merge", T(5), other_id=T(1))
    stood = load()
    undo = town.act("undo", undoes=pin)
    assert load().parts == {T(1): {R(n) for n in (1, 2, 3, 5, 6)}, T(7): {R(7)}}
    again = town.act("undo", undoes=undo)
    assert (load().parts, load().links, load().live()) == (stood.parts, stood.links, stood.live())
    town.act("undo", undoes=merge)
    assert load().parts == {T(1): {R(1), R(2), R(3)}, T(5): {R(5)}, T(7): {R(6), R(7)}}
    town.act("undo", undoes=again)
    assert (load().parts, load().links, load().live()) == (apart.parts, apart.links, apart.live())
    assert load(*[1] * 11).hashes == load().hashes


def test_what_was_there_before_a_decision_stays_when_it_is_undone_and_brought_back(
    town: City, load: Callable[..., Tables]
) -> None:
    town.say(10)
    town.say(1, at=FAR)
    town.say(3, at=2 * FAR)
    town.act("merge", T(10), other_id=T(1))
    town.say(5, at=FAR)  # is there because of 1, and long before what follows
    pin = town.act("pin", T(3), R(1))
    stood = load()
    assert stood.parts == {T(10): {R(5), R(10)}, T(3): {R(1), R(3)}}
    undo = town.act("undo", undoes=pin)
    assert load().parts == {T(10): {R(1), R(5), R(10)}, T(3): {R(3)}}
    town.act("undo", undoes=undo)
    assert (load().parts, load().links) == (stood.parts, stood.links)
    back = town.act("pin", T(10), R(1))
    town.act("undo", undoes=back)
    assert (load().parts, load().links) == (stood.parts, stood.links)


def test_what_joined_because_of_a_pinned_report_goes_back_with_it(town: City, load: Callable[..., Tables]) -> None:
    words = "jalan berlubang cukup dalam di sini juga tolong segera diperbaiki oleh petugas dinas terkait"
    town.say(1)
    town.say(2, at=2 * FAR, isi=f"Menyusul {no_of(1)}: {words}")
    town.say(3, at=FAR)
    pin = town.act("pin", T(3), R(2))
    town.say(5, at=2 * FAR, isi=f"Menyusul: {words}")
    assert load().parts == {T(1): {R(1)}, T(3): {R(2), R(3), R(5)}}
    undo = town.act("undo", undoes=pin)
    found = load()
    assert found.parts == {T(1): {R(1), R(2), R(5)}, T(3): {R(3)}}
    assert "lewat" not in orjson.loads(found.links[R(5)][3])
    town.act("undo", undoes=undo)
    assert load().parts == {T(1): {R(1)}, T(3): {R(2), R(3), R(5)}}
    assert load(*[1] * 7).hashes == load(4, 3).hashes == load().hashes


def test_why_a_report_is_where_it_is_reads_alike_however_the_order_is_cut_and_after_an_undo(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    merge = town.act("merge", T(5), other_id=T(1))
    town.say(8, at=FAR)
    merged = load()
    split = town.act("split", T(1), R(8))
    town.act("undo", undoes=split)
    assert load().links == load(6, 1, 1).links == merged.links
    town.act("undo", undoes=merge)
    [back, *others] = [load(), load(6, 1, 1, 1), load(7, 1, 1)]
    assert all(other.hashes == back.hashes for other in others)
    assert "lewat" not in orjson.loads(back.links[R(8)][3])


def test_the_same_merge_pin_or_message_twice_is_a_repeat(town: City, load: Callable[..., Tables]) -> None:
    street(town)
    for _ in range(2):
        town.act("merge", T(5), other_id=T(1))
    for _ in range(2):
        town.act("pin", T(1), R(6))
    assert load().outcomes == ["event", "repeat", "event", "repeat"]
    assert load(6, 1, 1, 1) == load()


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (("split", T(4), R(2)), f"tiket {T(4)} tidak ada"),
        (("split", T(2), R(2)), f"tiket {T(2)} tidak ada"),
        (("split", T(1), R(6)), f"laporan {R(6)} tidak ada di tiket {T(1)}, tetapi di {T(5)}"),
        (("split", T(1), "takada"), "laporan takada belum ada di Kanal atau tidak punya tiket"),
        (("split", T(1), R(4)), f"laporan {R(4)} belum ada di Kanal atau tidak punya tiket"),
        (("split", T(1), R(1), R(2), R(3)), "semua laporan"),
        (("merge", T(1)), "other_id kosong"),
        (("pin", T(5), R(1)), f"laporan pertama tiket {T(1)}"),
        (("pin", T(5), R(1), R(2)), "hanya satu laporan"),
        (("undo",), "undoes kosong"),
    ],
)  # fmt: skip
def test_a_decision_that_cannot_be_is_set_aside_with_the_reason_and_changes_nothing(
    town: City, load: Callable[..., Tables], act: tuple[Any, ...], why: str
) -> None:
    street(town)
    town.say(4, isi="Terima kasih petugas PPSU, got depan rumah kami sudah bersih", kategori="PPSU")
    before = load()
    town.act(*act)
    found = load()
    assert (found.outcomes, found.live(), found.links) == (["quarantined"], before.live(), before.links)
    assert why in found.reasons[0]
    assert "Putuskan lagi dengan kanal ticket" in found.reasons[0]


def test_a_decision_that_stands_before_its_reports_is_set_aside_however_the_order_is_cut(
    town: City, load: Callable[..., Tables]
) -> None:
    town.say(1)
    town.act("split", T(1), R(2))
    town.say(2, at=1)
    assert load().outcomes == load(1, 1).outcomes == ["quarantined"]


def test_undoing_what_is_undone_or_was_never_decided_is_refused(town: City, load: Callable[..., Tables]) -> None:
    street(town)
    act = town.act("merge", T(5), other_id=T(1))
    for undoes in (act, act, "takada"):
        town.act("undo", undoes=undoes)
    found = load()
    assert found.outcomes == ["event", "event", "quarantined", "quarantined"]
    assert [why in found.reasons[n] for n, why in enumerate(("sudah dibatalkan", "takada tidak ada"))] == [True] * 2


def test_a_split_that_others_were_merged_into_is_undone_only_after_them(
    town: City, load: Callable[..., Tables]
) -> None:
    street(town)
    act = town.act("split", T(1), R(2))
    later = town.act("merge", T(5), other_id=T(2))
    town.act("undo", undoes=act)
    found = load()
    assert found.outcomes == ["event", "event", "quarantined"]
    assert later in found.reasons[0]
