"""Configurations: classes by their paths, parsers, and words for what is mistaken in them."""
