"""The network back: what a run has trained, for other programs and for further training."""
