"""What comes in, and what it must be."""
