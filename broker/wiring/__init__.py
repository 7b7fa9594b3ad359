"""Where the parts are joined and the clocks are read, and nowhere else."""
