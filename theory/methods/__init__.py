"""All that is a method: the table, the functions behind it, and the entrances through which every layer calls them.

Begin with `table` (what there is) and `calls` (find one and call it). May import: `theory.shaping`. Must not import:
other rooms of `theory`; they import this one.
"""
