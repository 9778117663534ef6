"""The data sets of images with objects that ``data=`` takes."""

from semaug.detection.camvid_instances import CamVidInstances
from semaug.detection.coco import COCO, COCOJson
from semaug.detection.yolo import Yolo

__all__ = ["COCO", "COCOJson", "CamVidInstances", "Yolo"]
