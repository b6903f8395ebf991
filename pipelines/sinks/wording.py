"""Numbers, shares, changes and times as Indonesian readers write them. Pure; knows no figures."""

from __future__ import annotations

from datetime import date, datetime

from pipelines.contracts import WIB

MONTHS = tuple("Januari Februari Maret April Mei Juni Juli Agustus September Oktober November Desember".split())
NOTHING = "–"


def number(value: float | None, decimals: int = 0) -> str:
    """1234.5 -> 1.234,5; None -> a dash."""
    if value is None:
        return NOTHING
    return f"{value:,.{decimals}f}".translate(str.maketrans(",.", ".,"))


def percent(share: float | None) -> str:
    """0.1234 -> 12,3%"""
    return NOTHING if share is None else f"{number(share * 100, 1)}%"


def change(now: int, before: int) -> str:
    """An arrow and how much in percent; in words where there is nothing to divide by."""
    if not before:
        return "baru" if now else NOTHING
    if now == before:
        return "tetap"
    return f"{'▲' if now > before else '▼'} {percent(abs(now - before) / before)}"


def change_words(now: int, before: int) -> str:
    """The same inside a sentence: naik 4,2%."""
    if now == before:
        return "sama banyak"
    return f"{'naik' if now > before else 'turun'} {percent(abs(now - before) / before)}"


def month(day: date) -> str:
    return f"{MONTHS[day.month - 1]} {day.year}"


def short_month(day: date) -> str:
    return f"{MONTHS[day.month - 1].replace('Agustus', 'Agu')[:3]} {day:%y}"


def day(value: date) -> str:
    return f"{value.day} {month(value)}"


def moment(value: datetime | None) -> str:
    """15 Juni 2026 pukul 10.00 WIB"""
    if value is None:
        return NOTHING
    local = value.astimezone(WIB)
    return f"{day(local.date())} pukul {local:%H.%M} WIB"


def ago(hours: float | None) -> str:
    """How long since, in hours below two days, else in days."""
    if hours is None:
        return NOTHING
    return f"{number(hours)} jam" if hours < 48 else f"{number(hours // 24)} hari"
