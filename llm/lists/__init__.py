"""Questions with many correct answers that can be listed and that a pretrained model knows by itself.

May import: `llm.tasks`. Must not import: anything else of the tree.
"""
