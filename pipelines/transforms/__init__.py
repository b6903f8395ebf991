"""Shape -> shape, pure: what it means. One file per step, table in and table out.

Belongs here: normalise, redact, classify, locate, route, link, ticket. Does not: clock, network or
disk; `now`, model, gazetteer and rules are passed in. Transforms import contracts and errors only.
"""
