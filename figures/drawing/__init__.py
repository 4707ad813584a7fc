"""One function a figure, from rows to a Matplotlib figure. No files, no state.

May import: `figures.style`. Must not import: `figures.tables` or any other layer.
"""
