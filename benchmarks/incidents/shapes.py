"""What the generator says: reports with their truth, pairs that must not be merged, and closings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.incidents.knowledge import Kind
from benchmarks.incidents.places import Spot

HARD = (
    "other_matter_same_street",  # another group's matter at the same house, hours later
    "same_text_elsewhere",  # one wording sent for several kelurahan
    "recurring",  # the same matter at the same spot, 32 to 45 days later
    "two_on_one_street",  # the same kind 200 to 400 m on
    "next_door",  # the neighbour's own matter, told in the same days
    "same_author_two_matters",
    "same_landmark_elsewhere",  # the landmark's name in another kelurahan
)
ROLES = ("first", "paraphrase", "near_copy", "cross_post", "repost", "cited", "late", "not_fixed")
COPIES = ("near_copy", "cross_post", "repost")


class Report(NamedTuple):
    """One version of one report; the fields from `incident` on are the truth, which no linker may read.

    Times are epoch seconds. author, photo_sha256, photo_phash: made up. incident: number of the
    incident. copy_of: the report whose words these are. place: what the report, fields included, says
    of its place, joined by "+": point, number, street (or gang; with its kelurahan, but for a few), landmark,
    road (a street's name alone), area (a kelurahan alone). Empty where it says nothing.
    """

    report_id: str
    version: int
    channel: str
    occurred_at: int
    edited_at: int | None
    title: str | None
    text: str
    address: str | None
    rt_rw: str | None
    kelurahan: str | None
    kecamatan: str | None
    lat: float | None
    lon: float | None
    accuracy_m: float | None
    category: str | None
    author: str
    external_ref: str | None
    photo_sha256: str | None
    photo_phash: str | None
    incident: int
    role: str
    copy_of: str | None
    place: str
    kind: str


TRUTH = ("incident", "role", "copy_of", "place", "kind")


class HardPair(NamedTuple):
    """Two reports of two incidents that look like one."""

    a: str
    b: str
    hard: str


class Closing(NamedTuple):
    """The city calls the incident done; report_id: of its first report. Reports of role not_fixed come after."""

    happened_at: int
    incident: int
    report_id: str
    status: str


@dataclass(slots=True)
class Told:
    """What of a report is needed to copy it."""

    report_id: str
    text: str
    style: str
    author: str
    channel: str
    level: str
    ref: str | None
    photo: tuple[str, int] | None


@dataclass(slots=True)
class Pending:
    """A hard pair of which one side or none has been told yet."""

    hard: str
    ids: list[str | None] = field(default_factory=lambda: [None, None])


@dataclass(slots=True)
class Incident:
    """floor: the least that each report says of the place ("" for anything). line: (style, wording) that its first
    report must have. author: of its first report. gone: when its last report is due."""

    number: int
    kind: Kind
    matter: str
    spot: Spot
    begin: float
    end: float
    measure: int
    floor: str = ""
    line: tuple[str, str] | None = None
    author: str | None = None
    pairs: list[tuple[Pending, int]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
