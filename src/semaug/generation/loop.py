"""The training loop of generators: a critic and a generator take turns.

A step is one of the generator, with those of the critic before it. What is drawn depends on seed
and step alone, images with replacement, so a run goes on at any step; a checkpoint holds both
networks and both optimizers.
"""

from typing import Any

import torch
from torch import Tensor

from semaug.average import WeightAverage
from semaug.data import DataSet, ImageSet
from semaug.engine.memory import reset_peak_memory
from semaug.engine.preprocessing import form_of
from semaug.engine.seeding import derive_seed, make_generator
from semaug.engine.session import Results, Session
from semaug.engine.start import Start
from semaug.errors import UserError
from semaug.generation.gan import Shown
from semaug.generation.generator import Generator, draw_z, of_gan, of_state
from semaug.generation.quality import frechet_distance, small_pixels
from semaug.generation.recipe import GenerationRecipe
from semaug.recipe.plan import StreamPlan, make_plan
from semaug.registry import Sizes
from semaug.runs.pictures import grid, picture_of_step, write_picture

_MEASURES: Any = [("frechet_pixels", "", "lower")]
_COLUMNS = 10  # of a picture


def fit(start: Start) -> dict[str, Any]:
    """Train generator and critic to their end and return the summary of the run."""
    recipe, seed, device = start.recipe, start.seed, start.device
    if start.processes.size > 1:
        raise UserError("train: expected one process for a generator, got several from torchrun")

    # Data, plan, networks, optimizers: in this order.
    reset_peak_memory(device)
    data = start.load_data()
    sizes = _sizes(recipe, data)
    start.image = sizes.image
    batches = _Batches(recipe, data)
    plan = make_plan(recipe, {"labeled": StreamPlan(len(data.train), batches.images_per_step)})
    torch.manual_seed(derive_seed(seed, "weights"))
    layout, dtype = form_of(recipe)
    gan = recipe.generator.build(sizes).to(device, dtype).to(memory_format=layout)
    spec = recipe.generator
    makes = spec.optimizer([*gan.generator.parameters()], spec.lr)
    judges = spec.optimizer([*gan.critic.parameters()], spec.critic_lr)
    objects = {
        "gan": gan,
        "optimizer of the generator": makes,
        "optimizer of the critic": judges,
    }
    average = None
    if recipe.ema_decay is not None:
        objects["average"] = average = WeightAverage(gan.generator, recipe.ema_decay)

    with Session(start, plan, objects, _MEASURES) as session:
        for _epoch in session.epochs():
            gan.train()
            for _ in session.steps():
                draws = session.generator("images and noise", session.total_step)

                # The critic learns to tell what the generator makes now from images.
                gan.critic.requires_grad_(True)
                for _ in range(spec.critic_steps_at(session.total_step)):
                    judged = gan.critic_losses(batches.draw(draws))
                    judges.zero_grad()
                    judged.loss.backward()
                    judges.step()
                    gan.after_critic_step()

                # The generator learns from the critic.
                gan.critic.requires_grad_(False)
                fooled = gan.generator_losses(batches.draw(draws))
                makes.zero_grad()
                fooled.loss.backward()
                makes.step()
                if average is not None:
                    average.update(gan.generator)

                values = {"loss": fooled.loss, "critic_loss": judged.loss, **judged.logs}
                session.count_step(values)
                session.pause()

            session.begin_test()
            module = gan.generator if average is None else average.averaged
            generator = _generator(module, recipe, sizes, device)
            picture = picture_of_step(start.run.folder, session.total_step)
            write_picture(picture, _samples(generator, seed))
            session.finish_epoch(_test(generator, data, seed))
        return session.summary()


def evaluate(start: Start, state: dict[str, Any]) -> Results:
    """Test the generator of a finished run again.

    Args:
        start: Of the run.
        state: Objects of its checkpoint, by name.
    """
    recipe, data = start.recipe, start.load_data()
    sizes = _sizes(recipe, data)
    layout, dtype = form_of(recipe)
    with torch.random.fork_rng(devices=[]):
        gan = recipe.generator.build(sizes).to(start.device, dtype).to(memory_format=layout)
    module = of_state(gan, recipe, state)
    generator = _generator(module, recipe, sizes, start.device)
    return _test(generator, data, start.seed) or {}


class _Batches:
    """Draws images with replacement, and z and classes of what is made.

    Args:
        recipe: Says how many.
        data: Images on the device.
    """

    def __init__(self, recipe: GenerationRecipe, data: DataSet) -> None:
        assert isinstance(data.train, ImageSet)
        self.spec, self.data = recipe.generator, data
        self.images, self.labels = data.train.images, data.train.labels
        self.layout, self.dtype = form_of(recipe)
        labels = self.labels.cpu()
        places = [(labels == label).nonzero().squeeze(1) for label in range(data.num_classes)]
        if self.spec.per_class and (empty := sum(len(own) == 0 for own in places)):
            raise UserError(
                f"recipe: expected images of each class for a generator of its own, got none of "
                f"{empty} of {data.num_classes} classes"
            )
        self.places = places if self.spec.per_class else [torch.arange(len(labels))]
        self.size = recipe.batch_size
        steps = self.spec.critic_steps_at(1_000_001)  # without what comes before the first ones
        self.images_per_step = steps * self.size * len(self.places)

    def draw(self, generator: torch.Generator) -> Shown:
        """Draw a batch; of each class as many where each has networks of its own."""
        columns = [
            own[torch.randint(len(own), (self.size,), generator=generator)] for own in self.places
        ]
        positions = torch.stack(columns, dim=1).flatten()
        count, num_classes = len(positions), self.data.num_classes
        labels = torch.arange(num_classes).repeat(self.size)
        if not self.spec.per_class:
            labels = torch.randint(num_classes, (count,), generator=generator)
        z = draw_z(count, self.spec.z_size, self.spec.num_codes, generator)
        positions = positions.to(self.images.device)
        real = self.images[positions].to(self.dtype).div(127.5).sub(1)
        return Shown(
            z.to(real.device, self.dtype),
            labels.to(real.device),
            real.contiguous(memory_format=self.layout),
            self.labels[positions],
        )


def _sizes(recipe: GenerationRecipe, data: DataSet) -> Sizes:
    """Return what networks depend on.

    Raises:
        UserError: If the images do not lie in memory as bytes, with one label each.
    """
    train = data.train
    if not isinstance(train, ImageSet) or not data.has_bytes or data.has_masks:
        raise UserError(
            f"recipe: expected images in memory with one label each for a generator, which "
            f"data={data.name} does not have"
        )
    channels, height, width = train.images.shape[1:]
    if height != width:
        raise UserError(f"recipe: expected square images for a generator, got {height} x {width}")
    return Sizes(
        num_classes=data.num_classes,
        num_images=len(train),
        num_steps=recipe.steps or 1,
        image=(channels, height, width),
    )


def _generator(
    module: Any, recipe: GenerationRecipe, sizes: Sizes, device: torch.device
) -> Generator:
    assert sizes.image is not None
    dtype = form_of(recipe)[1]
    facts = {"num_classes": sizes.num_classes, "device": device, "dtype": dtype}
    return of_gan(module, recipe.generator, sizes.image, **facts)


def _samples(generator: Generator, seed: int) -> Tensor:
    """Return a picture of the same z at each test: a row for each class, of many an image."""
    num_classes = generator.num_classes
    each = _COLUMNS if num_classes <= 2 * _COLUMNS else 1
    labels = torch.arange(num_classes).repeat_interleave(each)
    return grid(generator.sample(labels, make_generator(seed, "samples")), _COLUMNS)


def _test(generator: Generator, data: DataSet, seed: int) -> Results | None:
    """Compare as many generated images as there are test images with these, by small pixels."""
    if len(data.test) == 0:
        return None
    assert isinstance(data.test, ImageSet)
    made = generator.sample(data.test.labels.cpu(), make_generator(seed, "test noise"))
    spaces = [small_pixels(images) for images in (made, data.test.images.cpu())]
    return {"": {"frechet_pixels": frechet_distance(*spaces)}}
