"""Several processes of one command: how they start, wait for each other, and end."""
