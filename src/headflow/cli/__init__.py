"""The command ``headflow``: ``grammar`` reads words, ``dispatch`` runs a verb, ``verbs`` has one module for each.

``output`` writes to standard output, ``folders`` replaces folders whole, ``problem_source`` finds the problem that is
meant, ``signals`` ends helpers.  The top floor: it may import everything, and nothing imports it.
"""

from .dispatch import main as main
