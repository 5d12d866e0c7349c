"""Decisions: gates, choices and voxels; what a gradient sees of them."""
