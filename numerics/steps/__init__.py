"""Compiled steps: a stiff integrator for small flows, as text of loops that LLVM compiles for one size.

``tableau`` and ``explicit_tableau`` hold the coefficients of the two methods (Rodas5P, Tsit5), ``loops`` their steps,
``native`` binds the steps to the code of a flow.

Imports code and the compiler.
"""
