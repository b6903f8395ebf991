"""What reading a paid API cost, by UTC day, and a budget that is never passed.

The ledger rides in the cursor, so it lands with what was paid for in one atomic act: `spend` holds
the last 35 days as {day: {posts, owned, users, media, usd}}, `paid` the posts of the newest day that
may be met again. X bills a thing once a UTC day; so what is read again after a kill costs nothing,
and what landed is what is billed. What it cannot know: which resources that came along X bills (all
are counted, at `prices`), authors met by two pulls of a day (counted twice), discounts and credits.

Options in kanal.toml, for each stream:
  budget_usd_per_day    dollars a UTC day may cost; a page that might pass it is not asked for
  budget_reads_per_day  posts a UTC day may bring
  prices                dollars a resource: {post = 0.005, owned = 0.001, user = 0.010, media = 0.005}
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.contracts import Stream
from pipelines.errors import SettingsError, TransientError
from pipelines.sources.http import number_of

KEPT_DAYS = 35
PRICES = {"post": 0.005, "owned": 0.001, "user": 0.010, "media": 0.005}  # X's list of 2026, in US$
_COUNTS = {"post": "posts", "owned": "owned", "user": "users", "media": "media"}
_ALONG = {"post": 2, "user": 4, "media": 4}  # the most that comes along with one post


class Ledger:
    """Counts what each answer brought and says how much the next may ask for."""

    def __init__(self, stream: Stream, cursor: Mapping[str, Any]) -> None:
        self._key = stream.key
        self._prices = _prices_of(stream)
        self._usd = _limit_of(stream, "budget_usd_per_day", 1_000_000)
        self._reads = _limit_of(stream, "budget_reads_per_day", 10_000_000)
        self._spend: dict[str, dict[str, Any]] = {day: dict(row) for day, row in cursor.get("spend", {}).items()}
        paid = cursor.get("paid") or {"day": "", "posts": []}
        self._day, self._paid = paid["day"], {("post", i) for i in paid["posts"]}

    def room(self, at: datetime, kind: str, size: int, least: int) -> int:
        """Posts of `kind` the next page may ask for, `size` or fewer; at: now by the API's own clock.

        Raises TransientError, until the next UTC day, where not even `least` fit the budget.
        """
        row = self._spend.get(_day(at), {})
        spent, reads, most = row.get("usd", 0.0), row.get("posts", 0) + row.get("owned", 0), size
        if self._usd is not None:
            dearest = self._prices[kind] + sum(self._prices[k] * n for k, n in _ALONG.items())
            most = min(most, int((self._usd - spent) / dearest + 1e-9)) if dearest else most
        if self._reads is not None:
            most = min(most, int(self._reads - reads) // (1 + _ALONG["post"]))
        if most >= least:
            return most
        midnight = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        told = f"{spent:.2f} US$ and {reads:,} posts"
        raise TransientError(
            f"{self._key}: the next page might pass the day's budget ({told} so far in this UTC day); pulling goes on at"
            " 00:00 UTC (07:00 WIB), or at once with a higher budget_usd_per_day or budget_reads_per_day",
            retry_after=(midnight - at).total_seconds(),
        )

    def charge(self, at: datetime, kind: str, post: str, along: Mapping[str, Iterable[str]]) -> bool:
        """Count one post and what came along (kind -> ids), unless this UTC day paid for it already."""
        day = _day(at)
        if day != self._day:
            self._day, self._paid = day, set()
        if ("post", post) in self._paid:
            return False
        self._count(day, kind, ("post", post))
        for other, ids in along.items():
            for one in ids:
                self._count(day, other, (other, one))
        return True

    def _count(self, day: str, kind: str, thing: tuple[str, str]) -> None:
        if thing in self._paid:
            return
        self._paid.add(thing)
        row = self._spend.setdefault(day, {})
        row[_COUNTS[kind]] = row.get(_COUNTS[kind], 0) + 1
        row["usd"] = round(row.get("usd", 0.0) + self._prices[kind], 6)

    def kept(self, again: Collection[str]) -> dict[str, Any]:
        """The cursor's part; again: posts that later pages may bring once more."""
        if not self._spend:
            return {}
        days = sorted(self._spend)[-KEPT_DAYS:]
        paid = sorted(i for what, i in self._paid if what == "post" and i in again)
        return {"spend": {day: dict(self._spend[day]) for day in days}, "paid": {"day": self._day, "posts": paid}}


def _day(at: datetime) -> str:
    return at.astimezone(UTC).date().isoformat()


def _limit_of(stream: Stream, option: str, high: float) -> float | None:
    return number_of(stream, option, 0, 0, high) if option in stream.options else None


def _prices_of(stream: Stream) -> dict[str, float]:
    told = stream.options.get("prices", {})
    if not isinstance(told, dict) or not set(told) <= set(PRICES):
        raise SettingsError(f"{stream.key}: prices must be a table of {', '.join(PRICES)}")
    for name, value in told.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
            raise SettingsError(f"{stream.key}: prices.{name} must be a number from 0 to 100, not {value!r}")
    return PRICES | told
