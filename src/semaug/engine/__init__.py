"""The training loop and what it needs.

Import the parts from their modules: descriptions (``recipe``, ``run``) need no torch, so
that the command line starts fast; ``loop`` needs everything.
"""
