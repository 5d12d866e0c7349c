"""Images, of which a network names the class."""
