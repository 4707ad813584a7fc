"""What each command reads, prints and writes: one module a command.

May import: every layer and `storage`. Nothing but `sharpening.cli` and `sharpening/__init__.py` imports this room.
"""
