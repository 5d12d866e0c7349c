"""What is watched while a victim is trained."""
