"""Files that the user named: written whole, and said so in one line."""

from __future__ import annotations

from pathlib import Path

from sharpening.storage import store


def write_named(flag: str, name: str, text: str) -> None:
    """Writes the file of an option and says where it is; what goes to a device or a pipe comes alone and last."""
    is_stream = Path(name).exists() and not Path(name).is_file()
    if not is_stream:
        store.write_text_atomically(Path(name), text)
        print(f"{flag}: {name}")
    else:
        store.write_text_atomically(Path(name), text)
