"""What an advantage function does, whoever wrote it: `diagnose` gives a verdict a property.

May import: every room of `theory` but claims. Must not import: `theory.claims`, `theory.rows`.
"""
