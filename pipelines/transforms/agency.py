"""Who names the agency: a rule, the classifier, or the source itself.

Three judgements meet on every report. In this order the first that may decide does: the source, where
it says that the agency it names acts already; a certain rule; a clerk who named the agency; the
classifier, where it is sure; the rule. Belongs here: that order. Not here: which rule holds and which
unit acts (route), the numbers (models/routing.toml, classifier.toml).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

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
    doubt: float = 0.50


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
