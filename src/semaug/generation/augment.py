"""Images of a generator to learn from: in each batch of a method, or as the whole training set.

``method=generated`` replaces a share of each batch, 21 of 128, by generated images. An epoch has as
many steps as without them, 391 of 50,000 images: it shows 41,837 real images, and real ones follow
each other epoch after epoch of their own. All images pass through the network together and weigh
the same in the loss. Statistics of a loss, such as the covariances of ISDA, see the real ones
alone.

``data=generated`` has generated images in place of the training images of a set, and its test
images: 100 minus the test error is the classification accuracy score of Ravuri and Vinyals,
NeurIPS 2019, https://arxiv.org/abs/1905.10887.

A pool of generated images is written once, in ``generated`` beside the runs, and found by the
digest of its generator. ``images.json`` of a run holds the SHA-256 of the pool that it saw.

Source: Wang et al., T-PAMI 2021, https://arxiv.org/abs/2007.10538, Appendix C: one image of six is
made; the source leaves open how that changes the length of an epoch
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from semaug.data import DataSet, DataSource, ImageSet, Selection, describe_selection
from semaug.errors import UserError, check_option
from semaug.losses import takes_positions
from semaug.methods.batch import Batch, Samples, StepOutput, Stream, Term
from semaug.methods.supervised import Supervised
from semaug.registry import choice, data_sets, methods

__all__ = ["Generated", "GeneratedMethod", "WithGenerated", "make_pool"]

_QUICK = 200  # images of the pool of a smoke test

# N real and M generated images, C classes.


class WithGenerated(Supervised):
    """A network that learns from real and from generated images.

    Args:
        network: As of :class:`semaug.methods.Supervised`.
        loss: Likewise.
        share: Of generated images in a batch, for the weight of their loss.
        counts_generated: Whether statistics of the loss see generated images too.
        example_images: As of :class:`semaug.methods.Supervised`.

    Raises:
        ValueError: If the loss needs features and the classifier cannot be found.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        *,
        share: float,
        counts_generated: bool = False,
        example_images: Tensor | None = None,
    ) -> None:
        super().__init__(network, loss, example_images)
        self.share, self.counts_generated = share, counts_generated

    def loss(self, batch: Batch) -> StepOutput:
        """Compute the loss of a batch of two streams, ``labeled`` and ``generated``."""
        real, made = batch.labeled, batch.streams["generated"]
        outputs = self.network(torch.cat([real.images, made.images]))
        parts = [
            output.split([len(real.images), len(made.images)])
            for output in (outputs if self.needs_features else (outputs,))
        ]
        own, others = zip(*parts, strict=True)
        logits = {"labeled": own[0], "generated": others[0]}
        if self.counts_generated:
            joint = [torch.cat(pair) for pair in parts]
            wanted = torch.cat([real.wanted, made.wanted])
            places = _positions(real, made)
            return StepOutput({"loss": Term(self._value(joint, wanted, places))}, logits)
        terms = {"real": Term((1 - self.share) * self._value(own, real.wanted, real.positions))}
        with getattr(self.criterion, "frozen", nullcontext)():
            value = self.share * self._value(others, made.wanted, _behind(made))
        return StepOutput({**terms, "generated": Term(value, "generated")}, logits)

    def _value(self, outputs: Any, wanted: Tensor, positions: Tensor | None) -> Tensor:
        weight = [self.network.weight] if self.needs_features else []
        told = {"positions": positions} if takes_positions(self.criterion) else {}
        value: Tensor = self.criterion(outputs[0], wanted, *outputs[1:], *weight, **told)
        return value


def _behind(made: Samples) -> Tensor | None:
    """Number generated images apart from real ones, for losses that draw for each image."""
    return None if made.positions is None else -1 - made.positions


def _positions(real: Samples, made: Samples) -> Tensor | None:
    behind = _behind(made)
    return None if real.positions is None or behind is None else torch.cat([real.positions, behind])


@methods.register("generated")
@dataclass(frozen=True, kw_only=True)
class GeneratedMethod:
    """One network sees real images, and in each batch some of a generator.

    Args:
        generator: Folder of its run, as it is or below the folder of all runs; a ``.pt2`` file; or
            ``my_file.py:name``.
        generated_percent: Share of each batch that is made, in percent.
        pool_size: Images that are made once, of all classes the same number.
        counts_generated: Whether statistics of the loss, such as the covariances of ISDA, see made
            images too.

    Raises:
        UserError: If a number is out of range.
    """

    generator: str
    generated_percent: float = 100 / 6
    pool_size: int = 50_000
    counts_generated: bool = False

    def __post_init__(self) -> None:
        percent = self.generated_percent
        check_option("generated_percent", percent, 0 < percent < 100, "above 0 and below 100")
        check_option("pool_size", self.pool_size, self.pool_size >= 1, ">= 1")

    def num_generated(self, batch_size: int) -> int:
        """Return how many images of a batch are made.

        >>> GeneratedMethod(generator="runs/cifar10_acgan/seed0").num_generated(128)
        21
        """
        return max(1, round(batch_size * self.generated_percent / 100))

    def check(self, recipe: Any) -> None:
        """Check that some images of a batch are real.

        Raises:
            UserError: If none is.
        """
        size = recipe.batch_size
        holds = self.num_generated(size) < size
        check_option("batch_size", size, holds, "with room for real images beside generated ones")

    def streams(self, recipe: Any) -> dict[str, Stream]:
        """Return real images, in epochs as long as without generated ones, and these."""
        size, made = recipe.batch_size, self.num_generated(recipe.batch_size)
        labeled = Stream(batch_size=size - made, epoch_batch_size=size)
        return {"labeled": labeled, "generated": Stream("generated", made)}

    def other_images(
        self, run: Any, data: DataSet, selection: Selection, tell: Callable[[str], None]
    ) -> dict[str, ImageSet]:
        """Return the pool, see :func:`semaug.engine.data.load_data`.

        Raises:
            UserError: If there is no such generator, it makes other images than the run wants, or
                it has seen images that the run is tested on.
        """
        from semaug.generation.generator import load_generator  # which needs the engine

        generator = load_generator(self.generator, runs=run.folder.parent.parent)
        _check_unseen(generator, selection, tell)
        size = min(self.pool_size, _QUICK) if run.quick else self.pool_size
        return {"generated": make_pool(generator, size, data.train)}

    def build(self, builder: Any) -> WithGenerated:
        """Build the network of the recipe and its loss."""
        size = builder.recipe.batch_size
        share = self.num_generated(size) / size
        counts = self.counts_generated
        return WithGenerated(*builder.with_loss(), share=share, counts_generated=counts)


@data_sets.register("generated")
@dataclass(frozen=True, kw_only=True)
class Generated(DataSource):
    """Images of a generator to train on, and real ones to test on.

    Args:
        generator: As of ``method=generated``; of runs below ``runs``.
        real: The data set that the test images are of.
        pool_size: Images that are made once, of all classes the same number.
    """

    generator: str
    real: Any = choice(data_sets, "cifar10")
    pool_size: int = 50_000

    def __post_init__(self) -> None:
        check_option("pool_size", self.pool_size, self.pool_size >= 1, ">= 1")

    @property
    def num_classes(self) -> int | None:  # type: ignore[override]
        """Number of classes of the real images; None if only the files tell."""
        found: int | None = self.real.num_classes
        return found

    @property
    def side(self) -> int | None:  # type: ignore[override]
        """Height and width of the real images; None if they differ."""
        found: int | None = self.real.side
        return found

    def check_there(self, root: Path) -> None:
        """Look for the real images."""
        self.real.check_there(root)

    def load(self, root: Path, workers: int | None = None) -> DataSet:
        """Make the images, or read them where they were made before.

        Raises:
            FileNotFoundError: If the real images are missing.
            UserError: If there is no such generator, or it makes other images.
        """
        from semaug.generation.generator import load_generator  # which needs the engine

        data = self.real.load(root, workers)
        pool = make_pool(load_generator(self.generator), self.pool_size, data.train)
        return DataSet("generated", pool, data.test, data.mean, data.std)


def make_pool(generator: Any, size: int, like: Any) -> ImageSet:
    """Make images of all classes, or read them where they were made before.

    Args:
        generator: A :class:`semaug.generation.generator.Generator`.
        size: How many; the classes take turns.
        like: Images of the classes and of the size that are wanted, in memory.

    Raises:
        OSError: If the disk does not take them.
        UserError: If the generator makes others, or a file is damaged.
    """
    _check_alike(generator, like)
    folder = generator.home / "generated"
    path = folder / f"{generator.digest[:16]}-{size}.npz"
    if not path.exists() or not generator.digest:
        from semaug.engine.seeding import make_generator  # which registers methods
        from semaug.runs.files import write_atomically

        labels = torch.arange(size) % generator.num_classes
        images = generator.sample(labels, make_generator(0, "pool"))
        if not generator.digest:
            return ImageSet(images, labels, like.classes)
        folder.mkdir(parents=True, exist_ok=True)
        arrays = {"images": images.numpy(), "labels": labels.numpy()}
        write_atomically(path, lambda file: np.savez(file, **arrays))
    from semaug.runs.kept import DAMAGES

    try:
        with np.load(path, allow_pickle=False) as found:
            images, labels = (torch.from_numpy(found[name]) for name in ("images", "labels"))
        return ImageSet(images, labels, like.classes)
    except DAMAGES as error:
        raise UserError(
            f"{path}: expected generated images, got a damaged file ({error}); delete it, and they "
            "are generated anew"
        ) from error


def _check_alike(generator: Any, like: Any) -> None:
    """Check that a generator makes images of the classes and of the size that a run wants."""
    shape = tuple(like.images.shape[1:]) if isinstance(like, ImageSet) else None
    wanted, made = (len(like.classes), shape), (generator.num_classes, generator.image)
    if wanted != made:
        raise UserError(
            f"{generator.name}: expected a generator of {wanted[0]} classes and images of "
            f"shape {wanted[1]}, got one of {made[0]} classes and {made[1]}"
        )
    if generator.classes and tuple(generator.classes) != tuple(like.classes):
        raise UserError(
            f"{generator.name}: expected a generator of the classes {', '.join(like.classes[:3])}, "
            f"..., got one of {', '.join(generator.classes[:3])}, ..."
        )


def _check_unseen(generator: Any, selection: Selection, tell: Callable[[str], None]) -> None:
    """Check that a generator has not learned from images that a run holds out."""
    if selection.test_on != "hold_out":
        return
    seen: Mapping[str, str] = generator.trained_on
    if not seen:
        tell(f"nobody knows whether {generator.name} has seen images that are held out here")
        return
    now = {"data": selection.data, **describe_selection(selection)["sha256"]}
    if any(now[name] != seen[name] for name in seen):
        raise UserError(
            f"{generator.name}: expected a generator that has not seen the images held out, got "
            "one that was trained on others than this run is; train it with the same subset"
        )
