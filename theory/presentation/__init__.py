"""How theory is shown: the topics of ``derive``, proofs in order, and the conventions of other papers.

``catalogue``, ``proofs``, ``conventions``.  The top floor of theory.
"""
