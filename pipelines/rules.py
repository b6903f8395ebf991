"""models/agencies.toml, routing.toml, emergency.toml and sla.toml -> who acts, and by when.

Belongs here: reading those files and checking that they name only what exists; SettingsError says
which file and entry. Not here: applying the rules (transforms), the other files of models/ (knowledge).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path

from pipelines import entries
from pipelines.entries import number, slips, text, texts
from pipelines.errors import SettingsError
from pipelines.transforms.classify import fold_label
from pipelines.transforms.gazetteer import Gazetteer
from pipelines.transforms.route import Agency, Alarm, Routing, Rule, phrases
from pipelines.transforms.ticket import Clock


def agencies(path: Path) -> dict[str, Agency]:
    """agencies.toml, by id."""
    found = {}
    for e in entries.entries(path, "agency", ("id", "name", "kind", "parent", "suku_dinas", "aliases")):
        with slips(path, f"agency {e['id']!r}"):
            office = text(e, "suku_dinas") if "suku_dinas" in e else None
            found[e["id"]] = Agency(e["id"], text(e, "name"), text(e, "kind"), office)
    return found


def agency_aliases(path: Path) -> dict[str, str]:
    """Folded names and aliases of agencies -> id. Names of several agencies name none."""
    found: dict[str, str | None] = {}
    for e in entries.entries(path, "agency"):
        with slips(path, f"agency {e['id']!r}"):
            for label in {fold_label(v) for v in (e["id"], text(e, "name"), *texts(e, "aliases"))}:
                found[label] = e["id"] if label not in found else None
    return {label: agency for label, agency in found.items() if agency}


_RULE_KEYS = ("id", "category", "any", "none", "area", "agency", "upt", "why")
_ALARM_KEYS = ("id", "label", "any", "all", "none")


def routing(
    models: Path, gazetteer: Gazetteer, channels: Mapping[str, tuple[bool, str]], categories: Mapping[str, str]
) -> Routing:
    """Who acts, and what is an emergency: agencies.toml, routing.toml and emergency.toml, which name only what exists."""
    known = agencies(models / "agencies.toml")
    path = models / "routing.toml"
    rules = []
    for e in entries.entries(path, "rule", _RULE_KEYS):
        with slips(path, f"rule {e['id']!r}"):
            rule = Rule(
                e["id"],
                frozenset(texts(e, "category")),
                phrases(texts(e, "any")),
                phrases(texts(e, "none")),
                frozenset(texts(e, "area")),
                text(e, "agency"),
                text(e, "upt") if "upt" in e else None,
            )
        for what, named, there in (
            ("agency", {rule.agency, rule.upt or rule.agency}, known),
            ("category", rule.categories, categories),
            ("area", rule.areas, set(gazetteer.kota["kota_code"])),
        ):
            if unknown := sorted(named - set(there)):
                raise SettingsError(f"{path}: rule {rule.id!r} names unknown {what} {unknown[0]!r}")
        rules.append(rule)
    if not rules or rules[-1].categories or rules[-1].any or rules[-1].none or rules[-1].areas:
        raise SettingsError(f"{path}: the last rule must hold for everything")
    return Routing(
        rules=tuple(rules),
        alarms=_alarms(models / "emergency.toml"),
        agencies=known,
        kota_names=dict(zip(gazetteer.kota["kota_code"], gazetteer.kota["full_name"], strict=True)),
        kelurahan_names=dict(zip(gazetteer.kelurahan["kelurahan_code"], gazetteer.kelurahan["kelurahan"], strict=True)),
        channels=channels,
    )


def _alarms(path: Path) -> tuple[Alarm, ...]:
    found = []
    for e in entries.entries(path, "rule", _ALARM_KEYS):
        with slips(path, f"rule {e['id']!r}"):
            every = phrases(texts(e, "all")) or frozenset()
            some = phrases(texts(e, "any")) or every
            if not some:
                raise TypeError("it asks for nothing: give `any` or `all`")
            found.append(Alarm(e["id"], some, every, phrases(texts(e, "none"))))
    return tuple(found)


_CLOCKS = ("coordination", "completion", "first_action", "red_mark", "agency_reply", "close_without_reply")
_LIMITS = ("limit_hours", "limit_days", "limit_working_days")


def clocks(path: Path, channels: Collection[str]) -> tuple[Clock, ...]:
    """sla.toml: the clocks for all and for single channels; those for others are only checked."""
    found = []
    for entry in entries.entries(path, "rule", ("id", "clock", "applies_to", *_LIMITS, "source")):
        with slips(path, f"rule {entry['id']!r}"):
            hours, days, working = (number(entry, key, 0) for key in _LIMITS)
            limit = timedelta(days=days or working, hours=hours)
            clock, applies = text(entry, "clock"), text(entry, "applies_to")
            if clock not in _CLOCKS:
                raise ValueError(f"clock {clock!r} is none of {', '.join(_CLOCKS)}")
            if not limit:
                raise ValueError(f"it has no limit; give one of {', '.join(_LIMITS)}")
            channel = applies.removeprefix("channel=") if applies.startswith("channel=") else None
            if channel not in (None, *channels):
                raise ValueError(f"applies_to names the channel {channel!r}, which is in no registry")
            if channel is None and applies not in ("all", "geo_tagged"):
                raise ValueError(f"applies_to {applies!r} is none of all, geo_tagged, channel=<id>")
        if applies == "all" or channel:
            found.append(Clock(clock, channel, limit))
    return tuple(found)
