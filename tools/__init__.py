"""Programs that write pages and pictures from results; they measure nothing themselves."""
