"""The commands: their options, and what each is made of."""
