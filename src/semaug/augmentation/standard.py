"""temp"""
from dataclasses import dataclass, replace
from typing import Any, Literal
from semaug.errors import UserError, check_option as expect
from semaug.registry import augmentations, subsets
from semaug.augmentation import AutoAugment, ColorJitter, Compose, CropFlip, Cutout, Grayscale, Mix, RandAugment, Augmentation

VIEW_PARTS = {"p": "padding", "g": "grayscale", "c": "jitter", "a": "policy", "o": "cutout"}
@augmentations.register("standard")
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



    @property
    def mixes(self): return self.mixup > 0 or self.cutmix > 0
    def mix(self): return Mix(self.mixup, self.cutmix) if self.mixes else None
    def train_view(self):
        from semaug.data.views import RandomResizedCrop
        return RandomResizedCrop(self.image_size or 224)
    def test_view(self):
        from semaug.data.views import ResizeCenterCrop
        s=self.image_size or 224
        return ResizeCenterCrop(round(s*256/224), s)
    def only(self, letters):
        nothing = Augment(padding=0)
        absent = {name: getattr(nothing, name) for letter, name in VIEW_PARTS.items() if letter not in letters}
        if "padding" in absent: absent["padding_mode"] = nothing.padding_mode
        if "policy" in absent: absent |= {"randaugment_ops": None, "randaugment_magnitude": None}
        return replace(self, **absent)
    def build(self, data):

        parts: list[Augmentation] = []
        if self.padding or self.flip:
            parts.append(CropFlip(self.padding, self.padding_mode, self.flip))
        if self.policy == "randaugment":
            assert self.randaugment_ops is not None
            assert self.randaugment_magnitude is not None
            parts.append(RandAugment(self.randaugment_ops, self.randaugment_magnitude))
        elif self.policy is not None:
            parts.append(AutoAugment(self.policy.removeprefix("autoaugment_")))
        if self.grayscale:
            parts.append(Grayscale(self.grayscale))
        if any(self.jitter):
            parts.append(ColorJitter(*self.jitter))
        if self.cutout:
            # 0 is the mean; on bytes, the one that normalization turns into 0 to the nearest byte.
            mean = tuple(round(255 * value) for value in data.mean)
            parts.append(Cutout(self.cutout, fill=0 if self.whitening else mean))
        return Compose(*parts)

def _none_or_at_least(value: float | None, bound: float) -> bool:
    return value is None or bound <= value < float("inf")
