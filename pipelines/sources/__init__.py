"""Outside world -> Message: what was said, untouched. One file per kind of channel.

Belongs here: `pull` (I/O and nothing else) and `decode` (pure, what the payload means in a Draft).
Does not: cleaning, judging, storing. Sources import contracts, errors and settings only.
"""
