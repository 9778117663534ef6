"""Tests of semaug.data.loader: batches of sets in memory and in files."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from semaug.data.decode import decode_file
from semaug.data.errors import LoadError, explain_worker_death
from semaug.data.image_set import FilePaths, FileSet, ImageSet
from semaug.data.loader import LoadedBatch, Loader, batches, epoch_order
from semaug.data.views import RandomResizedCrop, ResizeCenterCrop
from tests.data.image_files import write_image

NUM_IMAGES = 14
VIEW = RandomResizedCrop(8)
WORKERS = [0, 1, 2]

# Of torch, where there is one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def test_an_epoch_visits_every_image_once():
    order = epoch_order(100, torch.Generator().manual_seed(0))
    assert order.tolist() != list(range(100))
    assert sorted(order.tolist()) == list(range(100))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images of various sizes."""
    root = tmp_path_factory.mktemp("photos")
    names = [f"{i}.png" for i in range(NUM_IMAGES)]
    for i, name in enumerate(names):
        write_image(root / name, 20 + i, 30 - i, seed=i)
    return FileSet(FilePaths.of(root, names), torch.arange(NUM_IMAGES) % 3, ("a", "b", "c"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files of one size, and the same images in memory."""
    root = tmp_path_factory.mktemp("pictures")
    names = [f"{i}.png" for i in range(NUM_IMAGES)]
    pixels = np.stack([write_image(root / name, seed=i) for i, name in enumerate(names)])
    labels = torch.arange(NUM_IMAGES) % 3
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    classes = ("a", "b", "c")
    return FileSet(FilePaths.of(root, names), labels, classes), ImageSet(images, labels, classes)


@pytest.fixture
def order():
    return torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def draws():
    return VIEW.draw(NUM_IMAGES, torch.Generator().manual_seed(2))


def assert_same(actual, expected):
    """Compare batches, pixel for pixel."""
    for one, other in zip(actual, expected, strict=True):
        for name in ("pixels", "labels", "positions"):
            assert_close(getattr(one, name), getattr(other, name), atol=0, rtol=0)
        assert one.rows == other.rows


def joined(parts):
    """Join the batches of all ranks, step by step."""
    steps = []
    for pieces in zip(*parts, strict=True):
        *tensors, rows = zip(*pieces, strict=True)
        for one, following in pairwise(rows):
            assert one.stop == following.start
        steps.append(LoadedBatch(*map(torch.cat, tensors), slice(rows[0].start, rows[-1].stop)))
    return steps


def test_a_batch_is_a_piece_of_the_order(pictures, order):
    _, images = pictures
    for step, batch in enumerate(batches(images, order, batch_size=4)):
        positions = order[4 * step : 4 * (step + 1)]
        assert_close(batch.positions, positions)
        assert_close(batch.labels, images.labels[positions])
        assert_close(batch.pixels, images.images[positions])
        assert_close(order[batch.rows], positions)
    assert step == 3
    assert len(batch.pixels) == 2  # nothing is left out


@pytest.mark.parametrize("workers", WORKERS)
def test_files_and_memory_deliver_the_same(pictures, order, workers):
    files, images = pictures
    expected = batches(images, order, batch_size=4)
    assert_same(batches(files, order, batch_size=4, workers=workers), expected)


@pytest.mark.parametrize("workers", WORKERS)
def test_each_image_is_viewed_with_its_own_draws(files, order, draws, workers):
    loaded = batches(files, order, batch_size=4, view=VIEW, view_draws=draws, workers=workers)
    for batch in loaded:
        assert_close(batch.labels, files.labels[batch.positions])
        for pixels, position, own in zip(
            batch.pixels, batch.positions, draws[batch.rows], strict=True
        ):
            expected = VIEW(decode_file(files.paths[position]), own)
            assert_close(pixels, expected, atol=0, rtol=0)


def test_an_image_that_comes_twice_is_viewed_twice(files, draws):
    order = torch.tensor([5, 2, 5])
    (batch,) = batches(files, order, batch_size=3, view=VIEW, view_draws=draws[:3])
    for pixels, own in zip(batch.pixels[::2], draws[:3:2], strict=True):
        assert_close(pixels, VIEW(decode_file(files.paths[5]), own), atol=0, rtol=0)
    assert not torch.equal(batch.pixels[0], batch.pixels[2])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_masks_are_delivered_as_labels_of_pixels(pictures, order, dtype):
    images = pictures[1].images
    masks = images[:, 0] % 3
    dense = ImageSet(images, masks.to(dtype), ("a", "b", "c"))
    for batch in batches(dense, order, batch_size=4):
        assert_close(batch.labels, masks[batch.positions].long())


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("first_step", [0, 1, 3, 4])
def test_a_resumed_epoch_is_the_tail_of_the_whole(files, order, draws, workers, first_step):
    options = {"batch_size": 4, "view": VIEW, "view_draws": draws}
    expected = list(batches(files, order, **options))[first_step:]
    resumed = batches(files, order, **options, workers=workers, first_step=first_step)
    assert_same(resumed, expected)


def test_a_resumed_epoch_decodes_nothing_of_what_came_before(pictures, tmp_path):
    names = ["missing.png"] * 4 + ["a.png"]
    write_image(tmp_path / "a.png")
    files = FileSet(FilePaths.of(tmp_path, names), torch.zeros(5, dtype=torch.int64), ("a",))
    (batch,) = batches(files, torch.arange(5), batch_size=2, first_step=2)
    assert batch.positions.tolist() == [4]


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("batch_size", [1, 3, 4, 9, 20])
def test_the_pieces_of_all_ranks_are_the_batch_of_one(pictures, order, batch_size, world_size):
    _, images = pictures
    parts = [
        list(batches(images, order, batch_size=batch_size, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    assert_same(joined(parts), batches(images, order, batch_size=batch_size))
    for pieces in zip(*parts, strict=True):
        sizes = [len(piece.positions) for piece in pieces]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_ranks_share_out_files(files, order, draws, world_size):
    options = {"batch_size": 4, "view": VIEW, "view_draws": draws}
    whole = list(batches(files, order, **options))
    for first_step, workers in ((0, 0), (2, 1)):
        options |= {"first_step": first_step, "workers": workers}
        parts = [
            list(batches(files, order, **options, rank=rank, world_size=world_size))
            for rank in range(world_size)
        ]
        assert_same(joined(parts), whole[first_step:])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_rank_without_an_image_gets_an_empty_batch(files, draws, workers):
    options = {"view": VIEW, "view_draws": draws, "workers": workers}
    order = torch.arange(NUM_IMAGES)
    loaded = list(batches(files, order, batch_size=13, **options, rank=4, world_size=5))
    assert [tuple(batch.pixels.shape) for batch in loaded] == [(2, 3, 8, 8), (0, 3, 8, 8)]
    assert [len(batch.labels) for batch in loaded] == [2, 0]
    assert loaded[1].positions.dtype == torch.int64


def test_an_order_may_leave_out_and_repeat(pictures):
    files, images = pictures
    order = torch.tensor([3, 3, 0, 13, 3])
    loaded = list(batches(files, order, batch_size=2))
    assert_same(loaded, batches(images, order, batch_size=2))
    assert [batch.positions.tolist() for batch in loaded] == [[3, 3], [0, 13], [3]]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_empty_order_has_no_batch(pictures, workers):
    for images in pictures:
        nothing = torch.arange(0)
        assert list(batches(images, nothing, batch_size=2, workers=workers)) == []


def test_one_loader_delivers_many_epochs_with_the_same_processes(files, order, draws):
    with Loader(files, batch_size=4, view=VIEW, workers=2) as loader:
        first = list(loader.epoch(order, view_draws=draws))
        processes = {process.pid for process in multiprocessing.active_children()}
        turned = order.flip(0)
        second = list(loader.epoch(turned, view_draws=1 - draws - 2**-24, first_step=1))
        assert {process.pid for process in multiprocessing.active_children()} == processes
        third = list(loader.epoch(order, view_draws=draws))
    options = {"batch_size": 4, "view": VIEW}
    expected = batches(files, turned, view_draws=1 - draws - 2**-24, first_step=1, **options)
    assert_same(second, expected)
    assert_same(first, batches(files, order, view_draws=draws, **options))
    assert_same(third, first)


def test_an_epoch_may_be_left_for_another(files, order, draws):
    with Loader(files, batch_size=2, view=VIEW, workers=2) as loader:
        left = loader.epoch(order, view_draws=draws)
        next(left)
        again = list(loader.epoch(order, view_draws=draws))
        with pytest.raises(LoadError, match="FileReader: expected one use at a time"):
            next(left)
    assert_same(again, batches(files, order, batch_size=2, view=VIEW, view_draws=draws))


def test_leaving_a_loader_ends_its_processes(pictures, order):
    files, _ = pictures
    with Loader(files, batch_size=2, workers=2) as loader:
        epoch = loader.epoch(order)
        next(epoch)
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []
    with pytest.raises(LoadError, match="expected one use at a time, got another or `close`"):
        next(epoch)
    assert len(list(loader.epoch(order))) == 7  # a closed loader starts anew
    loader.close()
    assert multiprocessing.active_children() == []


def test_stopping_early_ends_the_processes(pictures, order):
    files, _ = pictures
    loaded = batches(files, order, batch_size=2, workers=2)
    next(loaded)
    assert len(multiprocessing.active_children()) == 2
    loaded.close()
    assert multiprocessing.active_children() == []


def test_processes_end_with_the_epoch(pictures, order):
    files, _ = pictures
    loaded = batches(files, order, batch_size=2, workers=2)
    assert len(list(loaded)) == 7
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", WORKERS)
def test_loading_draws_no_random_number(files, order, draws, workers):
    before = torch.get_rng_state()
    list(batches(files, order, batch_size=4, view=VIEW, view_draws=draws, workers=workers))
    assert_close(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", WORKERS)
def test_a_damaged_file_is_named(pictures, tmp_path, workers):
    write_image(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    paths = FilePaths.of(tmp_path, ["good.png", "bad.png"])
    files = FileSet(paths, torch.tensor([0, 0]), ("a",))
    loaded = batches(files, torch.arange(2), batch_size=1, workers=workers)
    assert len(next(loaded).pixels) == 1
    with pytest.raises(ValueError, match=r"^cannot read '.*bad\.png' \(60 bytes\)"):
        next(loaded)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("workers", WORKERS)
def test_a_missing_file_is_named(tmp_path, workers):
    files = FileSet(FilePaths.of(tmp_path, ["gone.png"]), torch.tensor([0]), ("a",))
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        list(batches(files, torch.arange(1), batch_size=1, workers=workers))


@pytest.mark.parametrize("workers", WORKERS)
def test_files_of_several_sizes_need_a_view(files, workers):
    with pytest.raises(
        ValueError, match=r"shape, got \(3, 20, 30\) and, for '.*1\.png', \(3, 21, 29"
    ):
        list(batches(files, torch.arange(4), batch_size=2, workers=workers))


@dataclass(frozen=True)
class Numbers:
    """A view that shows what its process is like."""

    num_draws = 0

    def draw(self, num_images, generator):
        return torch.empty(num_images, 0)

    def __call__(self, image, draws):
        ignores = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return torch.tensor([[[torch.get_num_threads(), ignores]]], dtype=torch.uint8)


@dataclass(frozen=True)
class Deadly(Numbers):
    """A view that kills its process."""

    def __call__(self, image, draws):
        os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Wrong(Numbers):
    """A view with a mistake."""

    def __call__(self, image, draws):
        raise RuntimeError("a mistake")


def test_processes_take_one_thread_and_leave_interrupts_to_others(pictures):
    files, _ = pictures
    (batch,) = batches(files, torch.arange(3), batch_size=4, view=Numbers(), workers=1)
    assert batch.pixels.flatten(1).tolist() == [[1, True]] * 3


@pytest.mark.parametrize("name", ["INT", "TERM"])
def test_processes_survive_a_signal_that_is_sent_to_all(pictures, order, name):
    if name == "TERM" and sys.platform != "linux":
        pytest.skip("needs to know who sent a signal")
    files, images = pictures
    with Loader(files, batch_size=2, workers=2) as loader:
        epoch = loader.epoch(order)
        loaded = [next(epoch)]
        for process in multiprocessing.active_children():
            subprocess.run(["kill", f"-{name}", str(process.pid)], check=True)
        loaded += epoch
    assert_same(loaded, batches(images, order, batch_size=2))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere processes start anew")
def test_processes_survive_a_signal_that_comes_while_they_start(pictures, order, monkeypatch):
    from semaug.data import workers

    real = workers._leave_signals_to_the_parent

    def start(worker):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        real(worker)

    monkeypatch.setattr(workers, "_leave_signals_to_the_parent", start)
    files, images = pictures
    loaded = batches(files, order, batch_size=2, workers=2)
    assert_same(loaded, batches(images, order, batch_size=2))


def test_a_program_that_closes_nothing_ends(pictures):
    code = """if True:
        import sys, torch
        from semaug.data.image_set import FilePaths, FileSet
        from semaug.data.loader import Loader
        files = FileSet(FilePaths.of(sys.argv[1], ["0.png"] * 9), torch.zeros(9).long(), ("a",))
        loader = Loader(files, batch_size=1, workers=2)
        epoch = loader.epoch(torch.arange(9))
        print(len(next(epoch).pixels))
    """
    command = [sys.executable, "-c", code, pictures[0].paths.root]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout == "1\n"


def test_a_killed_process_is_reported(pictures, order):
    files, _ = pictures
    with pytest.raises(LoadError, match=r"was killed, for want of memory .* fewer workers"):
        list(batches(files, order, batch_size=2, view=Deadly(), workers=2))
    assert multiprocessing.active_children() == []


def kill_one_meanwhile():
    """Kill a process while this one is busy with something else; return what torch raises."""

    def step():
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        time.sleep(100)  # ended by the signal

    with pytest.raises(RuntimeError, match="DataLoader worker") as caught:
        step()
    return caught.value


def test_a_process_killed_during_a_step_is_replaced_in_the_next_epoch(pictures, order):
    files, images = pictures
    with Loader(files, batch_size=2, workers=2) as loader:
        next(loader.epoch(order))
        explained = explain_worker_death(kill_one_meanwhile())
        assert isinstance(explained, LoadError)
        assert "killed, for want of memory" in str(explained)
        assert_same(loader.epoch(order), batches(images, order, batch_size=2))
        assert len(multiprocessing.active_children()) == 2
    assert multiprocessing.active_children() == []


def test_a_process_killed_during_a_step_ends_the_epoch(pictures, order):
    files, _ = pictures
    loader = Loader(files, batch_size=1, workers=1)
    epoch = loader.epoch(order)
    next(epoch)
    kill_one_meanwhile()
    with pytest.raises(LoadError, match="was killed"):
        list(epoch)
    assert multiprocessing.active_children() == []


def test_pixels_that_died_with_their_process_are_explained(pictures, order, monkeypatch):
    files, _ = pictures
    loader = Loader(files, batch_size=2, workers=1)
    epoch = loader.epoch(order)
    next(epoch)
    kill_one_meanwhile()
    error = ConnectionRefusedError(111, "Connection refused")
    monkeypatch.setattr(
        type(loader._reader._results), "__next__", lambda _: (_ for _ in ()).throw(error)
    )
    with pytest.raises(LoadError, match=r"was killed.*: 1 of 1 ended \(.*refused\)") as caught:
        next(epoch)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_in_a_view_shows_where_it_is(pictures, order, workers):
    files, _ = pictures
    with pytest.raises(RuntimeError, match="a mistake") as caught:
        list(batches(files, order, batch_size=2, view=Wrong(), workers=workers))
    assert workers == 0 or "in __call__" in str(caught.value)
    assert multiprocessing.active_children() == []


def test_processes_that_are_not_forked_deliver_the_same(pictures, order, monkeypatch):
    from semaug.data import workers

    files, images = pictures
    monkeypatch.setattr(workers, "_process_context", lambda: multiprocessing.get_context("spawn"))
    loaded = batches(files, order, batch_size=7, workers=1)
    assert_same(loaded, batches(images, order, batch_size=7))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_lie_on_the_device_of_the_set(files, pictures, order, draws, workers):
    options = {"batch_size": 4, "view": VIEW, "view_draws": draws, "workers": workers}
    for batch in batches(files.to("cuda"), order.cuda(), **options):
        assert all(value.is_cuda for value in batch[:-1])
    loaded = batches(files.to("cuda"), order, **options)
    on_cpu = [LoadedBatch(*(value.cpu() for value in batch[:-1]), batch.rows) for batch in loaded]
    assert_same(on_cpu, batches(files, order, **options))
    for batch in batches(pictures[1].to("cuda"), order, batch_size=4):
        assert all(value.is_cuda for value in batch[:-1])


def test_a_view_of_images_in_memory_is_refused(pictures):
    with pytest.raises(ValueError, match=r"Loader: expected no `view` .* got ResizeCenterCrop"):
        Loader(pictures[1], batch_size=2, view=ResizeCenterCrop(8, 8))


def test_missing_draws_are_refused(files, order):
    with pytest.raises(ValueError, match=r"`view_draws` of shape \(14, 2\) for Random.* got none"):
        batches(files, order, batch_size=2, view=VIEW)


def test_draws_without_use_are_refused(pictures, order, draws):
    for images in pictures:
        with pytest.raises(ValueError, match=r"expected no `view_draws` without a `view`"):
            batches(images, order, batch_size=2, view_draws=draws)


def test_draws_that_do_not_fit_are_refused(files, order, draws):
    with pytest.raises(ValueError, match=r"`view_draws` of shape \(3, 2\), got \(14, 2\)"):
        batches(files, order[:3], batch_size=2, view=VIEW, view_draws=draws)
    with pytest.raises(TypeError, match="`view_draws` of a floating-point dtype"):
        batches(files, order, batch_size=2, view=VIEW, view_draws=draws.long())


def test_an_order_that_does_not_fit_is_refused(pictures, order):
    for images in pictures:
        with pytest.raises(ValueError, match=r"epoch: expected `order` in 0\.\.13, got .* 0\.\.14"):
            batches(images, torch.arange(15), batch_size=2)
        with pytest.raises(ValueError, match=r"got values in -1\.\.12"):
            batches(images, order - 1, batch_size=2)
        with pytest.raises(TypeError, match=r"`order` of dtype torch\.int64, got torch\.int32"):
            batches(images, order.int(), batch_size=2)
        with pytest.raises(ValueError, match=r"`order` of shape \(n,\), got \(14, 1\)"):
            batches(images, order.unsqueeze(1), batch_size=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "Loader: expected `batch_size` >= 1, got 0"),
        ({"world_size": 0}, "Loader: expected `world_size` >= 1, got 0"),
        ({"workers": -1}, "Loader: expected `workers` >= 0, got -1"),
        ({"rank": 2, "world_size": 2}, r"Loader: expected `rank` in 0\.\.1, got 2"),
        ({"first_step": 8}, r"epoch: expected `first_step` in 0\.\.7, got 8"),
        ({"first_step": -1}, r"epoch: expected `first_step` in 0\.\.7, got -1"),
    ],
)
def test_numbers_out_of_range_are_refused(pictures, order, options, message):
    with pytest.raises(ValueError, match=message):
        batches(pictures[0], order, **{"batch_size": 2, **options})


@pytest.mark.parametrize("name", ["batch_size", "workers", "rank", "world_size", "first_step"])
def test_numbers_that_are_not_whole_are_refused(pictures, order, name):
    with pytest.raises(TypeError, match=f"expected `{name}` to be an int, got 1.5"):
        batches(pictures[0], order, **{"batch_size": 2, name: 1.5})
