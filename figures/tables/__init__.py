"""What the commands print, as strings from rows. No files, no state.

May import: `figures.drawing` for what both say. Must not import: any other layer.
"""
