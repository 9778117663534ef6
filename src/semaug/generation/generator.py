"""What makes images: a function of numbers and classes that can be differentiated by the numbers.

    images = generator(z, labels)

``z`` is ``(N, z_size)``, ``labels`` are ``(N,)`` int64, and images are ``(N, 3, H, W)`` in
``value_range``. Weights are constant and in evaluation mode, so each image depends on its own z and
label alone, and ``images.sum().backward()`` gives the gradient of ``z``.

>>> import torch
>>> def stripes(z, labels):
...     return torch.tanh(z[:, :3, None, None].expand(-1, -1, 8, 8))
>>> generator = Generator(stripes, z_size=5, num_classes=2, image=(3, 8, 8))
>>> generator.sample(torch.tensor([0, 1]), torch.Generator().manual_seed(0)).dtype
torch.uint8
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semaug.average import WeightAverage
from semaug.engine.device import choose_device
from semaug.engine.images import read_images
from semaug.engine.options import TrainOptions
from semaug.engine.preprocessing import form_of
from semaug.errors import UserError, as_user_error
from semaug.generation.gan import GanSpec
from semaug.generation.recipe import GenerationRecipe
from semaug.outside import code_of, find, is_outside
from semaug.registry import Sizes, generators, recipes
from semaug.runs.files import write_atomically
from semaug.runs.finished import load_finished_run, load_state

__all__ = ["Generator", "load_generator", "load_run", "save_graph"]

_AT_ONCE = 250  # images that are made
_ABOUT = "generator.json"  # beside the graph in a file of torch.export
_MALFORMED = (AttributeError, KeyError, LookupError, RuntimeError, TypeError, ValueError, OSError)


@dataclass(frozen=True, eq=False)
class Generator:
    """A function that makes images, and what there is to know of it.

    Args:
        function: Called with z ``(N, z_size)`` and labels ``(N,)``; returns ``(N, C, H, W)``.
        z_size: Numbers that an image is made of, from N(0, 1).
        num_classes: C; labels are below it.
        image: Channels, height and width.
        value_range: Of a black and of a white pixel.
        num_codes: So many of the numbers, the last ones, are from U(-1, 1) instead.
        classes: Names of the classes; empty where nobody knows them.
        device: Where the function computes.
        dtype: Of z.
        name: Of what it was loaded from.
        digest: Of what decides its images, to find those that were kept.
        trained_on: Data set, and SHA-256 of places and labels of the images that it learned from;
            empty where nobody knows them.
        home: Folder of all runs that it belongs to.

    Raises:
        TypeError: If an attribute is of another type.
        ValueError: If a number is out of range.
    """

    function: Callable[[Tensor, Tensor], Tensor]
    z_size: int
    num_classes: int
    image: tuple[int, int, int]
    value_range: tuple[float, float] = (-1.0, 1.0)
    num_codes: int = 0
    classes: tuple[str, ...] = ()
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    name: str = "generator"
    digest: str = ""
    trained_on: Mapping[str, str] = field(default_factory=dict)
    home: Path = Path("runs")

    def __post_init__(self) -> None:
        sizes = (self.z_size, self.num_classes, *self.image)
        if not (all(isinstance(size, int) for size in sizes) and len(self.image) == 3):
            raise TypeError(
                "Generator: expected whole numbers `z_size`, `num_classes` and three of `image`, "
                f"got {self.z_size}, {self.num_classes} and {self.image}"
            )
        low, high = self.value_range
        if min(sizes) < 1 or not low < high or not 0 <= self.num_codes <= self.z_size:
            raise ValueError(
                "Generator: expected positive sizes, a `value_range` that grows and `num_codes` of "
                f"at most `z_size`, got {sizes}, {self.value_range} and {self.num_codes}"
            )

    def __call__(self, z: Tensor, labels: Tensor) -> Tensor:
        """Make images ``(N, C, H, W)`` in ``value_range`` of z ``(N, z_size)`` and ``(N,)``.

        Gradients flow back to ``z``.
        """
        images: Tensor = self.function(z.to(self.device, self.dtype), labels.to(self.device))
        return images

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw z ``(count, z_size)`` as in training, on the CPU.

        Args:
            count: How many.
            generator: On the CPU.
        """
        return draw_z(count, self.z_size - self.num_codes, self.num_codes, generator)

    def to_bytes(self, images: Tensor) -> Tensor:
        """Return images as uint8."""
        low, high = self.value_range
        return ((images - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)

    @torch.no_grad()
    def sample(self, labels: Tensor, generator: torch.Generator) -> Tensor:
        """Make an image of each label.

        Args:
            labels: ``(N,)`` int64.
            generator: On the CPU; draws z.

        Returns:
            ``(N, C, H, W)`` uint8 on the CPU.
        """
        images = torch.empty(len(labels), *self.image, dtype=torch.uint8)
        for start in range(0, len(labels), _AT_ONCE):
            own = labels[start : start + _AT_ONCE]
            images[start : start + _AT_ONCE] = self.to_bytes(
                self(self.draw(len(own), generator), own)
            )
        return images

    def describe(self) -> dict[str, Any]:
        """Return plain data, which :func:`save_graph` writes beside a graph."""
        names = ("z_size", "num_classes", "image", "value_range", "num_codes", "classes")
        return {name: getattr(self, name) for name in names}


def draw_z(count: int, z_size: int, num_codes: int, generator: torch.Generator) -> Tensor:
    """Draw ``(count, z_size + num_codes)``: from N(0, 1), and codes from U(-1, 1)."""
    z = torch.randn(count, z_size, generator=generator)
    if not num_codes:
        return z
    codes = 2 * torch.rand(count, num_codes, generator=generator) - 1
    return torch.cat([z, codes], dim=1)


def of_gan(
    module: nn.Module, spec: GanSpec, image: tuple[int, int, int], **facts: Any
) -> Generator:
    """Return the generator of a method, in evaluation mode."""
    size, num_codes = spec.z_size + spec.num_codes, spec.num_codes
    return Generator(module.eval(), size, image=image, num_codes=num_codes, **facts)


def load_generator(
    name: str | Path, options: TrainOptions | None = None, *, runs: Path = Path("runs")
) -> Generator:
    """Load a generator.

    Args:
        name: Folder of a finished run, as it is or below ``runs``; a ``.pt2`` file of
            :func:`save_graph` or of ``torch.export`` with ``generator.json`` among its extra files;
            or ``my_file.py:name`` of an object that is called as a :class:`Generator` and has its
            attributes ``z_size``, ``num_classes`` and ``image``, or of a function or class without
            arguments that makes one.
        options: Device, and whether a graph may be read, which torch may execute code of.
        runs: Folder of all runs.

    Raises:
        UserError: If there is none, or what is there does not make images.
    """
    options, text = options or TrainOptions(), str(name)
    if is_outside(text):
        return replace(_of_code(text, choose_device(options.device)), home=runs)
    path = Path(name).expanduser()
    if path.suffix == ".pt2":
        return replace(_of_graph(path, options), home=runs)
    below = runs / path
    folder = next((one for one in (path, below, below / "seed0") if one.is_dir()), None)
    if folder is None:
        known = [one.name for one in runs.glob("*/")] if runs.is_dir() else []
        recipe = path.parent.name if path.name.startswith("seed") else path.name
        near = get_close_matches(recipe, known, n=1)
        names = [name for name in recipes.names() if name.endswith(generators.names())]
        trainable = [*get_close_matches(recipe, names, n=1), "digits_wgan_gp"][0]
        raise UserError(
            f"{text}: expected the run of a generator, got no such folder here or below {runs}; "
            + (f"did you mean {near[0]}?" if near else f"train one by: semaug train {trainable}")
        )
    if not (folder / "summary.json").exists() and (folder / "seed0").is_dir():
        folder = folder / "seed0"
    return load_run(folder, options)


def load_run(folder: str | Path, options: TrainOptions | None = None) -> Generator:
    """Load the generator of a finished run: its averaged weights, where it has them.

    Raises:
        UserError: If the folder holds no finished run of a generator, or something is damaged.
    """
    options = options or TrainOptions()
    run, summary = load_finished_run(folder, trust_code=options.trust_code)
    recipe = run.recipe
    if not isinstance(recipe, GenerationRecipe):
        raise UserError(f"{folder}: expected the run of a generator, got one of {run.name}")
    path, device = run.folder / "images.json", choose_device(options.device)
    recorded = read_images(path)
    with as_user_error(f"{path}: expected a description of images: ", KeyError, TypeError):
        facts, sums = recorded["input"], recorded["sha256"]
        classes, image = tuple(facts["classes"]), tuple(facts["image"])
        trained_on = {"data": recorded["data"], **{x: sums[x] for x in ("indices", "labels")}}
    with torch.random.fork_rng(devices=[]):
        gan = recipe.generator.build(Sizes(num_classes=len(classes), image=image))
    layout, dtype = form_of(recipe)
    state = load_state(run.checkpoint, summary["epochs"])
    context = f"{run.checkpoint}: holds the state of another version: "
    with as_user_error(context, KeyError, RuntimeError, ValueError):
        module = of_state(gan.to(device, dtype).to(memory_format=layout), recipe, state)
    return of_gan(
        module.requires_grad_(False),
        recipe.generator,
        image,
        num_classes=len(classes),
        classes=classes,
        device=device,
        dtype=dtype,
        name=str(folder),
        digest=_sha256(run.checkpoint),
        trained_on=trained_on,
        home=run.folder.parent.parent,
    )


def of_state(gan: Any, recipe: GenerationRecipe, state: Mapping[str, Any]) -> nn.Module:
    """Return the generator that a run tests, of the objects in its checkpoint."""
    gan.load_state_dict(state["gan"])
    if recipe.ema_decay is not None:
        average = WeightAverage(gan.generator, recipe.ema_decay)
        average.load_state_dict(state["average"])
        gan.generator.load_state_dict(average.averaged.state_dict())
    generator: nn.Module = gan.generator
    return generator


def _of_code(name: str, device: torch.device) -> Generator:
    found = find(name)
    context = f"{name}: expected something that makes images, with `z_size`, `num_classes` and "
    context += "`image`, as semaug.generation.generator.Generator has them: "
    with as_user_error(context, AttributeError, TypeError, ValueError):
        if isinstance(found, type) or (inspect.isfunction(found) and not hasattr(found, "z_size")):
            found = found()
        digests = code_of([name]).values()
        digest = hashlib.sha256(json.dumps([dict(one) for one in digests]).encode()).hexdigest()
        if isinstance(found, Generator):
            return found
        if isinstance(found, nn.Module):
            found = found.to(device).eval().requires_grad_(False)
        optional = ("value_range", "num_codes", "classes")
        given = {key: getattr(found, key) for key in optional if hasattr(found, key)}
        return Generator(
            found,
            found.z_size,
            found.num_classes,
            tuple(found.image),
            **given,
            device=device,
            name=name,
            digest=digest,
        )


def _of_graph(path: Path, options: TrainOptions) -> Generator:
    if not path.is_file():
        raise UserError(f"{path}: expected a file of torch.export, got no such file")
    if not options.trust_code:
        raise UserError(
            f"{path}: torch may execute what such a file holds; if you trust who wrote it, add "
            "--trust-code, in Python trust_code=True"
        )
    extra: dict[str, Any] = {_ABOUT: ""}
    context = f"{path}: expected a graph of torch.export, with {_ABOUT} among its extra files: "
    with as_user_error(context, *_MALFORMED):
        device = choose_device(options.device)
        function = torch.export.load(path, extra_files=extra).module().to(device)
        about = json.loads(extra[_ABOUT])
        facts: dict[str, Any] = {
            key: tuple(x) if isinstance(x, list) else x for key, x in about.items()
        }
        return Generator(function, **facts, device=device, name=str(path), digest=_sha256(path))


def save_graph(generator: Generator, path: Path) -> None:
    """Write a generator as a graph of ``torch.export``, for any number of images.

    Raises:
        OSError: If the disk does not take it.
        UserError: If it is no module, or torch cannot make a graph of it.
    """
    if not isinstance(generator.function, nn.Module):
        raise UserError(f"{generator.name}: expected a module to make a graph of")
    examples = torch.zeros(2, generator.z_size, device=generator.device, dtype=generator.dtype)
    labels = torch.zeros(2, dtype=torch.int64, device=generator.device)
    batch = {0: torch.export.Dim("batch")}
    with as_user_error(f"{generator.name}: cannot be exported: ", Exception):
        graph = torch.export.export(
            generator.function, (examples, labels), dynamic_shapes=(batch, batch)
        )
    extra = {_ABOUT: json.dumps(generator.describe())}
    write_atomically(path, lambda file: torch.export.save(graph, file, extra_files=extra))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
