"""`kanal intake`: the one process that faces the public. It appends to landing and does nothing else.

Belongs here: HTTP, proofs of who sends, limits, and gathering requests into batches that are durable
before anybody is told so. Not here: what a request means (sources), how a batch is kept (sinks), and
anything that reads a report, the warehouse or the CRM: what an attacker reaches here must not be
able to tell him anything.
"""
