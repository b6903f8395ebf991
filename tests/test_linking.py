"""Linking new reports over what the warehouse remembers, by the real engine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.acts_world import START, City, Tables, city, loaded, report_of, ticket_of
from tests.conftest import Callable, Settings
from tests.made_up import JAKI

DAY = timedelta(days=1)


@pytest.fixture
def town(make_settings: Callable[..., Settings]) -> City:
    return city(make_settings(JAKI))


def said(ago: float) -> str:
    """A cell: so many days before the first message landed, in Jakarta's time."""
    return (START - ago * DAY + timedelta(hours=7)).strftime("%d/%m/%Y %H:%M")


def cut(town: City, folder: Path, *sizes: int) -> Tables:
    whole = loaded(town, folder)
    assert loaded(town, folder, sizes).parts == whole.parts
    return whole


def test_a_load_that_brings_nothing_but_thanks_links_nothing(town: City, tmp_path: Path) -> None:
    town.say(1, isi="Terima kasih petugas PPSU, got sudah bersih", kategori="PPSU")
    assert loaded(town, tmp_path / "db").parts == {}


def test_loads_that_bring_nothing_but_edits_link_nothing(town: City, tmp_path: Path) -> None:
    town.say(1)
    town.say(1, isi="Jalan berlubang makin dalam")
    assert cut(town, tmp_path / "db", 1).parts == {ticket_of(1): frozenset({report_of(1)})}


def test_a_merged_ticket_takes_reports_within_the_time_of_its_first_one_however_loads_are_cut(
    town: City, tmp_path: Path
) -> None:
    """Such a matter stays 14 days. The third report meets the second one's first report, whose ticket was merged with one that
    is older than that, and elsewhere."""
    town.say(1, at=100, isi="Lubang besar menganga sejak lama", tanggal=said(20))
    town.say(2, isi="Jalan berlubang di depan SDN", pelapor="Warga Dua", tanggal=said(5))
    town.act("merge", ticket_of(1), other_id=ticket_of(2))
    town.say(3, isi="Aspal bolong dalam sekali depan SDN", pelapor="Warga Dua", tanggal=said(4.5))
    whole = cut(town, tmp_path / "db", 2)
    assert cut(town, tmp_path / "db", 3) == whole
    assert whole.parts == {
        ticket_of(1): frozenset({report_of(1), report_of(2)}),
        ticket_of(3): frozenset({report_of(3)}),
    }
