"""The recipe: `aezoo.train`, and the folder of a run."""
