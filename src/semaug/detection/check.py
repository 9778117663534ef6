"""What ``semaug data check`` says of images with objects."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from semaug.data.check import PartReport, Problem, Progress, measure
from semaug.data.image_set import DataSet, FileSet
from semaug.detection.scenes import SceneData, Scenes, image_size

__all__ = ["measure_scenes"]


def measure_scenes(
    data: SceneData, progress: Progress, threads: int | None
) -> tuple[dict[str, PartReport], list[Problem], list[str]]:
    """Decode all images, and count objects.

    Args:
        data: Images with objects.
        progress: Called with the number of images decoded, and of all.
        threads: How many decode; None is one for each core.

    Returns:
        What the parts hold, where ``smallest_class`` and ``largest_class`` count objects; files
        that are damaged, or of another size than annotated; the objects of each class and what is
        not trained on.
    """
    named = {"train": data.train, "test": data.test}
    train, test = (FileSet(x.paths, torch.zeros(len(x)).long(), x.classes) for x in named.values())
    images = DataSet(data.name, train, test, data.mean, data.std)
    parts, problems, _ = measure(images, progress, threads)
    damaged = {one.path for one in problems}
    notes = []
    for name, scenes in named.items():
        counts = torch.bincount(scenes.labels, minlength=data.num_classes).tolist()
        if name in parts:
            least, most = min(counts), max(counts)
            parts[name] = replace(parts[name], smallest_class=least, largest_class=most)
            told = [f"{one} {count:,}" for one, count in zip(data.classes, counts, strict=True)]
            crowds = f", crowds {crowds:,}" if (crowds := int(scenes.is_crowd.sum())) else ""
            notes.append(f"objects of {name}: {', '.join(told)}{crowds}")
        problems += [one for one in _other_sizes(scenes) if one.path not in damaged]
    return parts, problems, [*notes, *data.train.for_training().notes[len(data.train.notes) :]]


def _other_sizes(scenes: Scenes) -> Iterator[Problem]:
    """Name images whose size is not that of the annotations."""
    for path, size in zip(scenes.paths, scenes.sizes, strict=True):
        try:
            found = size if scenes.resized else image_size(path)
        except OSError:  # decoding it has said so
            continue
        if found != size:
            wanted, got = (f"{height} x {width}" for height, width in (size, found))
            message = f"{str(path)!r}: expected {wanted} pixels as annotated, got {got}"
            yield Problem(path, message)
