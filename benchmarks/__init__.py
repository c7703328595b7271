"""Speed of the sweeps against plain loops, as ratios within one run. ``python -m benchmarks [FIGURE] [--json]``."""
