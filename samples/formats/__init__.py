"""The sample files of other tools: what each writes, and which fields say what.

May import: `samples.tally`. Must not import: anything else of this project.
"""
