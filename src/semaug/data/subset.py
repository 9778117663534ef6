"""temp"""
from dataclasses import dataclass, replace
import torch
from semaug.errors import UserError, check_option as expect
from semaug.registry import subsets
from semaug.data.selection import select
from semaug.data.image_set import DataSet
@subsets.register("standard")
@dataclass(frozen=True, kw_only=True)
class Subset:
    """Which images a run sees, chosen in the order of the fields; see ``docs/data.md``.

    Args:
        train_per_class: Train on the first so many images of each class; None is all.
        hold_out: Images of the training part that are kept back, as many of each class, and
            tested on instead of the test part, for choosing options; None is none.
        imbalance: How many times more images the first class keeps than the last, with an
            exponential fall between; None leaves classes as they are.
        train_percent: Percent of the images of each class to train on; None is all.
        corrupt_percent: Percent of the training labels that are drawn anew from all classes.
        subset_seed: Decides which images and labels; apart from the seed of a run, so that
            seeds share their images.
        test_images: Test on so many images, evenly spread over the set; None is all.

    Raises:
        UserError: If a number is out of range.
    """

    train_per_class: int | None = None
    hold_out: int | None = None
    imbalance: float | None = None
    train_percent: float | None = None
    corrupt_percent: float | None = None
    subset_seed: int = 0
    labeled_per_class: int | None = None
    test_images: int | None = None

    def __post_init__(self) -> None:
        for name in ("train_per_class", "hold_out", "imbalance", "test_images"):
            value = getattr(self, name)
            expect(name, value, _none_or_at_least(value, 1), ">= 1 or none")
        if self.corrupt_percent == 0:
            object.__setattr__(self, "corrupt_percent", None)  # for rows 0, 20, 50, 80 of a table
        for name in ("train_percent", "corrupt_percent"):
            value = getattr(self, name)
            expect(name, value, value is None or 0 < value <= 100, "above 0 and <= 100, or none")
        expect("subset_seed", self.subset_seed, self.subset_seed >= 0, ">= 0")

    def chooses_training_images(self) -> bool:
        """Whether a run trains on anything but the official training images and labels."""
        unchanged = type(self)(subset_seed=self.subset_seed, test_images=self.test_images)
        return self != unchanged



    def select(self, data, *, quick=False):
        subset = _at_most(self, data) if quick else self
        data, selection = select(data, train_per_class=subset.train_per_class, hold_out=subset.hold_out, imbalance=subset.imbalance, train_percent=subset.train_percent, corrupt_percent=subset.corrupt_percent, labeled_per_class=subset.labeled_per_class, seed=subset.subset_seed)
        if subset.test_images is not None:
            places = torch.arange(subset.test_images) * len(data.test) // subset.test_images
            data = replace(data, test=data.test.subset(places))
        return data, selection

def _at_most(subset: Subset, data: DataSet) -> Subset:
    """Lower numbers of images to what there is."""
    fewest = int(torch.bincount(data.train.labels, minlength=data.num_classes).min())
    per_class = min(subset.train_per_class or fewest, fewest)
    subset = replace(subset, train_per_class=per_class)
    num_test = len(data.test)
    if subset.hold_out is not None:  # half of each class; of half the classes, if they are tiny
        half = data.num_classes * (per_class // 2) or max(1, data.num_classes // 2)
        num_test = min(subset.hold_out, half)
        subset = replace(subset, hold_out=num_test)
    if subset.test_images is not None:
        subset = replace(subset, test_images=max(1, min(subset.test_images, num_test)))
    return subset




def _none_or_at_least(value: float | None, bound: float) -> bool:
    return value is None or bound <= value < float("inf")
