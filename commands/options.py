"""The options of a command: one definition for flags, validation and the stored configuration."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints

NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Options(BaseModel):
    """Options of a command; the first required field is its positional argument."""

    model_config = ConfigDict(frozen=True, extra="forbid")
