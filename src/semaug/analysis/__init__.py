"""Measurements of networks and methods; nothing here trains."""

from semaug.analysis.flops import multiply_adds, paper_flops

__all__ = ["multiply_adds", "paper_flops"]
