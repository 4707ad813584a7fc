"""How training moved the success rates of problems: laws of the shift in log-odds, fitted to counts before and after.

May import: `theory`, `samples.tally`, `samples.intervals`. Must not import: readers, `bandits`, `llm`, `figures`.
"""
