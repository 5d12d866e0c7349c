"""A run's files: its directory, published victims, the code and classes that it was made of."""
