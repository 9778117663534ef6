"""Networks in and out: pretrained weights of any framework, and what a run has trained."""

from semaug.export.backbone import BackboneReport, load_backbone
from semaug.export.write import export_run

__all__ = ["BackboneReport", "export_run", "load_backbone"]
