"""What happens: incidents one after another, who will tell of them and when, and those that look like another.

Two incidents of one group never stand so close in place and time that a careful reader could take
them for one, but for the pairs planted as hard, whose reports say what tells them apart.
"""

from __future__ import annotations

from bisect import bisect
from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import accumulate
from random import Random

from benchmarks.incidents.knowledge import MAIN, WORDINGS, Kind, kinds
from benchmarks.incidents.places import M_LON, STREETS, M, Spot, Street, spot, streets
from benchmarks.incidents.shapes import Closing, HardPair, Incident, Pending, Report
from benchmarks.incidents.teller import Teller

START = 1_767_200_400  # 2026-01-01 00:00 WIB
DAY = 86_400
A_DAY = 560  # incidents that begin
HARD_SHARE = 0.11
UNFIXED_SHARE = 0.06  # of incidents that many can tell of
_STYLES_OF_ROLES = (
    ("near_copy", 0.26), ("cross_post", 0.32), ("repost", 0.36), ("cited", 0.41), ("late", 0.47), ("paraphrase", 1.0),
)  # fmt: skip
_SPOTS = frozenset("jalan galian trotoar tutup_got lampu pohon sampah kabel".split())  # many on one street
_LASTING = _SPOTS | frozenset("got pkl parkir bangunan taman asap banjir spanduk berisik".split())
_EDITED = frozenset(
    "jaki twitter facebook governor_social lapor kecamatan kelurahan".split()
)  # where texts can be edited
_NEIGHBOURS = frozenset("bangunan ktp kjp bansos".split())

Item = Report | HardPair | Closing


def stories(count: int, seed: int, wordings: str = WORDINGS[0]) -> Iterator[Item]:
    """`count` reports in the order in which they were said, with later versions, hard pairs and closings between.

    Memory is bounded by what is due within the next six weeks, whatever the count. The same for the
    same count, seed and wordings (of knowledge.WORDINGS).
    """
    world, reports = _World(seed, wordings), 0
    while True:
        for item in world.until_next():
            if isinstance(item, Report) and item.version == 1:
                if reports == count:
                    return
                reports += 1
            yield item
        world.happen()


class _World:
    def __init__(self, seed: int, wordings: str) -> None:
        self.rng = rng = Random(seed)
        self.kinds = list(kinds(wordings).values())
        self.teller = Teller(rng, [k.label for k in self.kinds])
        self.streets = streets(rng)
        self._shares = list(accumulate(k.share for k in self.kinds))
        self.now = float(START)
        self._due: list[tuple[float, int, str, Incident | Report]] = []  # (when, serial, role, whose)
        self._serial = 0
        self._incidents = 0
        self._taken: dict[tuple[object, ...], float] = {}  # (group, street or cell) -> until when
        self._authors: deque[str] = deque(maxlen=2_000)

    def until_next(self) -> Iterator[Item]:
        """What is said before the next incident begins."""
        self.now += self.rng.expovariate(A_DAY / DAY)
        while self._due and self._due[0][0] <= self.now:
            when, _, role, whose = heappop(self._due)
            if isinstance(whose, Report):
                yield whose
            elif role == "closing":
                if whose.told:
                    yield Closing(int(when), whose.number, whose.told[0].report_id, "Selesai")
            else:
                yield from self._say(when, role, whose)

    def _say(self, when: float, role: str, incident: Incident) -> Iterator[Item]:
        first = not incident.told
        report = self.teller.tell(incident, role, int(when))
        yield report
        if first:
            for pending, side in incident.pairs:
                pending.ids[side] = report.report_id
                if (a := pending.ids[0]) and (b := pending.ids[1]):
                    yield HardPair(a, b, pending.hard)
        if report.channel in _EDITED and self.rng.random() < 0.035:
            edited = self.teller.edited(report, int(when + 300 + self.rng.expovariate(1 / 14_400)))
            self._push(float(edited.edited_at or when), "", edited)

    def happen(self) -> None:
        """One incident, or several that look alike."""
        kind = self._kind()
        matter = self._matter(kind)
        place = self._free(kind)
        if place is None:
            return
        hard = self.rng.random()
        if hard < HARD_SHARE and self._hard(kind, matter, place):
            return
        self._begin(kind, matter, place, self.now)

    def _kind(self) -> Kind:
        return self.kinds[bisect(self._shares, self.rng.random() * self._shares[-1])]

    def _matter(self, kind: Kind) -> str:
        return self.rng.choices(list(kind.weights), list(kind.weights.values()))[0]

    def _free(self, kind: Kind, street: Street | None = None) -> Spot | None:
        """A spot where nothing of the group is going on; None if a few tries find none."""
        rng = self.rng
        for _ in range(6):
            tried = street or rng.choice(rng.choice(self.streets))
            at = spot(tried, rng.random() * tried.length)
            if all(self._taken.get(key, 0.0) < self.now for key in self._keys(kind, at, around=True)):
                return at
            if street:
                return None
        return None

    def _keys(self, kind: Kind, at: Spot, *, around: bool) -> list[tuple[object, ...]]:
        side = 320 if kind.size == "flood" or kind.name == "api" else 120
        x, y = int(at.lat / (side * M)), int(at.lon / (side * M_LON))
        near = (-1, 0, 1) if around else (0,)
        cells: list[tuple[object, ...]] = [(kind.group, x + dx, y + dy) for dx in near for dy in near]
        return [*cells, (kind.group, at.street.number)]

    def _begin(
        self, kind: Kind, matter: str, at: Spot, begin: float, *, floor: str = "", line: tuple[str, str] | None = None,
        author: str | None = None,
    ) -> Incident:  # fmt: skip
        """An incident with all its reports due."""
        rng = self.rng
        low, high = kind.hours
        end = begin + 3600 * low * (high / low) ** rng.random()
        measure = int(rng.random() * len(kind.measures))
        incident = Incident(self._incidents, kind, matter, at, begin, end, measure, floor, line)
        self._incidents += 1
        incident.author = author
        if author is None and (luck := rng.random()) < 0.1:  # some tell of many matters
            if luck < 0.04 and self._authors:
                incident.author = rng.choice(self._authors)
            else:
                incident.author = self.teller.newcomer()
                self._authors.append(incident.author)
        last = begin
        for number in range(self._size(kind, matter)):
            role = "first" if number == 0 else self._role(kind, matter)
            span = end - begin
            when = begin if number == 0 else begin + span * rng.random() ** 1.6
            if role == "late":
                when = end + span * 0.4 * rng.random()
            last = max(last, when)
            self._push(when, role, incident)
        if matter == MAIN and rng.random() < UNFIXED_SHARE:
            done = max(end, last) + 3_600 * (2 + 70 * rng.random())
            self._push(done, "closing", incident)
            last = done + DAY * (0.3 + 7 * rng.random())
            self._push(last, "not_fixed", incident)
        free = last + max(2 * DAY, 3_600 * 1.2 * high)  # before, it could be the old one, still there
        for key in self._keys(kind, at, around=False):
            self._taken[key] = max(self._taken.get(key, 0.0), free)
        if len(self._taken) > 300_000:
            self._taken = {k: t for k, t in self._taken.items() if t >= self.now}
        return incident

    def _size(self, kind: Kind, matter: str) -> int:
        rng, luck = self.rng, self.rng.random()
        if kind.size == "one" or matter != MAIN:
            return 1 if luck < 0.86 else 2
        if kind.size == "few":
            return 1 if luck < 0.58 else 2 + min(int(rng.expovariate(0.7)), 6)
        if kind.size == "some":
            return 1 if luck < 0.35 else 2 + min(int(rng.expovariate(0.3)), 18)
        if luck < 0.3:
            return 1 + int(2 * rng.random())
        return 3 + min(int(rng.expovariate(0.15)), 24) if luck < 0.9 else 30 + int(31 * rng.random())

    def _role(self, kind: Kind, matter: str) -> str:
        luck = self.rng.random()
        if kind.size == "one" or matter != MAIN:  # one person's, or told by one wording: sent again
            return "cross_post" if luck < 0.5 else "repost" if luck < 0.8 else "near_copy"
        return next(role for role, share in _STYLES_OF_ROLES if luck < share)

    def _push(self, when: float, role: str, whose: Incident | Report) -> None:
        self._serial += 1
        heappush(self._due, (when, self._serial, role, whose))

    # --- incidents that look like another ---

    def _hard(self, kind: Kind, matter: str, at: Spot) -> bool:
        """Plant one kind of hard pair; False where this incident is not made for it."""
        way = self.rng.random()
        if kind.name in _NEIGHBOURS and way < 0.75:
            return self._next_door(kind, matter, at)
        if kind.size == "one":
            return way > 0.6 and self._same_author(kind, matter, at)
        if way < 0.2:
            return self._other_matter(kind, matter, at)
        if way < 0.4:
            return self._campaign(kind, at)
        if way < 0.6:
            return kind.name in _LASTING and self._recurring(kind, matter, at)
        if way < 0.8:
            return kind.name in _SPOTS and self._two_on_street(kind, matter, at)
        return self._same_author(kind, matter, at) if way < 0.9 else self._same_landmark(kind, matter, at)

    def _pair(self, hard: str, a: Incident, b: Incident) -> bool:
        pending = Pending(hard)
        a.pairs.append((pending, 0))
        b.pairs.append((pending, 1))
        return True

    def _soon(self, hours: float = 6) -> float:
        return self.now + 3_600 * hours * self.rng.random()

    def _another(self, kind: Kind) -> Kind:
        """A kind of another group, not everybody's own matter."""
        while True:
            other = self._kind()
            if other.group != kind.group and other.size != "one":
                return other

    def _other_matter(self, kind: Kind, matter: str, at: Spot) -> bool:
        other = self._another(kind)
        near = spot(at.street, at.along + 30 * self.rng.random() - 15)
        if any(self._taken.get(key, 0.0) >= self.now for key in self._keys(other, near, around=True)):
            return False
        first = self._begin(kind, matter, at, self.now, floor="street")
        second = self._begin(other, self._matter(other), near, self._soon(), floor="street")
        return self._pair("other_matter_same_street", first, second)

    def _campaign(self, kind: Kind, at: Spot) -> bool:
        matter = MAIN if MAIN in kind.lines else self._matter(kind)
        style = self.rng.choice([s for s in kind.lines[matter] if s != "d"])
        line = (style, self.rng.choice(kind.lines[matter][style]))
        author = self.teller.newcomer() if self.rng.random() < 0.3 else None
        before = self._begin(kind, matter, at, self.now, floor="street", line=line, author=author)
        for _ in range(1 + int(3 * self.rng.random())):
            place = self._free(kind)
            if place is None or place.street.area == before.spot.street.area:
                continue
            after = self._begin(kind, matter, place, self._soon(8), floor="street", line=line, author=author)
            self._pair("same_text_elsewhere", before, after)
            before = after
        return True

    def _recurring(self, kind: Kind, matter: str, at: Spot) -> bool:
        first = self._begin(kind, matter, at, self.now, floor="street")
        again = self._begin(kind, matter, at, first.end + DAY * (32 + 13 * self.rng.random()), floor="street")
        return self._pair("recurring", first, again)

    def _two_on_street(self, kind: Kind, matter: str, at: Spot) -> bool:
        apart = 200 + 200 * self.rng.random()
        long = [s for s in self.streets[at.street.number // STREETS] if s.length > apart + 20]
        place = self._free(kind, self.rng.choice(long)) if long else None
        if place is None:
            return False
        along = self.rng.random() * (place.street.length - apart)
        first = self._begin(kind, matter, spot(place.street, along), self.now, floor="number")
        second = self._begin(kind, matter, spot(place.street, along + apart), self._soon(20), floor="number")
        return self._pair("two_on_one_street", first, second)

    def _next_door(self, kind: Kind, matter: str, at: Spot) -> bool:
        first = self._begin(kind, matter, at, self.now, floor="number")
        step = 16 if at.along + 16 < at.street.length else -16
        second = self._begin(kind, matter, spot(at.street, at.along + step), self._soon(24), floor="number")
        return self._pair("next_door", first, second)

    def _same_author(self, kind: Kind, matter: str, at: Spot) -> bool:
        author, other = self.teller.newcomer(), self._another(kind)
        place = self._free(other, self.rng.choice(self.streets[at.street.number // STREETS]))
        if place is None:
            return False
        self._authors.append(author)
        first = self._begin(kind, matter, at, self.now, author=author)
        second = self._begin(other, self._matter(other), place, self._soon(10), author=author)
        return self._pair("same_author_two_matters", first, second)

    def _same_landmark(self, kind: Kind, matter: str, at: Spot) -> bool:
        for _ in range(12):
            place = self._free(kind)
            if place and place.landmark == at.landmark and place.street.area != at.street.area:
                first = self._begin(kind, matter, at, self.now, floor="landmark")
                second = self._begin(kind, matter, place, self._soon(8), floor="landmark")
                return self._pair("same_landmark_elsewhere", first, second)
        return False
