"""The sampled layer: the methods of `theory` on finite answer sets, with groups drawn, not integrated out."""
