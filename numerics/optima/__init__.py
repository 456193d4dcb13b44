"""Optima as numbers: searches, assignments, the limit of an allocation, and the Bayes risk.

``optimum`` searches globally, ``single_head`` finds the best loss of one head, ``assignment`` the best heads for
the tasks, ``reference`` the limit of an allocation that a flow has reached, ``bayes`` an interval that holds the
Bayes risk.

Imports generated code, certificates and problems.
"""
