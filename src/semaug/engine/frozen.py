"""Train on the features of a frozen backbone: what :mod:`semaug.frozen` needs of a run."""

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from semaug.covariance import ClassCovariance
from semaug.data import DataSet, ImageSet
from semaug.engine.display import show_bar
from semaug.engine.preprocessing import preprocessing_of
from semaug.engine.seeding import make_generator
from semaug.engine.start import Start
from semaug.engine.streams import Streams
from semaug.errors import UserError
from semaug.features import WithFeatures, with_features
from semaug.frozen import FeatureStore, Passes, digest_images, on_features
from semaug.methods import Method
from semaug.recipe.plain import recipe_to_plain_data
from semaug.runs.checkpoint import load_checkpoint
from semaug.runs.words import say_once

_FORMAT = 1  # of kept features: how images are drawn, prepared and digested
_AT_ONCE = 1000  # images whose features are kept at once, or are counted in statistics

# N images, K passes, A features.


def features_in_place_of_images(start: Start, method: Method, streams: Streams) -> Streams:
    """Return the streams that a run trains on: of features, if its recipe keeps some.

    Then the network of the method takes features from now on, and statistics of features are
    those of all passes over all training images, exactly, and stay so. Features that another run
    has left beside this one, in the folder ``features``, are not computed again.

    Args:
        start: Of the run.
        method: On the device, with the weights that it begins with.
        streams: Of the images.

    Raises:
        OSError: If a file cannot be read, or the disk does not take the features.
        UserError: If the recipe does more with images than show each in one view.
    """
    recipe, data, processes = start.recipe, streams.data, start.processes
    num_passes = getattr(getattr(recipe, "network", None), "passes_kept", 0)
    if num_passes == 0:
        return streams
    _check_fits(method, streams)
    if start.run.checkpoint.exists():  # which has the weights that the run began with
        method.load_state_dict(load_checkpoint(start.run.checkpoint)["objects"]["method"])
    network = method.to(streams.dtype).network
    inner = network.model if isinstance(network, WithFeatures) else network
    net = with_features(inner, example_images=streams.example_images())
    alone = streams if processes.size == 1 else Streams(recipe, data, streams.workers)
    say_once(start.console, f"features of frozen layers are kept in {start.run.root / 'features'}")
    with alone:
        net.eval()
        maker = _Maker(start, net, alone)
        # Runs side by side begin with other passes, and find those that another one has made.
        first = secrets.randbelow(num_passes) if processes.size == 1 else 0
        order = [(first + number) % num_passes for number in range(num_passes)]
        made = {number: maker.train(number, num_passes) for number in order}
        passes = [made[number] for number in range(num_passes)]
        tested = maker.test()
    net.detach()
    images = torch.stack(passes, dim=1).unsqueeze(1).permute(0, 3, 1, 2)  # A channels, 1 x K pixels
    images = images.to(start.device)
    own = DataSet(
        name=data.name,
        train=ImageSet(images, data.train.labels, data.train.classes),
        test=ImageSet(tested[:, :, None, None].to(start.device), data.test.labels, data.classes),
        mean=None,
        std=None,
    )
    on_features(inner, net.classifier)
    _fix_covariances(method, images, data.train.labels, start)
    return Streams(replace(recipe, augment=Passes()), own, 0, processes.rank, processes.size)


def _check_fits(method: Method, streams: Streams) -> None:
    first = streams.first
    whitens, mixes = streams.white is not None, first.mix is not None
    several = len(streams.streams) > 1 or len(first.augments) > 1 or len(method.predictors()) > 1
    if several or whitens or mixes or first.images.labels.ndim > 1:
        raise UserError(
            "recipe: expected one network, one view and one label of each image, no mixing and no "
            "whitening to keep features for freeze=backbone; passes=0 keeps none, and images pass "
            "through the whole network in each epoch"
        )


class _Maker:
    """Makes features of images, or finds them."""

    def __init__(self, start: Start, net: WithFeatures, streams: Streams) -> None:
        self.start, self.net, self.streams = start, net, streams
        self.trained = digest_images(streams.data.train)  # once for all passes
        self.folder = start.run.root / "features" / _digest_of(start, net, streams.data)

    def train(self, number: int, num_passes: int) -> Tensor:
        """Return the features of a pass over the training images, ``(N, A)``."""
        stream = self.streams.first

        def make(digests: Sequence[bytes], places: Tensor) -> Iterator[Tensor]:
            draws = _draw_by_digest(stream, digests, number)
            view_draws = None if stream.view is None else draws.pop(0)
            own = [rows.to(self.start.device) for rows in draws]
            for samples, _ in stream.with_draws(places, view_draws, own):
                yield samples.images

        return self._features(self.trained, f"pass {number + 1} of {num_passes}", make)

    def test(self) -> Tensor:
        """Return the features of the test images, ``(N, A)``."""

        def make(digests: Sequence[bytes], places: Tensor) -> Iterator[Tensor]:
            for samples in self.streams.test_batches(places):
                yield samples.images

        return self._features(digest_images(self.streams.data.test), "test", make)

    @torch.no_grad()
    def _features(
        self,
        digests: Sequence[bytes],
        what: str,
        make: Callable[[Sequence[bytes], Tensor], Iterator[Tensor]],
    ) -> Tensor:
        store = FeatureStore(self.folder / what.partition(" of ")[0].replace(" ", ""))
        processes = self.start.processes
        own = store.missing(digests)[processes.rank :: processes.size]
        for _ in range(2):  # each process its share, then what others wrote on disks of their own
            processes.wait_for_all()  # before anything is added, and until all is
            with (
                show_bar(self.start.console, f"features, {what}", len(own)) as advance,
                self.start.fabric.autocast(),
            ):
                for start in range(0, len(own), _AT_ONCE):
                    places = torch.tensor(own[start : start + _AT_ONCE])
                    named, made = [digests[place] for place in places], []
                    for batch in make(named, places):
                        made.append(self.net(batch)[1].float().cpu())
                        advance(len(batch))
                    store.add(named, torch.cat(made))
            processes.wait_for_all()
            own = store.missing(digests)
        return store.read(digests) if digests else torch.empty(0, self.net.num_features)


def _draw_by_digest(stream: Any, digests: Sequence[bytes], number: int) -> list[Tensor]:
    """Draw what a pass does to images, each by its digest: the run and its seed do not matter."""
    kinds = [*([] if stream.view is None else [stream.view.view]), *stream.augments]
    rows = [
        [kind.draw(1, generator) for kind in kinds]
        for digest in digests
        for generator in [make_generator(0, f"features of {digest.hex()}", number)]
    ]
    return [torch.cat(column) for column in zip(*rows, strict=True)]


def _digest_of(start: Start, net: WithFeatures, data: DataSet) -> str:
    """Name a folder by all that features depend on beside their images."""
    digest = hashlib.sha256()
    head = {id(tensor) for tensor in net.classifier.parameters()}
    for name, tensor in sorted(net.model.state_dict(keep_vars=True).items()):
        if id(tensor) not in head:
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    recipe = recipe_to_plain_data(start.recipe)
    wanted = preprocessing_of(start.recipe)
    facts = {
        "format": _FORMAT,
        "network": recipe["network"]["name"],
        "precision": recipe["precision"],
        "augment": recipe["augment"],
        "images": [data.mean, data.std] if wanted is None else asdict(wanted),
        "fill": data.mean_color,
    }
    digest.update(json.dumps(facts, sort_keys=True).encode())
    return digest.hexdigest()[:16]


@torch.no_grad()
def _fix_covariances(method: nn.Module, images: Tensor, labels: Tensor, start: Start) -> None:
    """Let statistics of features be those of all passes, once and for all."""
    own = slice(start.processes.rank, None, start.processes.size)  # of a joint batch
    for module in method.modules():
        if isinstance(module, ClassCovariance) and not module.fixed:
            if isinstance(module.memory, float):
                module.memory = 1.0  # the network does not change, so nothing is to be forgotten
            for some, of in zip(images.split(_AT_ONCE), labels.split(_AT_ONCE), strict=True):
                for number in range(images.shape[3]):
                    module.update(some[own, :, 0, number], of[own])
            module.fixed = True
