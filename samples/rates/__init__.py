"""How training moved the success rates of problems: laws of the shift in log-odds, fitted to counts before and after.

May import: `theory`, `samples.tally`, `samples.lines`, `samples.comparison`. Must not import: `samples.formats`,
`bandits`, `llm`, `figures`. Nothing here writes files.
"""
