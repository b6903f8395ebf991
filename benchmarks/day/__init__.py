"""A day of all sixteen channels, replayed into the system as it runs in production: `python -m benchmarks.day`.

script.py is what is said, outlets.py how, city.py the peers and the running system, measure.py what became of it.
"""
