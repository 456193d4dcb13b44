"""What every room needs that is no mathematics: processes, files, the cache, progress, and why something ended.

``cores`` and ``helpers`` say how many processes may work and run them, with ``collector`` for how often they look for
garbage; ``store`` keeps derived flows and code on disk; ``scratch`` puts files into place whole, ``read_file`` reads
them within bounds, ``seal`` notices a changed byte; ``progress`` shows bars; ``stop`` and ``reliability`` say why a
computation ended and whether its result can be relied on; ``extras`` and ``muted`` deal with optional libraries;
``remade`` lets generated code travel as what it was made from; ``word_table`` shows tables of words.

The ground floor: it imports theory's errors, and no other room.
"""
