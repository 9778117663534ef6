"""The network back: what a run has trained, for other programs and for further training."""

from semaug.export.write import export_run

__all__ = ["export_run"]
