"""How steps run; the one place that knows Keras's backends."""
