"""Programs that measure; each writes its results to `benchmarks/results/`."""
