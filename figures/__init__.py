"""Rows to pictures (`drawing`) and to text (`tables`); `style` is their look, `render` their bytes.

May import: matplotlib, numpy. Must not import: any other layer: what is drawn comes as rows.
"""
