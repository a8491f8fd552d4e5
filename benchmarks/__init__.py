"""Programs that measure; each writes what it found into `benchmarks/results/`."""
