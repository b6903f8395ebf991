"""Who names the agency: a rule, the classifier, or the source itself.

Three judgements meet on every report. In this order the first that may decide does: the source, where
it says that the agency it names acts already; a certain rule; a clerk who named the agency; the
classifier, where it is sure; the rule. Belongs here: that order, and reading what source and
classifier say. Not here: which rule holds and which unit acts (route), the numbers (models/).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import pandas as pd

from pipelines.contracts import UNTOUCHED, column, status_of

RULE, MODEL, REPORTED, PERSON = "rule", "model", "reported", "person"  # agency_source


@dataclass(frozen=True, slots=True)
class Trust:
    """How far each judgement is believed; confidences 0..1.

    certain, rule: how often certain rules and the others are right. reported: how often a clerk who names the
    agency is; acted: the same where the source says that somebody acts on it. clerks: channels whose
    agency a clerk named. accept: from here on the classifier decides against an uncertain rule. doubt: from
    here on its word against a rule that is not that sure makes a person look.
    """

    certain: float = 0.95
    rule: float = 0.78
    reported: float = 0.80
    acted: float = 0.95
    clerks: frozenset[str] = field(default_factory=frozenset)
    accept: float = 0.85
    doubt: float = 0.60


class Chosen(NamedTuple):
    """An agency that a judgement names. agency: id of agencies.toml, also a unit's; source: whose judgement."""

    agency: str
    source: str
    confidence: float


class Opinion(NamedTuple):
    """What is said of one report besides the rules. model, sure: the classifier's first choice and its
    confidence; reported: the agency that the source names; acted: the source says that somebody acts on it."""

    model: str | None = None
    sure: float = 0.0
    reported: str | None = None
    acted: bool = False


NOTHING = Opinion()
_WORDS = 20  # of a source's naming that are read; no agency's name has more


def choose(
    rule: Chosen, opinion: Opinion, *, channel: str, certain: bool, trust: Trust, owner: Mapping[str, str]
) -> tuple[Chosen, bool]:
    """(the judgement that counts, whether a person should look as rule and classifier differ and neither is sure).

    owner: agency -> the one it is a unit of, or itself; judgements that name one agency's units agree.
    """
    model, sure, reported, acted = opinion
    if reported and acted:
        return Chosen(reported, REPORTED, trust.acted), False
    if certain:
        return rule, False
    if reported and channel in trust.clerks:
        return Chosen(reported, REPORTED, trust.reported), False
    if model is None:
        return rule, False
    if sure >= trust.accept:
        return Chosen(model, MODEL, round(sure, 3)), False
    if owner[model] == owner[rule.agency]:
        return rule._replace(confidence=max(rule.confidence, round(sure, 3))), False
    return rule, sure >= trust.doubt and rule.confidence < trust.accept


def opinions(
    reports: pd.DataFrame, *, names: Mapping[str, str], known: Collection[str], words: Callable[[str], Sequence[str]]
) -> tuple[list[Opinion], dict[str, list[str | None]]]:
    """(what source and classifier say of each report's agency, the classifier's columns where it says anything).

    reports: agency_model, agency_runner_up, agency_sure, agency_reported, status_reported. names: name of an agency, its
    words with a blank between -> id. known: ids; other labels, as another city's classifier has them, name no agency.
    """
    models, labels = column(reports, "agency_model"), column(reports, "agency_reported")
    if not any(models) and not any(labels):
        return [NOTHING] * len(reports), {}
    thought = {
        name: [agency if agency in known else None for agency in column(reports, name)]
        for name in ("agency_model", "agency_runner_up")
    }
    named = {label: _named(words(label), names) for label in set(labels) if label}
    said = (thought["agency_model"], column(reports, "agency_sure"), labels, column(reports, "status_reported"))
    found = [
        Opinion(model, sure, named.get(label), status_of(status) not in (None, UNTOUCHED))
        if model or label
        else NOTHING
        for model, sure, label, status in zip(*said, strict=True)
    ]
    return found, thought


def _named(words: Sequence[str], names: Mapping[str, str]) -> str | None:
    """The longest name that words begin with ("suku dinas bina marga jakarta timur", "kelurahan gelora"), its agency."""
    ends = range(min(len(words), _WORDS), 0, -1)
    return next((agency for end in ends if (agency := names.get(" ".join(words[:end])))), None)
