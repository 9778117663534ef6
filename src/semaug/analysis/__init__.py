"""Measurements of networks and methods; nothing here trains."""

from semaug.analysis.flops import multiply_adds, paper_flops
from semaug.analysis.isda_cost import IsdaCost, isda_multiply_adds, paper_isda_cost

__all__ = ["IsdaCost", "isda_multiply_adds", "multiply_adds", "paper_flops", "paper_isda_cost"]
