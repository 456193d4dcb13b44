"""Figures, drawn with Matplotlib: ``plotting`` is the house style, the others one kind of figure each.

Imports numerics for what is drawn; neither reports nor the command line.
"""
