"""`kanal`'s groups of commands, one file a group; pipelines/cli.py holds the single ones and puts all together.

Belongs here: what a command asks and prints. Not here: what it does (a module of pipelines/ beside cli.py)
and how a table looks (console).
"""
