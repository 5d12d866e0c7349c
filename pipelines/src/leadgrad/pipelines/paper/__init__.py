"""The paper's tables, measured again: rows and printed numbers, cells, statistics, pages."""
