"""Losses and training methods that make image models generalize better."""

__version__ = "0.1.0"
