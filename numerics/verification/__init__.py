"""Is it true?  Verdicts on every statement, their tables, and certificates that can be checked again.

``verify`` carries out the checks (`headflow.numerics.checks`) and makes a ``verdict`` of each, with ``verdict_words``
and ``verdict_table``; ``certificate_file`` writes them down, ``recheck`` with ``certificate_changes`` does them again.

The top floor of numerics: it may import all of it.
"""
