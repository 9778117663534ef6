"""What semantic augmentation does in a trained network, as numbers and pictures.

- :func:`find_directions`: what the directions of a class mean, by the training images furthest
  along them.
- :func:`measure_tightness`: how far the bound of ISDA lies above the loss that it bounds, over the
  training.
- :func:`map_features`: how far features of classes lie apart, as numbers and by t-SNE.

Source: Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, Figs. 3, 4, 8 and 9
"""

from semaug.insight.directions import ClassDirections, Direction, find_directions
from semaug.insight.features import Statistics, images_named, statistics_of
from semaug.insight.maps import FeatureMap, map_features
from semaug.insight.separation import Separation, measure_separation
from semaug.insight.tightness import Moment, Tightness, measure_tightness

__all__ = [
    "ClassDirections",
    "Direction",
    "FeatureMap",
    "Moment",
    "Separation",
    "Statistics",
    "Tightness",
    "find_directions",
    "images_named",
    "map_features",
    "measure_separation",
    "measure_tightness",
    "statistics_of",
]
