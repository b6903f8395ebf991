"""Dagster: when the flow runs, in what order, and who is told.

Belongs here: assets, checks, jobs, schedules, sensors; each is thin and calls flow. Not here: any
work of the pipeline itself. Correctness rests on landing and the ledger: everything in this room
may fire twice, late or never, and no message is lost or doubled.
"""
