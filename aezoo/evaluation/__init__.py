"""Report cards: every model measured in the same way."""
