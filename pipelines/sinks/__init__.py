"""Shape -> store: what is kept; writing twice is writing once.

Belongs here: landing and its order log, warehouse, CRM store, snapshot, report. Does not: judging.
Sinks import contracts, errors and settings only.
"""
