"""Files that run without Keras."""
