"""Kanal: every complaint channel in, one routed ticket store out.

Rooms, and the one way imports run: contracts, errors, settings <- sources | transforms | sinks
<- knowledge, flow <- defs, cli. The three middle rooms never import each other; only defs and
definitions import dagster.
"""

__version__ = "0.1.0"
