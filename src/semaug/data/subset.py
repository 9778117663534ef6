"""Which images of a data set a run sees."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from semaug.data.image_set import DataSet, FileSet
from semaug.data.near_duplicates import NearDuplicates, find_near_duplicates
from semaug.data.selection import Selection, select
from semaug.errors import UserError, as_recipe_error, check_option
from semaug.registry import subsets


@subsets.register("standard")
@dataclass(frozen=True, kw_only=True)
class Subset:
    """Which images a run sees, chosen in the order of the fields; see ``docs/data.md``.

    Args:
        train_per_class: Number of training images of each class, in official order; None is all.
        hold_out: Images of the training part that are kept back, as many of each class, and
            tested on instead of the test part, for choosing options; None is none.
        folds: Parts for cross-validation, in equal shares of every class: the run with seed s tests
            on part s modulo ``folds`` instead of the test part, and trains on the others.
        near_duplicates: ``"apart"`` deals near duplicates among images in files out to the folds,
            or holds them out, as any others; None keeps them together. See ``docs/finetuning.md``.
        imbalance: How many times more images the first class keeps than the last, with an
            exponential fall between; None leaves classes as they are.
        train_percent: Percent of the images of each class to train on; None is all.
        labeled_per_class: Images of each class that keep their label, drawn at random; all images
            chosen so far become unlabeled ones beside them. None keeps all labels.
        unlabeled_includes_labeled: Whether the unlabeled images are all of them, those that keep
            their label too, or only those that lose it.
        hold_out_labeled: Whether ``hold_out`` keeps back some of the labeled images, which leave
            the unlabeled ones too, and not images with labels beside them.
        corrupt_percent: Percent of the training labels that are drawn anew from all classes.
        subset_seed: Decides which images and labels; apart from the seed of a run, so that
            seeds share their images. ``"run"`` is the seed of the run.
        test_images: Number of test images, evenly spread over the set; None is all. 0 is none: the
            run trains on all images that are chosen, and is not tested.

    Raises:
        UserError: If a number is out of range.
    """

    train_per_class: int | None = None
    hold_out: int | None = None
    folds: int | None = None
    near_duplicates: Literal["apart"] | None = None
    imbalance: float | None = None
    train_percent: float | None = None
    labeled_per_class: int | None = None
    unlabeled_includes_labeled: bool = True
    hold_out_labeled: bool = False
    corrupt_percent: float | None = None
    subset_seed: int | Literal["run"] = 0
    test_images: int | None = None

    def __post_init__(self) -> None:
        for name in ("train_per_class", "hold_out", "labeled_per_class", "imbalance"):
            value = getattr(self, name)
            inside = value is None or 1 <= value < float("inf")
            check_option(name, value, inside, ">= 1 or none")
        if self.corrupt_percent == 0:
            object.__setattr__(self, "corrupt_percent", None)  # for rows 0, 20, 50, 80 of a table
        for name in ("train_percent", "corrupt_percent"):
            value = getattr(self, name)
            inside = value is None or 0 < value <= 100
            check_option(name, value, inside, "above 0 and <= 100, or none")
        seed, folds = self.subset_seed, self.folds
        check_option("subset_seed", seed, seed == "run" or int(seed) >= 0, '>= 0 or "run"')
        check_option("folds", folds, folds is None or folds >= 2, ">= 2 or none")
        if self.hold_out is not None:
            check_option("folds", folds, folds is None, "or `hold_out`")
        wanted, least = self.test_images, 0 if self.hold_out is folds is None else 1
        which = " where images are held out" if least else ""
        inside = wanted is None or wanted >= least
        check_option("test_images", wanted, inside, f">= {least} or none{which}")
        defaults = {"unlabeled_includes_labeled": True, "hold_out_labeled": False}
        for name, default in defaults.items() if self.labeled_per_class is None else ():
            if getattr(self, name) != default:
                raise UserError(f"recipe: `{name}` has no effect without `labeled_per_class`")

    @property
    def follows_seed(self) -> bool:
        """Whether runs with other seeds see other images."""
        return self.folds is not None or self.subset_seed == "run"

    def chooses_training_images(self) -> bool:
        """Whether a run trains on anything but the official training images and labels."""
        return self != Subset(subset_seed=self.subset_seed, test_images=self.test_images)

    @property
    def keeps_duplicates(self) -> bool:
        """Whether near duplicates stay in one fold, or are held out together."""
        return not (self.folds is self.hold_out is None) and self.near_duplicates is None

    def select(
        self, data: DataSet, *, quick: bool = False, seed: int = 0
    ) -> tuple[DataSet, Selection]:
        """Choose among the images of a data set.

        Args:
            data: The whole set.
            seed: Of the run.
            quick: Whether numbers of images are limits only, and a smaller set is taken as it is.

        Returns:
            The images, with a note on near duplicates that stay together, and how those to train on
            were chosen.

        Raises:
            UserError: If there are fewer images than asked for, none to test on, or none of a class
                to train on.
        """
        with as_recipe_error():
            own = self._limit_to(data, seed) if quick else self
            choices = own._selection_options(seed)
            if isinstance(data.train, FileSet) and self.keeps_duplicates and not quick:
                found = find_near_duplicates([data.train])
                choices |= {"groups": found.groups} if len(found.pairs) else {}
                parts = "in one fold" if own.folds else "together"
                data = replace(data, notes=(*data.notes, *_describe_near_duplicates(found, parts)))
            whole, (data, selection) = data, select(data, **choices)
        if len(selection.held_out) and not (quick or whole.has_masks):
            held_out = whole.train.labels.cpu()[selection.held_out].tolist()
            if lost := {*held_out} - {*selection.official_labels.tolist()}:
                raise UserError(
                    f"recipe: expected images of every class of data={data.name} to train on, "
                    f"all of class {selection.classes[min(lost)]!r} are held out to test on"
                    f"{'; near duplicates stay together' if 'groups' in choices else ''}"
                )
        num_test, wanted = len(data.test), own.test_images
        if num_test == 0 and wanted != 0:
            raise UserError(
                f"recipe: data={data.name} has no images to test on; cross-validate with "
                "semaug compare and --folds 5, keep some of the training images back with "
                "hold_out=N, or train on all of them without a test with test_images=0"
            )
        if wanted:
            check_option("test_images", wanted, wanted <= num_test, f"<= {num_test}")
            # Evenly spread, for many sets are sorted by class.
            places = torch.arange(wanted) * num_test // wanted
            data = replace(data, test=data.test.subset(places))
        return data, selection

    def _selection_options(self, seed: int) -> dict[str, Any]:
        others = "near_duplicates", "subset_seed", "test_images"
        own = {k: v for k, v in vars(self).items() if k not in others}
        own_seed = seed if self.subset_seed == "run" else self.subset_seed
        test_on = "none" if self.test_images == 0 else None
        return {**own, "fold": seed % (self.folds or 1), "seed": own_seed, "test_on": test_on}

    def _limit_to(self, data: DataSet, seed: int) -> "Subset":
        """Limit numbers of images to the size of the set; with masks, in all classes together."""
        num_images, num_classes, num_test = len(data.train), data.num_classes, len(data.test)
        if data.has_masks:
            num_kept = min(num_images, num_classes * (self.train_per_class or num_images))
            percent = min(self.train_percent or 100, 100 * num_kept / num_images)
            half = max(1, num_kept // 2)
            own = replace(self, train_per_class=None, train_percent=percent)
        else:
            fewest = int(torch.bincount(data.train.labels, minlength=num_classes).min())
            per_class = min(self.train_per_class or fewest, fewest)
            # Half of each class; of half the classes, if they are tiny.
            half = num_classes * (per_class // 2) or max(1, num_classes // 2)
            own = replace(self, train_per_class=per_class)
            num_images = num_classes * per_class
        if own.folds is not None:
            folds = max(2, min(own.folds, num_images))
            own, num_test = replace(own, folds=folds), num_images // folds
        if own.labeled_per_class is not None:
            every = replace(
                own,
                labeled_per_class=None,
                unlabeled_includes_labeled=True,
                hold_out_labeled=False,
                hold_out=None if own.hold_out_labeled else own.hold_out and min(own.hold_out, half),
            )
            _, left = select(data, **every._selection_options(seed))
            fewest = int(torch.bincount(left.official_labels, minlength=num_classes).min())
            labeled = min(own.labeled_per_class, fewest)
            own = replace(own, labeled_per_class=labeled)
            if own.hold_out_labeled:
                half = num_classes * (labeled // 2) or max(1, num_classes // 2)
        if own.hold_out is not None:
            num_test = min(own.hold_out, half)
            own = replace(own, hold_out=num_test)
        if own.test_images:
            own = replace(own, test_images=max(1, min(own.test_images, num_test)))
        return own


def _describe_near_duplicates(found: NearDuplicates, parts: str) -> list[str]:
    """Describe near duplicates, and say where they stay."""
    lines = found.describe()
    if len(found.pairs):
        largest = int(torch.bincount(found.groups).max())
        lines.append(
            f"they stay {parts}, up to {largest} images, for the error would be too low; "
            "near_duplicates=apart parts them"
        )
    return lines
