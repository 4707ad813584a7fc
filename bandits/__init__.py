"""The tabular simulator, and the experiments that hold theory against it.

May import: `theory`, `samples`. Must not import: `llm`, `figures`, torch. Nothing here writes files.
"""
