"""Why a report is in its ticket: one sentence of Indonesian that a clerk understands.

Belongs here: the words for what linking compared and what people decided (links.level, score, explanation). Pure. Whatever
an explanation lacks is left out of the sentence. Not here: linking (transforms/link), looking names up (kinship).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from pipelines.contracts import WIB, ticket_no_of
from pipelines.sinks.wording import MONTHS, ago, number
from pipelines.transforms.act_shapes import BRIDGED, DECIDED, first_of

Why = Mapping[str, Any]  # links.explanation, read


class Heard(NamedTuple):
    """A report as a sentence names it. channel: its name; said_at: aware."""

    channel: str
    said_at: datetime


class Decided(NamedTuple):
    """A decision about tickets. act: see contracts.ACTS; happened_at: aware; shown_by: the report that showed two tickets
    to be one, where the machine merged them."""

    act: str
    happened_at: datetime
    shown_by: str | None = None


@dataclass(frozen=True, slots=True)
class Named:
    """What people call what explanations name, by id. What is not here is told by its id, or not at all."""

    reports: Mapping[str, Heard] = field(default_factory=dict)
    decisions: Mapping[str, Decided] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


class _Told(NamedTuple):
    """A link being told. own: the report's id; here: how its ticket is called."""

    level: str
    score: int
    why: Why
    named: Named
    own: str | None
    here: str


def because(level: str, score: int, explanation: Why, named: Named, report_id: str | None = None) -> str:
    """The sentence of a link, as contracts.LINKS holds it; what the link was before people or the machine moved the report
    is told behind it, newest first. report_id: whose link it is."""
    told = _Told(level, score, explanation, named, report_id, "tiket ini")
    parts = [_clause(told)]
    while isinstance(before := told.why.get("sebelumnya"), Mapping):
        why = before.get("explanation")
        score = before.get("score", 0)
        told = told._replace(
            level=_word(before, "level") or "",
            score=score if isinstance(score, int) else 0,
            why=why if isinstance(why, Mapping) else {},
            here="tiket itu",
        )
        where = f" di {_ticket(ticket)}" if (ticket := _word(before, "ticket_id")) else ""
        parts.append(f"sebelumnya{where}: {_clause(told)}")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _clause(told: _Told) -> str:
    clause = _CLAUSES.get(told.level, _joined)(told)
    if through := _word(told.why, "lewat"):
        clause += f", lewat {_ticket(through)} yang laporannya sudah dipindahkan ke {told.here}"
    return clause


# --- a level each ---------------------------------------------------------------------------


def _opened(told: _Told) -> str:
    closed, cited = _word(told.why, "menyusul"), _word(told.why, "nomor")
    if not closed:
        return f"membuka {told.here} karena tidak ada tiket terbuka yang cocok"
    lead = f"membuka {told.here} untuk menyusul {_ticket(closed)} yang sudah ditutup"
    if cited:
        return f"{lead}: laporannya menyebut nomor {cited}"
    return _compared(told, lead, ", karena cocok dengan")


def _external_ref(told: _Told) -> str:
    return _after("digabung karena nomor CRM-nya sama", ": ", _word(told.why, "nomor"))


def _cited(told: _Told) -> str:
    return _after("digabung karena laporannya menyebut nomor tiket", " ", _word(told.why, "nomor"))


def _joined(told: _Told) -> str:
    alike = _LEADS.get(told.level, "cocok")
    if told.level == "place_time" and _word(told.why, "kelompok"):
        alike = "tempat, waktu dan masalahnya sama"
    clause = _compared(told, f"digabung karena {alike}", " dengan")
    return f"{clause} (keyakinan {number(_sure(told.score), 2)})" if told.level in _LEADS else clause


def _decided(told: _Told) -> str:
    decided = told.named.decisions.get(_word(told.why, "keputusan") or "")
    lead = _ACTS.get(decided.act if decided else "", "dipindahkan ke {here}").format(here=told.here)
    lead = _after(lead, " oleh ", _word(told.why, "oleh"))
    lead = _after(lead, " pada ", _when(decided.happened_at, told) if decided else None)
    reason = _word(told.why, "alasan")
    return f"{lead} dengan alasan “{reason}”" if reason else lead


def _bridged(told: _Told) -> str:
    decided = told.named.decisions.get(_word(told.why, "keputusan") or "")
    lead = f"tiketnya ternyata satu masalah dengan {told.here}"
    if decided and decided.shown_by:
        return f"{lead}: {_report(decided.shown_by, told)} cocok dengan keduanya"
    return _after(lead, ": ", _word(told.why, "alasan"))


_CLAUSES: Mapping[str, Callable[[_Told], str]] = {
    "opened": _opened,
    "external_ref": _external_ref,
    "cited": _cited,
    BRIDGED: _bridged,
    DECIDED: _decided,
}
_LEADS = {
    "same_photo": "fotonya sama",
    "same_author_text": "pelapornya sama dan kata-katanya hampir sama",
    "near_text": "kata-katanya hampir sama",
    "place_time": "tempat dan waktunya sama",
}
_ACTS = {
    "merge": "tiketnya digabung ke {here}",
    "split": "dipisahkan ke {here}",
    "pin": "dipasang di {here}",
}


# --- what was compared ----------------------------------------------------------------------


_FLAGS = {
    "nomor_rumah": "nomor rumah sama",
    "rt_rw": "RT dan RW sama",
    "patokan": "patokan sama",
    "kelurahan": "kelurahan sama",
}
_TEXT_LEVELS = ("same_author_text", "near_text")
_MUCH = 0.5  # of the words: from here on likeness counts them for place_time too (text_near)


def _compared(told: _Told, lead: str, beside: str) -> str:
    """lead, with the report that this one was compared with, and what both show. beside: what leads to that report where
    no distance does."""
    why, facts = told.why, []
    other, metres = _word(why, "laporan"), _amount(why, "jarak_m")
    if metres is not None:
        far = _distance(metres)
        facts.append(f"{far} dari {_report(other, told)}" if other else f"jarak {far}")
    elif other:
        lead = f"{lead}{beside} {_report(other, told)}"
    if street := _word(why, "jalan"):
        facts.append(_street(street))
    elif "jalan" in why:
        facts.append("jalan atau perumahan sama")
    facts += [words for name, words in _FLAGS.items() if why.get(name) is True]
    if (hours := _amount(why, "selisih_jam")) is not None:
        facts.append(f"selisih {ago(hours)}" if hours >= 1 else "selisih kurang dari satu jam")
    if group := _word(why, "kelompok"):
        facts.append(f"keduanya tentang {told.named.groups.get(group) or group.replace('_', ' ')}")
    if why.get("pelapor") is True and told.level != "same_author_text":
        facts.append("pelapor sama")
    if why.get("foto") is True and told.level != "same_photo":
        facts.append("foto sama")
    if why.get("belum_tuntas") is True:
        facts.append("katanya belum tuntas")
    alike = _amount(why, "kemiripan")
    if alike is not None and (told.level in _TEXT_LEVELS or alike >= _MUCH):
        facts.append(f"{number(100 * alike)}% katanya sama")
    return _after(lead, ": ", ", ".join(facts))


def _report(report_id: str, told: _Told) -> str:
    heard = told.named.reports.get(report_id)
    if report_id == told.own:
        return "laporan ini"
    return f"laporan {heard.channel} tanggal {_when(heard.said_at, told)}" if heard else f"laporan {report_id}"


def _when(at: datetime, told: _Told) -> str:
    """3 Mei pukul 09.12; with the year where the report itself is not known to be of it."""
    own = told.named.reports.get(told.own or "")
    local = at.astimezone(WIB)
    year = "" if own and own.said_at.astimezone(WIB).year == local.year else f" {local.year}"
    return f"{local.day} {MONTHS[local.month - 1]}{year} pukul {local:%H.%M}"


def _ticket(ticket_id: str) -> str:
    return f"tiket {ticket_no_of(first_of(ticket_id))}" if _TICKET_ID.fullmatch(ticket_id) else f"tiket {ticket_id}"


_TICKET_ID = re.compile(r"t[0-9a-z]{16}")


def _distance(metres: float) -> str:
    return f"{number(metres)} m" if round(metres) < 1000 else f"{number(metres / 1000, 1)} km"


_CAPITALS = re.compile(r"(?=[ivx])x{0,3}(ix|iv|v?i{0,3})|[^aeiou]+|.*\d.*")  # Melati II, HR Rasuna Said, 12A


def _street(name: str) -> str:
    """As it stands on a sign; reports hold it in lower case."""
    return " ".join(w.upper() if _CAPITALS.fullmatch(w) else w[0].upper() + w[1:] for w in name.split())


# --- values of explanations -----------------------------------------------------------------


def _word(why: Why, name: str) -> str | None:
    value = why.get(name)
    return " ".join(value.split()) or None if isinstance(value, str) else None


def _amount(why: Why, name: str) -> float | None:
    value = why.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return max(0.0, float(value))


def _after(lead: str, between: str, more: str | None) -> str:
    return f"{lead}{between}{more}" if more else lead


def _sure(score: int) -> float:
    """0..1; a link that is not certain never says that it is."""
    return 1.0 if score >= 1000 else min(max(score / 1000, 0.0), 0.99)
