"""Reports in their recorded order -> the ticket each belongs to, with the reason.

Each report joins the first open ticket that matches, else opens one. Candidates are tickets' first
reports only, so chains do not creep; they come from blocking keys that carry place and time, so no
bucket is capped. Best candidate: lowest level, then highest score, then earliest arrival.
Thresholds live in models/matching.toml. Pure: leaders of older loads are passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from pipelines.contracts import ticket_no_of
from pipelines.transforms.act_shapes import Effect, Link
from pipelines.transforms.acts import Acts
from pipelines.transforms.blocks import DAY, KM, UNKNOWN, Blocks, Leader, Matching

LEVELS = ("external_ref", "cited", "same_author_text", "near_text", "place_time")


class Closing(NamedTuple):
    """From `arrival` on the ticket is open or not: a status event."""

    arrival: int
    ticket_id: str
    open: bool


class Formed(NamedTuple):
    """A ticket that people split off: its first report as later ones are compared with it, the keys it is found by, the
    number its source gave it, and whether it takes new reports."""

    leader: Leader
    keys: NDArray[np.int64]
    ref: str | None
    open: bool


class Linked(NamedTuple):
    """links: rows of contracts.LINKS; leaders and keys: what to remember of the tickets opened."""

    links: pd.DataFrame
    leaders: list[Leader]
    keys: NDArray[np.int64]
    arrivals: NDArray[np.int64]  # of the leader that each key leads to


def nothing(formed: Sequence[Formed] = ()) -> Linked:
    """What comes of no reports."""
    columns = ["report_id", "ticket_id", "level", "score", "explanation", "arrival"]
    return _with(formed, pd.DataFrame(columns=columns), [], np.zeros(0, np.int64), np.zeros(0, np.int64))


def _with(
    formed: Sequence[Formed],
    links: pd.DataFrame,
    leaders: Sequence[Leader],
    keys: NDArray[np.int64],
    arrivals: NDArray[np.int64],
) -> Linked:
    led = [np.full(len(f.keys), f.leader.arrival, dtype=np.int64) for f in formed]
    return Linked(
        links,
        [*leaders, *(f.leader for f in formed)],
        np.concatenate([keys, *(f.keys for f in formed)]),
        np.concatenate([arrivals, *led]),
    )


def link(
    items: Sequence[Leader],
    report_ids: Sequence[str],
    own_refs: Sequence[str | None],
    cites: Sequence[Sequence[str]],
    *,
    blocks: Blocks,
    older: Sequence[Leader],
    older_keys: Sequence[tuple[int, int]],
    tickets_of_ref: Mapping[str, str],
    closed: frozenset[str],
    closings: Sequence[Closing],
    matching: Matching,
    acts: Acts | None = None,
    form: Callable[[Effect], Formed] | None = None,
    opened_at: Mapping[str, int] | None = None,
) -> Linked:
    """Decide for each report, in the order given (rising arrival).

    blocks: what `block` said of items. older, older_keys: leaders of earlier loads that share a
    probed key. tickets_of_ref: CRM and Kanal numbers -> ticket, for numbers these reports own or
    cite. closed: tickets not open at the start; closings: what changes on the way. acts: people's decisions, which apply
    between the reports; form: the ticket that one of them made; opened_at: arrival of the first report of each of
    tickets_of_ref.
    """
    acts = acts or Acts()
    by_arrival = {leader.arrival: leader for leader in older}
    index: dict[int, list[Leader]] = {}
    for key, arrival in older_keys:
        if arrival in by_arrival:
            index.setdefault(key, []).append(by_arrival[arrival])
    refs, shut, since = dict(tickets_of_ref), set(closed), dict(opened_at or {})
    pending = iter([*sorted(closings), None])
    change = next(pending)
    rows, opened, formed = [], [], []

    def split_off(until: int | None) -> None:
        for new in map(form, acts.until(until)) if form else ():
            formed.append(new)
            for key in new.keys.tolist():
                index.setdefault(key, []).append(new.leader)
            (shut.discard if new.open else shut.add)(new.leader.ticket_id)
            since[new.leader.ticket_id] = new.leader.arrival
            for number in filter(None, (new.ref, ticket_no_of(new.leader.ticket_id[1:]))):
                if number not in refs or since[refs[number]] > new.leader.arrival:
                    refs[number] = new.leader.ticket_id

    for place, (item, report_id, ref, cited_refs) in enumerate(zip(items, report_ids, own_refs, cites, strict=True)):
        while change is not None and change.arrival < item.arrival:
            split_off(change.arrival)
            (shut.discard if change.open else shut.add)(change.ticket_id)
            change = next(pending)
        split_off(item.arrival)
        asked = blocks.probes[blocks.probe_start[place] : blocks.probe_start[place + 1]].tolist()
        level, score, why, ticket = _best(item, ref, cited_refs, asked, index, refs, shut, matching, acts)
        if ticket is None:
            ticket = item.ticket_id
            level, score, why = "opened", 1000, {}
            opened.append(place)
            for key in blocks.own[blocks.own_start[place] : blocks.own_start[place + 1]].tolist():
                index.setdefault(key, []).append(item)
            since[ticket] = item.arrival
            for number in filter(None, (ref, ticket_no_of(report_id))):
                refs.setdefault(number, ticket)
        row = Link(report_id, ticket, level, score, orjson.dumps(why).decode() if why else "{}", item.arrival)
        acts.joined(row)
        rows.append(row)
    split_off(None)
    columns = ["report_id", "ticket_id", "level", "score", "explanation", "arrival"]
    found = pd.DataFrame(rows, columns=columns)
    return _with(formed, found, [items[p] for p in opened], *_keys_of(opened, items, blocks))


def _keys_of(opened: list[int], items: Sequence[Leader], blocks: Blocks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Own keys of the reports that opened a ticket, and their arrivals."""
    if not opened:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    counts = np.diff(blocks.own_start)
    owner = np.repeat(np.arange(len(items)), counts)
    mine = np.isin(owner, opened)
    arrivals = np.array([i.arrival for i in items], dtype=np.int64)
    return blocks.own[mine], arrivals[owner[mine]]


def _best(
    item: Leader,
    ref: str | None,
    cited_refs: Sequence[str],
    asked: list[int],
    index: Mapping[int, list[Leader]],
    refs: Mapping[str, str],
    shut: set[str],
    matching: Matching,
    acts: Acts,
) -> tuple[str, int, dict[str, Any], str | None]:
    if ref and (ticket := refs.get(ref)):
        return "external_ref", 1000, *_led({"nomor": ref}, ticket, acts.ticket_of(ticket))
    for number in cited_refs if matching.levels["cited"].enabled else ():
        if (ticket := refs.get(number)) and (now := acts.ticket_of(ticket)) not in shut:
            return "cited", 1000, *_led({"nomor": number}, ticket, now)
    best: tuple[int, int, int] | None = None
    chosen: tuple[str, int, dict[str, Any], str | None] = ("opened", 1000, {}, None)
    seen: set[int] = set()
    for key in asked:
        for leader in index.get(key, ()):
            now = acts.ticket_of(leader.ticket_id, leader.arrival)
            if leader.arrival in seen or now in shut:
                continue
            seen.add(leader.arrival)
            found = compare(item, leader, matching)
            if found is None:
                continue
            level, score, why = found
            rank = (LEVELS.index(level), -score, leader.arrival)
            if best is None or rank < best:
                best, chosen = rank, (level, score, *_led(why, leader.ticket_id, now))
    return chosen


def _led(why: dict[str, Any], ticket_id: str, now: str) -> tuple[dict[str, Any], str]:
    """The ticket that a match leads to; lewat: the one that matched, where people moved its reports on."""
    return (why if now == ticket_id else why | {"lewat": ticket_id}), now


def compare(item: Leader, leader: Leader, matching: Matching) -> tuple[str, int, dict[str, Any]] | None:
    """(level, score 0..1000, values compared) of the first level that holds; None if none does."""
    apart = abs(item.said_at - leader.said_at)
    levels = matching.levels
    rule = levels["same_author_text"]
    same_text = item.text_key is not None and item.text_key == leader.text_key
    same_author = item.author_key and item.author_key == leader.author_key
    if rule.enabled and same_text and same_author and apart <= rule.horizon_days * DAY:
        return "same_author_text", 1000, {"selisih_jam": apart // 3600}
    if item.group != leader.group:
        return None
    radius, horizon = matching.reach(item.group)
    metres = distance_m(item, leader)
    place = _same_place(item, leader, metres, radius)
    rule = levels["near_text"]
    if rule.enabled and apart <= rule.horizon_days * DAY and place is not False:
        alike = 1.0 if same_text else similarity(item.words, leader.words)
        long_enough = place or (item.kelurahan_code == leader.kelurahan_code and len(item.words.split()) >= 12)
        if alike >= rule.min_similarity and long_enough:
            why: dict[str, Any] = {"kemiripan": round(alike, 3), "selisih_jam": apart // 3600} | _metres(metres)
            return "near_text", int(alike * 1000), why
    if levels["place_time"].enabled and place and item.group != UNKNOWN and apart <= horizon:
        near = 1 - metres / radius if metres is not None and radius else 0.5
        why = {"selisih_jam": apart // 3600, "kelompok": item.group} | _metres(metres)
        if metres is None:
            why["jalan"] = item.street
        return "place_time", int(500 + 499 * near * (1 - apart / (2 * horizon))), why
    return None


def _same_place(item: Leader, leader: Leader, metres: float | None, radius: float) -> bool | None:
    """True, False, or None where one of them does not say."""
    if metres is not None:
        return metres <= radius
    if item.street and leader.street and item.kelurahan_code and leader.kelurahan_code:
        same = item.street == leader.street and item.kelurahan_code == leader.kelurahan_code
        return same and _agree(item.rt, leader.rt) and _agree(item.rw, leader.rw)
    if item.kelurahan_code and leader.kelurahan_code and item.kelurahan_code != leader.kelurahan_code:
        return False
    return None


def _agree(a: int | None, b: int | None) -> bool:
    return a is None or b is None or a == b


def _metres(metres: float | None) -> dict[str, int]:
    return {} if metres is None else {"jarak_m": round(metres)}


def distance_m(a: Leader, b: Leader) -> float | None:
    """Metres between two points on a local plane; None where either lacks one."""
    if a.lat != a.lat or b.lat != b.lat:
        return None
    dx, dy = (a.lat - b.lat) * KM, (a.lon - b.lon) * KM * 0.9942  # cos(6.2 degrees)
    return 1000.0 * (dx * dx + dy * dy) ** 0.5


def similarity(a: str, b: str) -> float:
    """Jaccard of the two texts' words."""
    left, right = set(a.split()), set(b.split())
    union = len(left | right)
    return len(left & right) / union if union else 0.0
