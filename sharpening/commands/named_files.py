"""Files that the user named: written whole, and said so in one line."""

from __future__ import annotations

from pathlib import Path

from sharpening.storage import store


def write_named(flag: str, name: str, text: str) -> None:
    """Writes the file of an option and says where it is; a device or a pipe gets the text and nothing after it."""
    path = Path(name)
    is_stream = path.is_relative_to("/dev") or (path.exists() and not path.is_file())
    store.write_text_atomically(path, text)
    if not is_stream:
        print(f"{flag + ':':<7} {name}")
