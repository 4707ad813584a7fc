"""Other people's simulations and printed numbers, run again.

May import: `theory`, `bandits`. Must not import: `llm`, `figures`.
"""
