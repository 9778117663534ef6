"""What semantic augmentation does in a trained network, as numbers and pictures.

- :func:`find_directions`: what the directions of a class mean, by the training images furthest
  along them.
- :func:`measure_tightness`: how far the bound of ISDA lies above the loss that it bounds, over the
  training.
- :func:`map_features`: how far features of classes lie apart, as numbers and by t-SNE.
- :func:`visualize`: augmented features as images, by :class:`ReverseMapping` or a decoder.

Source: Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, Figs. 3, 4, 6 to 9 and 12 to 14
"""

from semaug.insight.decoder import Decoder, DecoderInverter, DecoderTraining, train_decoder
from semaug.insight.directions import ClassDirections, Direction, find_directions
from semaug.insight.features import Statistics, images_named, statistics_of
from semaug.insight.maps import FeatureMap, map_features
from semaug.insight.reverse import Inverter, ReverseMapping, Search
from semaug.insight.separation import Separation, measure_separation
from semaug.insight.shown import Visualization
from semaug.insight.tightness import Moment, Tightness, measure_tightness
from semaug.insight.visualization import visualize

__all__ = [
    "ClassDirections",
    "Decoder",
    "DecoderInverter",
    "DecoderTraining",
    "Direction",
    "FeatureMap",
    "Inverter",
    "Moment",
    "ReverseMapping",
    "Search",
    "Separation",
    "Statistics",
    "Tightness",
    "Visualization",
    "find_directions",
    "images_named",
    "map_features",
    "measure_separation",
    "measure_tightness",
    "statistics_of",
    "train_decoder",
    "visualize",
]
