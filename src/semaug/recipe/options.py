"""Groups of options of a recipe: which loss, which images, and how they are augmented."""

from dataclasses import dataclass
from typing import Any, Literal

from semaug._torch.names import unknown_name
from semaug.errors import UserError

__all__ = ["LOSSES", "Augment", "Loss", "Subset", "expect", "options_of_loss"]

# Names of losses, each with one line for a person who chooses.
LOSSES = {
    "cross_entropy": "the baseline: softmax cross-entropy",
    "isda": "cross-entropy after infinite augmentation of the features; strength, ramp, "
    "covariance, memory",
    "explicit": "the same with num_samples draws of features instead of infinitely many",
}

# Losses that augment features, and the options that are theirs alone.
_AUGMENT_FEATURES = ("isda", "explicit")
_OPTIONS = ("strength", "ramp", "covariance", "memory")


def options_of_loss(name: str) -> tuple[str, ...]:
    """Return the options that a loss has; none of an unknown one."""
    if name not in _AUGMENT_FEATURES:
        return ()
    return (*_OPTIONS, "num_samples") if name == "explicit" else _OPTIONS


def expect(name: str, value: Any, holds: bool, wanted: str) -> None:
    """Check a value of a recipe.

    Raises:
        UserError: If it does not hold.
    """
    if not holds:
        raise UserError(f"recipe: expected `{name}` {wanted}, got {value}")


@dataclass(frozen=True)
class Loss:
    """Which loss, with its options. An option that a loss does not have stays None.

    Args:
        name: Name of the loss, see ``semaug list losses``.
        strength: Of ISDA and explicit augmentation, lambda_0 in the papers.
        ramp: Of both, how the strength grows: ``"linear"`` over all steps, or ``"constant"``.
        covariance: Of both, a kind of :class:`semaug.ClassCovariance`.
        memory: Of both, which samples the statistics remember: None, all; a number, see
            :class:`semaug.ClassCovariance`; ``"epoch"``, those of the epoch before.
        num_samples: Of explicit augmentation, how many features are drawn for each image, M in
            the papers.

    Raises:
        UserError: If the name is unknown, an option is missing, out of range or without effect.
    """

    name: str = "cross_entropy"
    strength: float | None = None
    ramp: Literal["linear", "constant"] | None = None
    covariance: Literal["full", "diagonal", "shared", "identity", "low_rank", "learned"] | None = (
        None
    )
    memory: float | Literal["epoch"] | None = None
    num_samples: int | None = None

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise UserError(unknown_name("recipe", "loss", self.name, LOSSES))
        if self.name not in _AUGMENT_FEATURES:
            self._refuse(_OPTIONS, "take a recipe whose name ends in _isda, or add loss=isda")
        if self.name != "explicit":
            self._refuse(("num_samples",), "add loss=explicit and a strength")
        if self.name in _AUGMENT_FEATURES:
            self._check_augmentation()

    def _refuse(self, options: tuple[str, ...], advice: str) -> None:
        for option in options:
            if getattr(self, option) is not None:
                raise UserError(
                    f"recipe: `{option}` has no effect on the loss {self.name!r}; {advice}"
                )

    def _check_augmentation(self) -> None:
        if self.strength is None or not 0 <= self.strength < float("inf"):
            called = "ISDA" if self.name == "isda" else "explicit augmentation"
            raise UserError(f"recipe: expected `strength` >= 0 for {called}, got {self.strength}")
        if self.name == "explicit" and (self.num_samples is None or self.num_samples < 1):
            raise UserError(
                "recipe: expected `num_samples` >= 1 for explicit augmentation, "
                f"got {self.num_samples}"
            )
        # Absent options take the papers' choice, so that the run folder states it.
        object.__setattr__(self, "ramp", self.ramp or "linear")
        object.__setattr__(self, "covariance", self.covariance or "full")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """How training images are changed, in the order of the fields; see ``docs/augmentation.md``.

    Args:
        image_size: Height and width after the random resized crop of images that lie in files;
            None is 224. Images in memory keep their size.
        padding: Pixels that the random crop may move an image in memory by; 0 is none.
        padding_mode: What lies beyond the border: ``"zero"`` or ``"reflect"``.
        flip: Whether images are mirrored with probability one half.
        policy: ``"autoaugment_cifar10"``, ``"autoaugment_svhn"``, ``"autoaugment_imagenet"``,
            ``"randaugment"`` or None.
        randaugment_ops: Operations on each image, N of RandAugment; None is 2.
        randaugment_magnitude: Their magnitude, M of RandAugment, 0 to 30; None is 9.
        grayscale: Probability to lose the colors.
        jitter: Largest change of brightness, contrast, saturation and hue, up to four numbers;
            none of them is no jitter.
        cutout: Side of the square hole, in pixels; 0 is none.
        whitening: Whether images are ZCA-whitened instead of normalized by channel.
        mixup: alpha of Mixup; 0 is none.
        cutmix: alpha of CutMix; 0 is none. With both, each image takes one of them.

    Raises:
        UserError: If a number is out of range, or an option has no effect.
    """

    image_size: int | None = None
    padding: int = 4
    padding_mode: Literal["zero", "reflect"] = "zero"
    flip: bool = True
    policy: (
        Literal["autoaugment_cifar10", "autoaugment_svhn", "autoaugment_imagenet", "randaugment"]
        | None
    ) = None
    randaugment_ops: int | None = None
    randaugment_magnitude: int | None = None
    grayscale: float = 0.0
    jitter: tuple[float, ...] = ()
    cutout: int = 0
    whitening: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        expect("image_size", self.image_size, _none_or_at_least(self.image_size, 1), ">= 1 or none")
        expect("padding", self.padding, self.padding >= 0, ">= 0")
        if self.padding_mode != "zero" and self.padding == 0:
            raise UserError("recipe: `padding_mode` has no effect with padding=0")
        expect("grayscale", self.grayscale, 0 <= self.grayscale <= 1, "from 0 to 1")
        expect("cutout", self.cutout, self.cutout >= 0, ">= 0")
        for name in ("mixup", "cutmix"):
            value = getattr(self, name)
            expect(name, value, 0 <= value < float("inf"), ">= 0")
        expect("jitter", self.jitter, len(self.jitter) <= 4, "with at most 4 numbers")
        largest = (float("inf"),) * 3 + (0.5,)
        inside = all(
            0 <= value <= limit for value, limit in zip(self.jitter, largest, strict=False)
        )
        expect("jitter", self.jitter, inside, ">= 0, and hue <= 0.5")
        self._check_randaugment()

    def _check_randaugment(self) -> None:
        for name, default, wanted in (
            ("randaugment_ops", 2, range(1, 15)),
            ("randaugment_magnitude", 9, range(31)),
        ):
            value = getattr(self, name)
            if self.policy != "randaugment":
                if value is not None:
                    raise UserError(f"recipe: `{name}` has no effect without policy=randaugment")
                continue
            value = default if value is None else value
            expect(name, value, value in wanted, f"from {wanted[0]} to {wanted[-1]}")
            object.__setattr__(self, name, value)  # so that the run folder states it


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


def _none_or_at_least(value: float | None, bound: float) -> bool:
    return value is None or bound <= value < float("inf")
