"""How training images are changed, by the options of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from semaug.augmentation.auto_augment import AutoAugment
from semaug.augmentation.color import ColorJitter, Grayscale, check_jitter
from semaug.augmentation.compose import Compose
from semaug.augmentation.crop_flip import CropFlip
from semaug.augmentation.cutout import Cutout
from semaug.augmentation.mix import Mix
from semaug.augmentation.operator import Augmentation
from semaug.augmentation.rand_augment import RandAugment
from semaug.data.image_set import DataSet, FileSet
from semaug.data.views import RandomResizedCrop, ResizeCenterCrop
from semaug.errors import UserError, check_option
from semaug.registry import augmentations

_IMAGE_SIZE = 224  # of images that lie in files
_TEST_CROP = 224 / 256  # the center crop of the test, over their shorter side

# What a view of its own may have, by the letters of Table 5 of AIT; and what goes with it.
VIEW_PARTS = {"p": "padding", "g": "grayscale", "c": "jitter", "a": "policy", "o": "cutout"}
_OF_POLICY = ("randaugment_ops", "randaugment_magnitude", "fill")
_DETAILS = {"padding": ("padding_mode",), "policy": _OF_POLICY}
_FILLS = {"mean": None, "gray": 128, "black": 0}


@augmentations.register("standard")
@dataclass(frozen=True, kw_only=True)
class Augment:
    """How training images are changed, in the order of the fields; see ``docs/augmentation.md``.

    Args:
        image_size: Height and width after the random resized crop of images that lie in files;
            None is 224. Images in memory are resized to it, the last of all changes; None keeps
            their size.
        test_crop: Side of the center crop of images that lie in files, for the test, over their
            shorter side; None is 0.875.
        padding: Pixels that the random crop may move an image in memory by; 0 is none.
        padding_mode: What lies beyond the border: ``"zero"`` or ``"reflect"``.
        flip: Whether images are mirrored with probability one half.
        policy: ``"autoaugment_cifar10"``, ``"autoaugment_svhn"``, ``"autoaugment_imagenet"``,
            ``"randaugment"`` or None.
        randaugment_ops: Operations on each image, N of RandAugment; None is 2.
        randaugment_magnitude: Their magnitude, M of RandAugment, 0 to 30; None is 9.
        fill: What lies outside of an image that a policy moves: ``"mean"`` color of the data set,
            ``"gray"`` (128) or ``"black"``; None is ``"mean"``.
        grayscale: Probability to lose the colors.
        jitter: Largest change of brightness, contrast, saturation and hue, up to four numbers;
            empty is no jitter.
        cutout: Side of the square hole, in pixels; 0 is none.
        whitening: Whether images are ZCA-whitened instead of normalized by channel, as by Laine
            and Aila; or how: ``"vat"``, ``"contrast"`` or, without ZCA, ``"per_image"``; see
            :func:`semaug.augmentation.zca.fit_whitening`.
        mixup: alpha of Mixup; 0 is none.
        cutmix: alpha of CutMix; 0 is none. With both, each image takes one of them.

    Raises:
        UserError: If a number is out of range, or an option has no effect.
    """

    image_size: int | None = None
    test_crop: float | None = None
    padding: int = 4
    padding_mode: Literal["zero", "reflect"] = "zero"
    flip: bool = True
    policy: (
        Literal["autoaugment_cifar10", "autoaugment_svhn", "autoaugment_imagenet", "randaugment"]
        | None
    ) = None
    randaugment_ops: int | None = None
    randaugment_magnitude: int | None = None
    fill: Literal["mean", "gray", "black"] | None = None
    grayscale: float = 0.0
    jitter: tuple[float, ...] = ()
    cutout: int = 0
    whitening: bool | Literal["vat", "contrast", "per_image"] = False
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        size = self.image_size
        check_option("image_size", size, size is None or size >= 1, ">= 1 or none")
        crop = self.test_crop
        check_option("test_crop", crop, crop is None or 0 < crop <= 1, "above 0 and <= 1, or none")
        for name in ("padding", "cutout", "mixup", "cutmix"):
            value = getattr(self, name)
            check_option(name, value, 0 <= value < float("inf"), ">= 0")
        if self.padding_mode != "zero" and self.padding == 0:
            raise UserError("recipe: `padding_mode` has no effect with padding=0")
        check_option("grayscale", self.grayscale, 0 <= self.grayscale <= 1, "from 0 to 1")
        check_jitter(self.jitter)
        for name in ("policy", "grayscale", "jitter") if self.whitening else ():
            if getattr(self, name):
                raise UserError(
                    f"recipe: expected no `{name}` with `whitening`: it changes colors, and "
                    "whitened images have none"
                )
        self._check_policy()

    def _check_policy(self) -> None:
        if self.policy is not None:
            fill = "mean" if self.fill is None else self.fill
            check_option("fill", fill, fill in _FILLS, f"one of {', '.join(_FILLS)}")
            object.__setattr__(self, "fill", fill)  # so that the run folder states it
        elif self.fill is not None:
            raise UserError("recipe: `fill` has no effect without `policy`")
        for name, default, wanted in (
            ("randaugment_ops", 2, range(1, 15)),
            ("randaugment_magnitude", 9, range(31)),
        ):
            value = getattr(self, name)
            if self.policy == "randaugment":
                value = default if value is None else value
                check_option(name, value, value in wanted, f"from {wanted[0]} to {wanted[-1]}")
                object.__setattr__(self, name, value)
            elif value is not None:
                raise UserError(f"recipe: `{name}` has no effect without policy=randaugment")

    def changed(self, **options: Any) -> "Augment":
        """Return it with options replaced; another policy drops those of the old one."""
        if options.get("policy", self.policy) != self.policy:
            options = {**dict.fromkeys(_OF_POLICY), **options}
        return replace(self, **options)

    @staticmethod
    def earlier(plain: Mapping[str, Any]) -> Mapping[str, Any]:
        """Complete plain data from before there was ``fill``, when policies filled with black."""
        return {"fill": "black", **plain} if plain.get("policy") else plain

    def build(self, data: DataSet) -> Augmentation:
        """Return what happens to images on the device, in the order of the fields.

        Raises:
            UserError: If an option has no meaning for these images.
        """
        self._check_fit(data)
        crop = CropFlip(self.padding, self.padding_mode, self.flip)
        mean = 0 if self.whitening else data.mean_color
        parts = [
            crop if self.padding or self.flip else None,
            self._build_policy(mean) if self.policy else None,
            Grayscale(self.grayscale) if self.grayscale else None,
            ColorJitter(*self.jitter) if any(self.jitter) else None,
            Cutout(self.cutout, mean) if self.cutout else None,
        ]
        return Compose(*filter(None, parts))

    def _build_policy(self, mean: int | tuple[int, ...]) -> Augmentation:
        color = _FILLS[str(self.fill)]
        fill = mean if color is None else color
        if self.randaugment_ops is None or self.randaugment_magnitude is None:
            return AutoAugment(str(self.policy).removeprefix("autoaugment_"), fill=fill)
        return RandAugment(self.randaugment_ops, self.randaugment_magnitude, fill=fill)

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others of the batch."""
        return self.mixup > 0 or self.cutmix > 0

    def mix(self) -> Mix | None:
        """Return what mixes images with others of the batch, None if nothing does."""
        return Mix(self.mixup, self.cutmix) if self.mixes else None

    def train_view(self, data: DataSet | None = None) -> RandomResizedCrop:
        """Return how images that lie in files are cropped to train on, where they are decoded."""
        return RandomResizedCrop(self.image_size or _IMAGE_SIZE)

    def test_view(self) -> ResizeCenterCrop:
        """Return how images that lie in files are cropped to test on."""
        size = self.image_size or _IMAGE_SIZE
        return ResizeCenterCrop(round(size / (self.test_crop or _TEST_CROP)), size)

    def only(self, letters: str) -> "Augment":
        """Keep what a view of its own has, by the letters of :data:`VIEW_PARTS`; ``"h"`` is none.

        All other options stay: they are not of a view alone.

        Raises:
            UserError: If a letter names what there is none of.
        """
        for letter, name in VIEW_PARTS.items():
            if letter in letters and not getattr(self, name):
                raise UserError(
                    f"recipe: `view_augments` has {'r' + letters!r}, but there is no `{name}` "
                    "to have"
                )
        absent = [name for letter, name in VIEW_PARTS.items() if letter not in letters]
        nothing = vars(Augment(padding=0))
        names = [x for name in absent for x in (name, *_DETAILS.get(name, ()))]
        return replace(self, **{name: nothing[name] for name in names})

    def _check_fit(self, data: DataSet) -> None:
        """Refuse what has no meaning for images in memory, for those in files, or for masks."""
        in_files, name = isinstance(data.train, FileSet), data.name
        for is_wrong, reason in (
            (
                in_files and self.padding > 0,
                f"images of data={name} lie in files and get a random resized crop, "
                f"so `padding` has no meaning for them, got {self.padding}; add padding=0",
            ),
            (
                not in_files and self.test_crop is not None,
                f"`test_crop` has no effect, for images of data={name} are whole",
            ),
            (
                in_files and data.has_masks,
                f"images of data={name} lie in files and have masks; add augment=scale_crop size=N",
            ),
            (
                in_files and self.whitening,
                f"expected no `whitening` of images that lie in files, as in data={name}",
            ),
            (
                data.has_masks and not in_files and self.image_size is not None,
                f"expected no `image_size` for images with masks, as in data={name}",
            ),
            (
                data.has_masks and self.mixes,
                f"expected no `mixup` and no `cutmix` of images with masks, as in data={name}",
            ),
        ):
            if is_wrong:
                raise UserError(f"recipe: {reason}")
