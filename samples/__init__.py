"""What samples of any model and tool show: reading, counting, estimating, comparing, and previews of methods.

May import: `theory`. Must not import: `bandits`, `llm`, `figures`, torch. Nothing here writes files.
"""
