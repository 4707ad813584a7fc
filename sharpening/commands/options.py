"""The options of a command: one definition for flags, validation and the stored configuration."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints

OPTIONAL_WORD: Any = {"is_word": True}  # `json_schema_extra` of a positional argument that may be left out
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Options(BaseModel):
    """Options of a command; its required fields are positional arguments, the others flags."""

    model_config = ConfigDict(frozen=True, extra="forbid")
