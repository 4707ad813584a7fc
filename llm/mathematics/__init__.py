"""Mathematics problems, and answers compared by math-verify in bounded workers.

May import: `llm.tasks`. Must not import: torch, other rooms of `llm`.
"""
