"""The verbs, one module each: what it adds to the grammar (``configure``), and what it does (``run``)."""
