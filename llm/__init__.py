"""The language-model layer: the methods of `theory` on completions of a model, marked by a verifier."""
