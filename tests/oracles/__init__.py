"""Independent oracles for the tests; they never import headflow."""
