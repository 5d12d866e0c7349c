"""Composes victims, attacks and data: the command line, the predict loop, its reports."""
