"""The phases of training: warm-up, cascade, convergence, escape, and the valleys of merged flows."""
