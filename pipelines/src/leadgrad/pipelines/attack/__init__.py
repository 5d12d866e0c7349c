"""The predict loop: a victim, an attack and a method, batch by batch, and what is made of it."""
