"""``leadgrad demo``."""
