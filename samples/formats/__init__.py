"""The sample files of other tools: a module for each, with what the tool writes, and the table that tells them apart.

May import: `samples.tally`, `samples.lines`, `theory.estimators`. Must not import: anything else of this project.
"""
