"""The Splink model: what is compared, at which levels, and which pairs are looked at.

As its documentation advises: equality joins as blocking rules; one comparison for things that depend on one another (a
house says nothing without its street); term frequencies where some values are far more common than others; nulls where
a report does not say.
"""

from __future__ import annotations

from typing import Any

import splink.comparison_level_library as cll
import splink.comparison_library as cl
from splink import SettingsCreator, block_on

# What two reports of one incident may share. The spans of each rule are the window in time: none of these joins
# reports that lie more than 14 days apart.
BLOCKS = [
    block_on("street", "span_a"),
    block_on("street", "span_b"),
    block_on("kelurahan_code", "span_a"),
    block_on("kelurahan_code", "span_b"),
    block_on("landmark", "span_a"),
    block_on("landmark", "span_b"),
    block_on("cells", "span_a", arrays_to_explode=["cells"]),
    block_on("cells", "span_b", arrays_to_explode=["cells"]),
    block_on("author_key", "span_a"),
    block_on("author_key", "span_b"),
    block_on("text_key", "span_a"),
    block_on("text_key", "span_b"),
    block_on("photo", "span_a"),
    block_on("photo", "span_b"),
    block_on("numbers", arrays_to_explode=["numbers"]),  # a number is cited for months
]
TRAINING = [
    block_on("street", "span_a"),
    block_on("kelurahan_code", "category", "span_a"),
]
# Hardly ever wrong, and find only a part.
SURE = [
    block_on("text_key", "kelurahan_code", "span_a"),
    block_on("photo", "span_a"),
    block_on("street", "house_number", "category", "span_a"),
]


def settings(**more: Any) -> SettingsCreator:
    return SettingsCreator(
        link_type="dedupe_only",
        comparisons=comparisons(),
        blocking_rules_to_generate_predictions=BLOCKS,
        retain_matching_columns=False,
        max_iterations=50,
        **more,
    )


def comparisons() -> list[Any]:
    return [
        _text(), _distance(), _time(), _street(), _area(), _rt_rw(), _landmark(), _matter(), _photo(),
        cl.ExactMatch("author_key"),
    ]  # fmt: skip


def _level(sql: str, label: str | None = None) -> Any:
    return cll.CustomLevel(sql, label)


_JACCARD = "bit_count(words_l & words_r) / bit_count(words_l | words_r)"


def _text() -> Any:
    """The same words in the same order, then the share of common words (Jaccard)."""
    shared = [_level(f"{_JACCARD} >= {share}", f"{share} of the words") for share in (0.8, 0.6, 0.4, 0.25, 0.15, 0.08)]
    null = cll.NullLevel("text_key")  # no words
    return cl.CustomComparison([null, cll.ExactMatchLevel("text_key"), *shared, cll.ElseLevel()], "said")


def _distance() -> Any:
    return cl.DistanceInKMAtThresholds("lat", "lon", [0.03, 0.06, 0.1, 0.15, 0.25, 0.4, 1])


def _time() -> Any:
    apart = "abs(said_at_l - said_at_r)"
    levels = [_level(f"{apart} <= {hours * 3600}", f"{hours} h") for hours in (1, 3, 6, 12, 24, 48, 96, 168)]
    return cl.CustomComparison([cll.NullLevel("said_at"), *levels, cll.ElseLevel()], output_column_name="said_at")


def _street() -> Any:
    apart = "abs(house_l - house_r)"
    return cl.CustomComparison(
        [
            cll.NullLevel("street"),
            _level("street_l = street_r and house_number_l = house_number_r", "house"),
            _level(f"street_l = street_r and {apart} <= 6", "house nearby"),
            _level(f"street_l = street_r and {apart} > 6", "another house"),
            cll.ExactMatchLevel("street", term_frequency_adjustments=True),
            cll.JaroWinklerLevel("street", 0.95),
            cll.ElseLevel(),
        ],
        output_column_name="street",
    )


def _area() -> Any:
    return cl.CustomComparison(
        [
            cll.NullLevel("kelurahan_code"),
            cll.ExactMatchLevel("kelurahan_code", term_frequency_adjustments=True),
            cll.ExactMatchLevel("kecamatan_code"),
            cll.ElseLevel(),
        ],
        output_column_name="area",
    )


def _rt_rw() -> Any:
    return cl.CustomComparison(
        [
            cll.Or(cll.NullLevel("rw"), cll.NullLevel("rt")),
            _level("rt_l = rt_r and rw_l = rw_r", "RT"),
            cll.ExactMatchLevel("rw"),
            cll.ElseLevel(),
        ],
        output_column_name="rt_rw",
    )


def _landmark() -> Any:
    return cl.CustomComparison(
        [
            cll.NullLevel("landmark"),
            cll.ExactMatchLevel("landmark", term_frequency_adjustments=True),
            cll.JaroWinklerLevel("landmark", 0.88),
            cll.ElseLevel(),
        ],
        output_column_name="landmark",
    )


def _matter() -> Any:
    """The category, the classifier's second choice where the first differs, the group of categories."""
    return cl.CustomComparison(
        [
            cll.NullLevel("category"),
            cll.ExactMatchLevel("category", term_frequency_adjustments=True),
            _level("category_l = runner_up_r or runner_up_l = category_r", "second choice"),
            cll.ExactMatchLevel("matter"),
            _level("runner_up_l = runner_up_r", "both second choices"),
            cll.ElseLevel(),
        ],
        output_column_name="matter",
    )


def _photo() -> Any:
    """The same file, or one that looks the same: 64 bits of a perceptual hash."""
    return cl.CustomComparison(
        [
            cll.NullLevel("photo"),
            cll.ExactMatchLevel("photo"),
            _level("bit_count(xor(looks_l, looks_r)) <= 8", "looks the same"),
            cll.ElseLevel(),
        ],
        output_column_name="photo",
    )
