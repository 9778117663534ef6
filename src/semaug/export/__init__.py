"""Networks in the layouts of other frameworks."""

from semaug.export.backbone import BackboneReport, load_backbone

__all__ = ["BackboneReport", "load_backbone"]
