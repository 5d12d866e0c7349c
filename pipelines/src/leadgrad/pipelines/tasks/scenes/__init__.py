"""Scenes, of whose points a network names the classes."""
