"""Made-up incidents and who tells of them: a labelled set for "one incident, one ticket".

    python -m benchmarks.incidents 100000 --out FOLDER --seed 7    Kanal-readable exports and truth.csv
    python -m benchmarks.incidents.difficulty                      what the texts alone give away

    knowledge, *.toml, texts/   the wordings and habits, as data; written for this set, nobody's reports
    unseen/                     as many kinds in other words: never looked at while rules and models are tuned
    places, words               spots and how they are named; slips and small edits
    world                       what happens, and what only looks like it
    teller                      one report: channel, words, place, photo
    export, tables              as files, as Arrow tables
    measures                    how many pairs the evidence connects at all

Truth is what happened. Not all of it can be told from the reports: a few per cent name no place (column
`place`), and `measures.reachable` says how many pairs what is named connects at all.
"""

from benchmarks.incidents.world import stories as generate

__all__ = ["generate"]
