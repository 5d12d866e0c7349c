"""SemanticKITTI's classes: names, numbers in its files, colours."""

from collections.abc import Mapping

# Behley et al., "SemanticKITTI: A dataset for semantic scene understanding of LiDAR sequences",
# 2019, single-scan benchmark. No label is class 0; networks have an output for it all the same.
CLASS_NAMES = (
    "unlabelled", "car", "bicycle", "motorcycle", "truck", "other-vehicle", "person", "bicyclist",
    "motorcyclist", "road", "parking", "sidewalk", "other-ground", "building", "fence",
    "vegetation", "trunk", "terrain", "pole", "traffic-sign",
)  # fmt: skip

# Class of each number in the files; 0 is ignored. The numbers from 252 on are moving things.
LEARNING_MAP: Mapping[int, int] = {
    0: 0, 1: 0, 52: 0, 99: 0,
    10: 1, 252: 1, 11: 2, 15: 3, 18: 4, 258: 4,
    13: 5, 16: 5, 20: 5, 256: 5, 257: 5, 259: 5,
    30: 6, 254: 6, 31: 7, 253: 7, 32: 8, 255: 8,
    40: 9, 60: 9, 44: 10, 48: 11, 49: 12, 50: 13, 51: 14,
    70: 15, 71: 16, 72: 17, 80: 18, 81: 19,
}  # fmt: skip

# The colours that the benchmark's own tools show, as RGB; its configuration lists blue first.
PALETTE = (
    (0, 0, 0), (100, 150, 245), (100, 230, 245), (30, 60, 150), (80, 30, 180),
    (0, 0, 255), (255, 30, 30), (255, 40, 200), (150, 30, 90), (255, 0, 255),
    (255, 150, 255), (75, 0, 75), (175, 0, 75), (255, 200, 0), (255, 120, 50),
    (0, 175, 0), (135, 60, 0), (150, 240, 80), (255, 240, 150), (255, 0, 0),
)  # fmt: skip

LABELS = {name: number for number, name in enumerate(CLASS_NAMES)}
