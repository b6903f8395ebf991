"""A file -> the [[stream]] that would read it, and what that stream would bring.

Every column's look is weighed against every field (columns); the best pairs win, each column and
field once. What had to be supposed is said. The proposal is then run over the file as an export stream would,
so that what is shown is what would be landed, personal data masked.

Belongs here: choosing, writing TOML, the preview. Not here: finding tables (sources/sample).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines import columns, entries, knowledge, places, rules
from pipelines.columns import Look, Vocabulary
from pipelines.contracts import WIB, Draft, Stream
from pipelines.errors import PermanentError, RejectedMessage, SettingsError
from pipelines.settings import Settings
from pipelines.sources import export, sample
from pipelines.sources.by_hand import Sheet
from pipelines.sources.headings import fold
from pipelines.sources.mapping import plan_of
from pipelines.streams import mappings, with_mapping
from pipelines.transforms.redact import mask

_READ = 20_000  # messages of the preview
_SHOWN = 5
# Of two fields that fit one column as well, the one named first: an id is also a reference.
_FIELDS = (
    "id", "text", "occurred_at", "title", "edited_at", "clock", "lat", "lon", "point", "kelurahan", "kecamatan", "kota",
    "category", "agency", "status", "private", "contact_phone", "contact_email", "author_name", "author_ref", "address",
    "rt_rw", "attachments", "source_url", "accuracy_m", "conversation_ref", "external_ref",
)  # fmt: skip
_BOTH = {"external_ref", "source_url"}  # a column may be one of these and the id as well
_LEAST = 0.4
_NO_CHANNEL = "CHANNEL"  # capitals: settings refuse it until a person has put one


@dataclass(slots=True)
class Proposal:
    """options: of the stream. unsure: what a person must look at. ignored: columns that mean nothing.

    fits: named mappings that read the file as it is. reports, quarantined: of the rows read; reasons: why, with counts.
    first: the first rows as they would be understood, masked.
    """

    channel: str
    name: str
    options: dict[str, Any]
    unsure: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    fits: list[str] = field(default_factory=list)
    reports: int = 0
    quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    first: list[dict[str, Any]] = field(default_factory=list)
    whole: bool = True

    def toml(self) -> str:
        """The [[stream]] entry."""
        tables = {key: value for key, value in self.options.items() if isinstance(value, dict)}
        lines = ["[[stream]]", f"channel = {_value(self.channel)}", f"name = {_value(self.name)}", 'source = "export"']
        lines += [f"{key} = {_value(value)}" for key, value in self.options.items() if key not in tables]
        for key, table in tables.items():
            lines += ["", f"[stream.{key}]", *(f"{_key(name)} = {_value(value)}" for name, value in table.items())]
        return "\n".join(lines) + "\n"


def vocabulary(settings: Settings) -> Vocabulary:
    """What this installation's models know of names, areas, categories and agencies."""
    models = settings.models_dir
    area = places.kelurahan_table(settings.gazetteer)
    words = {
        level: frozenset(columns.area_name(name) for name in area[level])
        for level in ("kelurahan", "kecamatan", "kota")
    }
    words["category"] = frozenset(knowledge.taxonomy(models).aliases)
    words["agency"] = frozenset(rules.agency_aliases(models / "agencies.toml"))
    raw = entries.toml(models / "columns.toml")
    return Vocabulary(words, {name: tuple(entries.texts(raw, name)) for name in raw})


def propose(settings: Settings, path: Path, *, channel: str | None = None, name: str | None = None) -> Proposal:
    """A stream for the file. Raises PermanentError where it holds no table, or none with a text in it; SettingsError."""
    known = vocabulary(settings)
    if channel is not None and channel not in knowledge.channels(settings):
        raise SettingsError(f"channel {channel!r} is in no registry; add it to models/channels.toml")
    try:
        with path.open("rb") as file:
            found = sample.tables(file, path.name, known.is_name)
    except OSError as error:
        raise PermanentError(f"{path} cannot be read: {error.strerror}") from error
    table = found[0]
    if _is_headless(table.columns, known):
        raise PermanentError(
            f"{path.name}: its first row seems to be a report already, so no column has a name; put a row of names on top"
        )
    looks = columns.looks(table.columns, table.rows, known)
    chosen = choose(looks, known)
    made = Proposal(
        channel or _channel(settings, path), name or _slug(path.stem), {"inbox": "inbox/" + _slug(path.stem)}
    )
    made.options |= table.options
    made.notes = table.notes
    made.options |= _dates(looks, chosen, made.unsure)
    if any(look.commas > 0.5 for look in looks if look.name in (chosen.get("lat"), chosen.get("lon"))):
        made.options["decimal"] = ","
    made.options["columns"] = _columns(chosen, looks, made.unsure)
    if not {"text", "title"} & set(chosen):
        raise PermanentError(
            f"{path.name}: no column holds a text of what was said; columns: {', '.join(table.columns)}"
        )
    _said(looks, chosen, known, made)
    sheets = [other for other in found[1:] if other.place]
    if apart := [other.place for other in sheets if not set(chosen.values()) <= set(other.columns)]:
        made.unsure.append(f"not read, as they lack columns of {table.place}: {', '.join(apart)}")
    optional = [
        f
        for f, c in chosen.items()
        if f not in ("id", "text") and f in made.options["columns"] and not _filled(looks, c)
    ]
    if optional:
        made.options["optional"] = optional
    made.options = {k: v for k, v in made.options.items() if k != "columns"} | {"columns": made.options["columns"]}
    made.fits = [m for m, entry in mappings(settings.mapping_files).items() if _fits(entry, table.columns)]
    preview(made, path)
    return made


def _is_headless(names: list[str], known: Vocabulary) -> bool:
    """Whether a header is the first row of the data: no name that is known, and a cell that can be none."""
    if any(known.is_name(name.casefold()) for name in names):
        return False
    return any(columns.is_value(name, known) for name in names)


def choose(looks: list[Look], known: Vocabulary) -> dict[str, str]:
    """field -> column; the surest pairs first, each column and field once. `clock` goes with occurred_at."""
    city = any(look.shares.get(area, 0) > 0.5 for look in looks for area in ("kelurahan", "kecamatan"))
    pairs = [
        (columns.fit(name, look, known, city=city), -order, -number, name, look.name)
        for order, name in enumerate(_FIELDS)
        for number, look in enumerate(looks)
    ]
    chosen: dict[str, str] = {}
    for score, _, _, name, column in sorted(pairs, reverse=True):
        if score < _LEAST or name in chosen:
            continue
        others = {other for other, taken in chosen.items() if taken == column}
        if others and not (name in _BOTH and others == {"id"}) and not (name == "id" and others <= _BOTH):
            continue
        chosen[name] = column
    if not {"text", "title"} & set(chosen):
        wordy = [look for look in looks if look.name not in chosen.values() and look.words >= 3]
        if wordy:
            chosen["text"] = max(wordy, key=lambda look: look.words).name
    if "clock" in chosen and "occurred_at" not in chosen:
        del chosen["clock"]
    return {name: chosen[name] for name in _FIELDS if name in chosen}


def _columns(chosen: dict[str, str], looks: list[Look], unsure: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = dict(chosen)
    if clock := made.pop("clock", None):
        made["occurred_at"] = [made["occurred_at"], clock]
    by_name = {look.name: look for look in looks}
    lat, lon = (by_name.get(made.get(name, "")) for name in ("lat", "lon"))
    if lat and lon and lat.shares.get("lon", 0) > 0.5 and lon.shares.get("lat", 0) > 0.5:
        made["lat"], made["lon"] = lon.name, lat.name
        unsure.append(f"{lat.name!r} holds longitudes and {lon.name!r} latitudes: they are read the other way round")
    elif bool(lat) != bool(lon):
        unsure.append("only one of latitude and longitude was found, so neither is read")
        made.pop("lat", None)
        made.pop("lon", None)
    return made


def _dates(looks: list[Look], chosen: dict[str, str], unsure: list[str]) -> dict[str, Any]:
    """`dates` where months stand first; what cannot be known is said."""
    read = [look for look in looks if look.name in (chosen.get("occurred_at"), chosen.get("edited_at"))]
    first, second, either = (sum(getattr(look, key) for look in read) for key in ("day_first", "month_first", "either"))
    if first and second:
        unsure.append(
            f"dates contradict each other: {first:,} can only be dd/mm, {second:,} only mm/dd. All are read as dd/mm; those"
            " that cannot be come without a time. Ask where the file comes from before using it"
        )
    elif second:
        unsure.append(f"dates are mm/dd: {second:,} of them cannot be dd/mm")
        return {
            "dates": ["%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y"]
        }
    elif either and not first:
        unsure.append(f"all {either:,} dates could be dd/mm or mm/dd; they are read as dd/mm, as is usual in Indonesia")
    return {}


def _said(looks: list[Look], chosen: dict[str, str], known: Vocabulary, made: Proposal) -> None:
    """What a person must look at."""
    used = set(chosen.values())
    if made.channel == _NO_CHANNEL:
        made.unsure.append("the file's name is no channel's: put the id of one of models/channels.toml, or --channel")
    made.ignored = [look.name for look in looks if look.name not in used]
    for name, column in chosen.items():
        if not columns.named(name, column, known):
            made.unsure.append(f"{column!r} is taken for {name} by what its cells hold, not by its name")
    if "id" not in chosen:
        made.unsure.append(
            "no column names a row for ever: a row is known by who said what, when and where, so an edited text is a new report"
        )
    if "occurred_at" not in chosen:
        made.unsure.append("no column of dates: a report counts from when it was read")
    for look in looks:
        if look.name in made.ignored and max(look.shares.get("phone", 0), look.shares.get("email", 0)) > 0.3:
            made.unsure.append(
                f"{look.name!r} holds phones or addresses of e-mail and is not read; do not put it under `extra`"
            )


def _filled(looks: list[Look], column: str) -> bool:
    return any(look.name == column and look.filled > 0.2 for look in looks)


def _fits(entry: dict[str, Any], names: list[str]) -> bool:
    """Whether a named mapping finds all that it needs among the names; a sheet's, at least three columns."""
    layout = plan_of(Stream("proposal", "proposal", "export", with_mapping({}, entry))).layout
    if layout.hand:
        heading = set(Sheet(layout.hand).heading(names))
        known = heading & set(layout.hand.names.values())
        return bool(known & layout.hand.text and known & layout.hand.date) and len(known) >= 3
    have = {fold(name) for name in names}
    return all(any(fold(name) in have for name in group) for group in layout.required)


def preview(made: Proposal, path: Path) -> None:
    """Read the file as the stream would, and count what comes of it."""
    stream = Stream(made.channel, made.name, "export", {k: v for k, v in made.options.items() if k != "inbox"})
    reasons: Counter[str] = Counter()
    without: Counter[str] = Counter()
    seen = 0
    for batch in export.import_files(stream, None, [path], now=lambda: datetime.now(UTC)):
        for message in batch.messages:
            seen += 1
            try:
                draft = export.decode(message, stream)
            except RejectedMessage as error:
                reasons[error.reason] += 1
                continue
            made.reports += 1
            for unread in draft.extra.get("unread", ()):
                without[f"{unread} could not be read; the report comes without it"] += 1
            if len(made.first) < _SHOWN:
                made.first.append(shown(draft))
        if seen >= _READ:
            made.whole = False
            break
    made.quarantined = sum(reasons.values())
    made.reasons = dict(reasons + without)


def shown(draft: Draft) -> dict[str, Any]:
    """A draft's filled fields, people masked."""
    told: dict[str, Any] = {}
    for name in ("occurred_at", "title", "text", "address_text", "kelurahan_reported", "kecamatan_reported", "kota_reported",
                 "lat", "lon", "category_reported", "agency_reported", "status_reported", "external_ref", "source_url"):  # fmt: skip
        value = getattr(draft, name)
        if value in (None, ""):
            continue
        if isinstance(value, datetime):
            value = value.astimezone(WIB).strftime("%Y-%m-%d %H:%M WIB")
        told[name] = mask(value)[:200] if isinstance(value, str) else f"{value:.6f}"
    told |= {
        name: "[masked]"
        for name in ("author_name", "author_ref", "contact_phone", "contact_email")
        if getattr(draft, name)
    }
    if draft.private:
        told["private"] = True
    if draft.attachments:
        told["attachments"] = len(draft.attachments)
    return told


def _channel(settings: Settings, path: Path) -> str:
    """The registered channel that the file's name begins with, else one to be named by a person."""
    words = re.split(r"[^a-z0-9]+", path.stem.lower())
    return next(
        (c for c in knowledge.channels(settings) if c.split("_")[-1] in words or c in path.stem.lower()), "CHANNEL"
    )


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "berkas"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(k)} = {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # the one that TOML forbids and JSON does not
