"""The numbers that a user gives: problems, starts, and the files that hold them.

``problem`` and ``covariates`` are the two kinds of problems, ``initial`` the starts, ``problem_file`` their TOML;
``exact``, ``kinds`` and ``labelled`` read numbers, arguments and labelled arrays, and refuse others in one sentence.

Imports the runtime, and theory's errors and choices.
"""
