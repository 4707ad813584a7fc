"""The HTML report of a result store: sections from rows, every number with the key of the rows that it comes from.

May import: jinja2, latex2mathml, the other rooms of figures. Must not import: any other layer.
"""
