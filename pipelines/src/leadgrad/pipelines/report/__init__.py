"""What pages and terminals show of any run."""
