"""Who tells of an incident, by which channel, in which words, and with what beside the words."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from random import Random

from benchmarks.incidents.knowledge import Channel, channels, phrases
from benchmarks.incidents.places import Spot, moved, preposed, told
from benchmarks.incidents.shapes import COPIES, Incident, Report, Told
from benchmarks.incidents.words import misspell, passed_on, tidy, typed, wrapped

_LEVELS = (
    ("number", 0.35), ("street", 0.70), ("corner", 0.91), ("bare", 0.92), ("landmark", 0.97), ("area", 0.985), ("none", 1.0),
)  # fmt: skip
_FLOORS = {
    "": frozenset(("number", "street", "corner", "bare", "landmark", "area", "none")),
    "street": frozenset(("number", "street")), "number": frozenset(("number",)), "landmark": frozenset(("landmark",)),
}  # fmt: skip
_SAYS = {
    "number": ("number", "street"), "street": ("street",), "corner": ("street", "landmark"), "bare": ("road",),
    "landmark": ("landmark",), "area": ("area",), "none": (),
}  # fmt: skip
_EVIDENCE = ("point", "number", "street", "landmark", "road", "area")
_KEPT = 12  # reports of an incident that copies can be made of
_CITIZENS = "axmsd"
_SHORT = 9  # words; shorter texts are not passed on, nor those that do not say where
_NAMED = frozenset(("number", "street", "corner", "landmark"))


class Teller:
    def __init__(self, rng: Random, labels: Sequence[str]) -> None:
        """labels: of the kinds' categories, one of which a reporter names who names a wrong one."""
        self.rng = rng
        self.channels = list(channels().values())
        self._shares = list(accumulate(c.share for c in self.channels))
        self._labels = labels
        self._people = 0
        self._reports = 0
        self._day, self._of_day = "", 0

    def newcomer(self) -> str:
        self._people += 1
        return f"w{self._people}"

    def tell(self, incident: Incident, role: str, when: int) -> Report:
        """The incident's next report, said at `when` (epoch seconds)."""
        rng = self.rng
        source = self._source(incident, role)
        if (source is None and role in COPIES) or (role == "cited" and not any(t.ref for t in incident.told)):
            role = "paraphrase"
        if not incident.told:
            role = "first"
        channel = self._channel(incident, role, source)
        point = rng.random() < channel.point
        fields = rng.random() < channel.fields
        if source is not None:
            level = source.level
            text = source.text
            style = source.style
            if role == "near_copy":
                text = passed_on(rng, text)
            elif role == "repost" and rng.random() < 0.3:
                text = f"{rng.choice(('up', 'Up lagi', 'belum ada respon nih', 'mohon dibalas'))} {text}"
        else:
            level = self._level(incident.floor, point=point, fields=fields)
            style, text = self._words(incident, role, channel, level)
        author = incident.author if role == "first" and incident.author else self._author(role, source)
        report_id, ref = self._numbers(channel, when)
        address, rt_rw, kelurahan, kecamatan, written = self._fields(incident.spot, incident.floor, fields=fields)
        lat, lon, accuracy = self._point(incident, channel) if point else (None, None, None)
        title = self._title(incident) if channel.title else None
        photo = self._photo(incident, channel, source)
        says = {*_SAYS[level], *_SAYS[written], *(("point",) if point else ())}
        place = "+".join(e for e in _EVIDENCE if e in says)
        if len(incident.told) < _KEPT and source is None:
            incident.told.append(Told(report_id, text, style, author, channel.name, level, ref, photo))
        return Report(
            report_id, 1, channel.name, when, None, title, text, address, rt_rw, kelurahan, kecamatan, lat, lon, accuracy,
            self._category(incident, channel), author, ref, photo[0] if photo else None,
            f"{photo[1]:016x}" if photo else None, incident.number, role, source.report_id if source else None, place,
            incident.kind.name,
        )  # fmt: skip

    def edited(self, report: Report, when: int) -> Report:
        """The second version of a report: one more remark, or a word spelt otherwise."""
        first, _, rest = report.text.partition(" ")
        text = f"{misspell(self.rng, first)} {rest}" if rest and self.rng.random() < 0.3 else report.text
        if text == report.text:
            text += self.rng.choice(phrases()["updates"])
        return report._replace(version=2, edited_at=when, text=text)

    # --- who, by which channel ---

    def _source(self, incident: Incident, role: str) -> Told | None:
        """The report that this one repeats."""
        if role not in COPIES:
            return None
        good = [t for t in incident.told if role != "near_copy" or (t.text.count(" ") >= _SHORT and t.level in _NAMED)]
        return good[int(len(good) * self.rng.random() ** 2)] if good else None  # the first ones travel farthest

    def _channel(self, incident: Incident, role: str, source: Told | None) -> Channel:
        if source and role == "repost":
            return channels()[source.channel]
        if incident.line and role == "first":
            able = [c for c in self.channels if incident.line[0] in c.styles]
            return self.rng.choices(able, [c.share for c in able])[0]
        while True:
            found = self.channels[bisect(self._shares, self.rng.random() * self._shares[-1])]
            if source is None or (found.styles != "d" and (role != "cross_post" or found.name != source.channel)):
                return found

    def _author(self, role: str, source: Told | None) -> str:
        if source and (
            role == "repost" or (role == "cross_post" and (source.level not in _NAMED or self.rng.random() < 0.8))
        ):
            return source.author
        return self.newcomer()

    def _numbers(self, channel: Channel, when: int) -> tuple[str, str | None]:
        """(report id, the CRM's number where the channel has one)."""
        self._reports += 1
        if channel.name != "jaki":
            return f"{channel.name}-{self._reports}", None
        day = (datetime.fromtimestamp(when, UTC) + timedelta(hours=7)).strftime("%y%m%d")
        self._day, self._of_day = day, self._of_day + 1 if day == self._day else 1
        number = f"JK{day}{self._of_day:04}"
        return number, number

    # --- words ---

    def _level(self, floor: str, *, point: bool, fields: bool) -> str:
        """What the text says of the place: less where a point or a field says it."""
        rng, able = self.rng, _FLOORS[floor]
        if fields and rng.random() < 0.6:  # fields keep the floor
            return "none"
        if point and not floor and rng.random() < 0.5:
            return "none"
        for _ in range(8):
            luck = rng.random()
            level = next(name for name, share in _LEVELS if luck < share)
            if level in able:
                return level
        return floor

    def _words(self, incident: Incident, role: str, channel: Channel, level: str) -> tuple[str, str]:
        """(style, text) in a wording that the incident has not had, if there is one."""
        rng, kind = self.rng, incident.kind
        by_style = kind.lines[incident.matter]
        if role == "first" and incident.line:
            style, line = incident.line
        elif role == "not_fixed":
            style, line = rng.choice(channel.styles), rng.choice(phrases()["not_fixed"])
        else:
            for _ in range(5):
                style = self._style(channel, by_style)
                line = rng.choice(by_style[style])
                if line not in incident.used:
                    break
            incident.used.add(line)
        place = told(rng, incident.spot, level, style)
        text = line.replace("{di}", preposed(rng, place)).replace("{lok}", place or rng.choice(_HERE))
        if "{" in text:
            step = incident.measure + int(3 * rng.random()) - 1
            text = text.replace("{sejak}", rng.choice(phrases()["since"]))
            text = text.replace("{ukur}", kind.measures[min(max(step, 0), len(kind.measures) - 1)])
            text = text.replace("{no}", self._cites(incident, "no. {ref}") if rng.random() < 0.4 else "")
        if role == "cited":
            text = self._cites(incident, rng.choice(phrases()["citing"])) + text
        return style, tidy(wrapped(rng, typed(rng, text, style), style, bare=not place))

    def _style(self, channel: Channel, able: Mapping[str, object]) -> str:
        """One of the channel's styles that has a wording, else one that citizens write in, else a clerk's."""
        if (style := self.rng.choice(channel.styles)) in able:
            return style
        return self.rng.choice([s for s in channel.styles if s in able] or sorted(able, key=_CITIZENS.index)[:1])

    def _cites(self, incident: Incident, words: str) -> str:
        refs = [t.ref for t in incident.told if t.ref]
        return words.format(ref=self.rng.choice(refs)) if refs else ""

    def _title(self, incident: Incident) -> str:
        kind = incident.kind
        return self.rng.choice(phrases()["subjects"]).format(
            kategori=kind.label.lower(), kel=incident.spot.street.area.name
        )

    # --- beside the words ---

    def _fields(
        self, at: Spot, floor: str, *, fields: bool
    ) -> tuple[str | None, str | None, str | None, str | None, str]:
        """(address, RT/RW, kelurahan, kecamatan, the level of these)."""
        if not fields:
            return None, None, None, None, "none"
        rng, area = self.rng, at.street.area
        level = self._level_of_field(floor)
        address = told(rng, at, level, "m" if rng.random() < 0.5 else "a")
        rt_rw = f"{at.rt:03}/{at.street.rw:03}" if level == "number" and rng.random() < 0.5 else None
        whole = level in ("landmark", "bare") or rng.random() < 0.85
        return address, rt_rw, area.name if whole else None, area.kecamatan if whole else None, level

    def _level_of_field(self, floor: str) -> str:
        luck = self.rng.random()
        if floor:
            return "number" if floor == "street" and luck < 0.5 else floor
        return "number" if luck < 0.5 else "street" if luck < 0.85 else "landmark"

    def _point(self, incident: Incident, channel: Channel) -> tuple[float, float, float | None]:
        """Where the reporter stands, as the device or the hand says it; accuracy in metres, if it is a device."""
        rng, at = self.rng, incident.spot
        lat, lon = moved(rng, at.lat, at.lon, incident.kind.spread_m * rng.random())
        if rng.random() < channel.pin:
            lat, lon = moved(rng, lat, lon, 80 + 140 * rng.random())
            return round(lat, 6), round(lon, 6), None
        error = 5 + 45 * rng.random() ** 2
        lat, lon = moved(rng, lat, lon, error)
        return round(lat, 6), round(lon, 6), float(round(max(5.0, error * (0.7 + rng.random()))))

    def _category(self, incident: Incident, channel: Channel) -> str | None:
        if self.rng.random() >= channel.category:
            return None
        return self.rng.choice(self._labels) if self.rng.random() < channel.wrong else incident.kind.label

    def _photo(self, incident: Incident, channel: Channel, source: Told | None) -> tuple[str, int] | None:
        """(sha256, perceptual hash): the source's picture as it was or resized, or one of its own."""
        rng = self.rng
        if rng.random() >= channel.photo:
            return None
        taken = source.photo if source else None
        if taken is None and source is None and rng.random() < 0.05:
            taken = next((t.photo for t in incident.told if t.photo), None)
        if taken is None:
            return f"{rng.getrandbits(256):064x}", rng.getrandbits(64)
        if rng.random() < 0.5:
            return taken
        alike = taken[1]
        for _ in range(int(4 * rng.random())):
            alike ^= 1 << rng.getrandbits(6)
        return f"{rng.getrandbits(256):064x}", alike


_HERE = ("sini", "sekitar sini", "tempat kami", "lingkungan kami", "lokasi sesuai peta")
