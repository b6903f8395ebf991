"""Reports crowded into few places, times, words and authors, so that every level and rule of linking happens; and linking
told as a plain loop over all pairs, without shelves, runs or chunks."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pipelines.contracts import ticket_id_of, ticket_no_of
from pipelines.transforms.act_shapes import Effect
from pipelines.transforms.acts import Acts
from pipelines.transforms.blocks import HOUR, keys_of
from pipelines.transforms.likeness import LEVELS, NONE, compare, evidence
from pipelines.transforms.link import Asked, Formed, Link, State, Turn, link
from pipelines.transforms.matching import Matching
from pipelines.transforms.memory import Memory
from pipelines.transforms.traits import M_LAT, M_LON, Traits
from tests.transforms.told import GELORA, MATCHING, SENAYAN, Row, read, report

LONG = "sudah seminggu warga mengeluh karena belum ada petugas yang datang ke sini"
_TEXTS = ("", "lubang", "banjir", LONG, f"{LONG} lagi", "katanya sudah selesai padahal masih berlubang")
_WORDS = "motor mobil malam siang gelap hujan tolong segera ditambal resah besar dalam sempit ramai anak sekolah kantor tetangga".split()


def rows(rng: random.Random, count: int, days: float = 20) -> list[Row]:
    """Reports in the order in which they arrive, which is not quite that in which they were said."""

    pick = rng.choice

    def one(n: int) -> Row:
        placed = rng.random() < 0.6
        return report(
            pick(_TEXTS) if rng.random() < 0.3 else " ".join(rng.sample(_WORDS, 6)),
            hours=max(0.0, 24 * days * n / count + rng.uniform(-6, 6)), kind=pick(("jalan", "jalan", "banjir", "pohon", None)),
            author_key=pick((None, "a", "b", "c")), kelurahan_code=pick((GELORA, GELORA, None, SENAYAN)),
            street=pick((None, None, "jalan kenanga", "jalan knanga", "gang mawar")), landmark=pick((None, None, "masjid nurul")),
            house_number=pick((None, None, None, "4", "60")), rt=pick((None, 1)), rw=pick((None, None, 3)),
            lat=-6.2 + rng.randrange(6) * 20 / M_LAT if placed else None,
            lon=106.8 + rng.randrange(3) * 20 / M_LON if placed else None,
            accuracy_m=pick((5, 10, None)), files=[{"sha256": pick("pq")}] if rng.random() < 0.05 else [],
        )  # fmt: skip

    return [one(n) for n in range(count)]


@dataclass
class Crowd:
    """turns: what happens to tickets between the reports."""

    x: Traits
    asked: list[Asked]
    turns: list[Turn] = field(default_factory=list)

    @staticmethod
    def of(reports: Sequence[Row], refs: Sequence[str | None] = (), cites: Sequence[Sequence[str]] = ()) -> Crowd:
        numbers = range(len(reports))
        asked = [
            Asked(10 * n, name_of(n), refs[n] if refs else None, tuple(cites[n]) if cites else ()) for n in numbers
        ]
        return Crowd(read(*reports), asked)

    @staticmethod
    def random(seed: int, count: int) -> Crowd:
        """With the CRM's numbers on some reports, citations of earlier ones, and officers at work."""
        rng = random.Random(seed)
        numbers = [f"JK{n:010d}" for n in range(count // 20)]
        refs = [rng.choice(numbers) if rng.random() < 0.1 else None for _ in range(count)]
        cites = [
            rng.sample([rng.choice(numbers), ticket_no_of(name_of(rng.randrange(n + 1)))], k=2)
            if rng.random() < 0.05
            else []
            for n in range(count)
        ]
        made = Crowd.of(rows(rng, count), refs, cites)
        for _ in range(count // 4):
            number = rng.randrange(count)
            arrival, open_ = 10 * rng.randrange(number, count) + 5, rng.choice((None, False, False, True))
            by_ticket = Turn(arrival, ticket_id_of(name_of(number)), open_)
            made.turns.append(by_ticket if rng.random() < 0.5 else Turn(arrival, None, open_, name_of(number)))
        made.turns.sort(key=lambda t: t.arrival)
        return made

    def link(self, matching: Matching = MATCHING, sizes: Sequence[int] = (), acts: Acts | None = None) -> Linked:
        """By the linker, in loads of these sizes and one of the rest."""
        state, acts, made = State(Memory(matching)), acts or Acts(), list[Link]()
        begin = 0
        for size in (*sizes, len(self.asked) - sum(sizes)):
            part = slice(begin, begin + size)
            rows = np.arange(begin, begin + size)
            x, asked = self.x.take(rows), self.asked[part]
            since = self.asked[begin - 1].arrival if begin else -1
            turns = [t for t in self.turns if asked and since <= t.arrival < asked[-1].arrival]
            made += link(state, asked, state.memory.find(x, keys_of(x)), x, acts=acts, turns=turns, form=_form)
            begin += size
        ended = {row.report_id: row.ticket_id for row in acts.changed()}
        return Linked(made, [ended.get(a.report_id, m.ticket_id) for a, m in zip(self.asked, made, strict=True)])


def _form(effect: Effect) -> Formed:
    return Formed(effect.made or "", None, open=True)


class Linked(NamedTuple):
    """links: as each was made; tickets: where each report is in the end."""

    links: list[Link]
    tickets: list[str]


def name_of(number: int) -> str:
    """A report's id."""
    return f"{number:08d}{'0' * 8}"


def number_of(ticket_id: str) -> int:
    """The number of the report that opened a ticket."""
    return int(ticket_id[1:9])


def pairs(x: Traits, matching: Matching = MATCHING) -> dict[int, list[tuple[int, int, int, float]]]:
    """Row -> (level, -score, earlier row, how far apart in time they may be) of all rows at which a level holds and that
    share a key within the longest time, best first."""
    keys, hours = keys_of(x), x.said_at // HOUR
    own, asked = (
        [set(k.values[a:b].tolist()) for a, b in zip(k.start, k.start[1:], strict=False)]
        for k in (keys.own, keys.probes)
    )
    within = int(matching.longest_s // HOUR) + 1
    found: dict[int, list[tuple[int, int, int, float]]] = {}
    for n in range(len(x)):
        before = [m for m in range(n) if own[m] & asked[n] and abs(hours[m] - hours[n]) <= within]
        like = compare(x, np.full(len(before), n), x, np.array(before, np.int64), matching)
        held = zip(before, like.level.tolist(), like.score.tolist(), like.reach_s.tolist(), strict=True)
        found[n] = sorted((level, -score, m, reach) for m, level, score, reach in held if level != NONE)
    return found


def plain(crowd: Crowd, matching: Matching = MATCHING) -> Linked:
    """What linking means."""
    x, like = crowd.x, pairs(crowd.x, matching)
    told = [{name for name, said in (("point", x.x[n] == x.x[n]), ("way", x.way[n]), ("house", x.house[n]), ("mark", x.mark_more[n]))
             if said} for n in range(len(x))]  # fmt: skip
    sure = matching.levels["bridge"].min_score
    now: list[str] = []  # ticket of each report
    witness: list[set[str] | None] = []  # kinds of evidence told on the way to it; None: no witness
    first: dict[str, int] = {}
    refs: dict[str, str] = {}
    links, shut, handled, turns = [], set[str](), set[str](), list(crowd.turns)
    for n, asked in enumerate(crowd.asked):
        while turns and turns[0].arrival < asked.arrival:
            turn = turns.pop(0)
            ticket = turn.ticket_id or now[number_of(ticket_id_of(turn.report_id or ""))]
            handled.add(ticket)
            if turn.open is not None:
                (shut.discard if turn.open else shut.add)(ticket)
        fitting: dict[str, Link] = {}
        for level, score, m, reach in like[n]:
            ticket = now[m]
            if LEVELS[level] == "unfixed" and ticket not in shut:
                continue
            if LEVELS[level] in ("place_time", "unfixed") and (
                witness[m] is None or abs(x.said_at[n] - x.said_at[first[ticket]]) > reach
            ):
                continue
            follows = ticket if ticket in shut else None
            fitting.setdefault(ticket, Link(ticket, LEVELS[level], -score, m, links[m].ticket_id, follows=follows))
        numbered = []
        if asked.ref in refs:
            numbered.append(
                Link(now[number_of(refs[asked.ref])], "external_ref", 1000, through=refs[asked.ref], number=asked.ref)
            )
        for number in asked.cites:
            if number in refs:
                ticket = now[number_of(refs[number])]
                follows = ticket if ticket in shut else None
                through = None if follows else refs[number]
                numbered.append(Link(ticket, "cited", 1000, -1, through, number, follows))
        ranked = [*numbered, *fitting.values()]
        chosen = next((m for m in ranked if not m.follows), None)
        if chosen is None:
            about = ranked[0] if ranked else Link("", "", 0)
            chosen = Link(ticket_id_of(asked.report_id), "opened", 1000, about.other, None, about.number, about.follows)
            first[chosen.ticket_id] = n
            for number in (asked.ref, ticket_no_of(asked.report_id)):
                refs.setdefault(number or "", chosen.ticket_id)
            refs.pop("", None)
            witness.append(told[n])
        else:
            told_before = witness[chosen.other] if chosen.level == "place_time" and chosen.score >= sure else None
            new = told_before is not None and not told[n] <= told_before
            witness.append((told_before or set()) | told[n] if new else None)
        links.append(chosen)
        now.append(chosen.ticket_id)
        for other in fitting.values() if chosen.level != "opened" else ():
            _bridged(crowd, matching, n, chosen, other, now, first, shut, handled)
    return Linked(links, now)


def _bridged(
    crowd: Crowd, matching: Matching, n: int, chosen: Link, other: Link, now: list[str], first: dict[str, int], shut: set[str],
    handled: set[str],
) -> None:  # fmt: skip
    """Let two tickets become one in `now`, where a report belongs to both."""
    ticket = other.ticket_id
    if other.follows or other.score < matching.levels["bridge"].min_score or ticket not in now or ticket == now[n]:
        return
    older, younger = sorted((now[n], ticket), key=lambda t: first[t])
    asked = [(first[older], first[younger]), *([(chosen.other, other.other)] if chosen.other >= 0 else [])]
    x = crowd.x
    for one, two in asked:
        seen = evidence(x, np.array([one]), x, np.array([two]), matching)
        apart = seen["apart_s"] > seen["horizon_s"]
        if one != two and any(f[0] for f in (seen["against"], seen["point_beyond"], seen["point_far"], apart)):
            return
    if older not in shut and younger not in handled:
        now[:] = [older if t == younger else t for t in now]
