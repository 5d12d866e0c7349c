"""Weights: read, written, grown, and prepared for attack."""
