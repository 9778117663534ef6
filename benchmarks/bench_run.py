"""A whole run of `semaug train` against a literal script: CPU seconds and peak memory.

    python benchmarks/bench_run.py --data-root data

The literal script does what the released code chose: images through PIL in a DataLoader with one
worker, ISDA as its formulas are written, float32, a test of all images after each epoch, and a
checkpoint after each. `semaug train` does the same in float32 and, as it does by default, in bf16
where the CPU has it. Each turn is a process of its own with one thread, from its first import to
its end, and contestants take turns. CPU seconds are those of user and system of a process and its
workers, to which other work on the machine adds little; the peak is that of its largest process.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from measure import record, spread

ROOT = Path(__file__).parents[1]
TRAIN, TEST, EPOCHS = 5_000, 1_000, 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", default="data", help="holds CIFAR-100")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--literal", action="store_true", help="be the literal script")
    arguments = parser.parse_args()
    if arguments.literal:
        run_literally(arguments.data_root)
        return
    recipe = ["cifar100_resnet32_isda", f"train_per_class={TRAIN // 100}"]
    recipe += [f"test_images={TEST}", f"epochs={EPOCHS}", "evaluate_every_epochs=1"]
    ours = ["-m", "semaug", "train", *recipe, "--device", "cpu", "--threads", "1"]
    ours += ["--data-root", arguments.data_root]
    commands = {
        "literal script": [__file__, "--literal", "--data-root", arguments.data_root],
        "semaug train, float32": [*ours, "precision=32"],
        "semaug train": ours,
    }
    turns: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for _ in range(arguments.turns):
        for name, command in commands.items():
            turns[name].append(measure(command))
    literal = [seconds for seconds, _ in turns["literal script"]]
    rows = []
    for name, measured in turns.items():
        seconds, peaks = zip(*measured, strict=True)
        ratios = [other / mine for other, mine in zip(literal, seconds, strict=True)]
        rows.append(
            {
                "recipe": " ".join(recipe),
                "contestant": name,
                "cpu_seconds": spread([*seconds]),
                "ratio": spread(ratios),
                "peak_mib": statistics.median(peaks),
            }
        )
    show(rows)
    print(f"added to {record('bench_run', 'cpu', rows)}")


def measure(command: list[str]) -> tuple[float, float]:
    """Return CPU seconds of a process and its workers, and the peak of the largest in MiB."""
    with TemporaryDirectory() as folder:
        runs = ["--runs", folder] if "semaug" in command else []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        process = subprocess.Popen(
            [sys.executable, *command, *runs],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
        )
        _, status, own = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command}: exit status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, own.ru_maxrss / 1024


def run_literally(data_root: str) -> None:
    """Train as the released code does."""
    import timm
    import torch
    from torch import Tensor, nn
    from torch.utils.data import DataLoader, Subset
    from torchvision import transforms
    from torchvision.datasets import CIFAR100

    import semaug.networks  # noqa: F401, registers ours with timm
    from literal import LiteralISDA
    from semaug.features import with_features

    to_tensor = [
        transforms.ToTensor(),
        transforms.Normalize((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    ]
    changed = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    train_set = CIFAR100(data_root, transform=transforms.Compose([*changed, *to_tensor]))
    test_set = CIFAR100(data_root, train=False, transform=transforms.Compose(to_tensor))
    options: dict[str, Any] = {"batch_size": 128, "shuffle": True, "num_workers": 1}
    train = DataLoader(Subset(train_set, range(TRAIN)), **options)
    test = DataLoader(Subset(test_set, range(TEST)), **options)

    torch.set_num_threads(1)
    network = timm.create_model("resnet32_cifar", num_classes=100)
    tapped = with_features(network, example_images=torch.zeros(2, 3, 32, 32))
    isda = LiteralISDA(100, 64, "full")
    optimizer = torch.optim.SGD(
        network.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=1e-4
    )
    for epoch in range(EPOCHS):
        network.train()
        for images, labels in train:
            logits, features = tapped(images)
            strength = 0.5 * epoch / EPOCHS
            loss = isda(logits, labels, features, tapped.weight, strength)
            hits: Tensor = (logits.argmax(1) == labels).float().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item(), hits.item()  # as its meters do, after every step
        network.eval()
        error = []
        for images, labels in test:
            with torch.no_grad():
                logits = network(images)
                loss = nn.functional.cross_entropy(logits, labels)
            error.append((float(loss), float((logits.argmax(1) != labels).float().mean())))
        with TemporaryDirectory() as folder:
            states = network.state_dict(), optimizer.state_dict(), isda.covariance
            torch.save(states, Path(folder) / "checkpoint.pt")


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title=f"{rows[0]['recipe']}, from import to end, one thread")
    for column in ("contestant", "CPU s", "literal / it", "peak MiB"):
        table.add_column(column)
    for row in rows:
        texts = [
            "{median:.2f} ({lower:.2f}-{upper:.2f})".format(**row[name])
            for name in ("cpu_seconds", "ratio")
        ]
        table.add_row(row["contestant"], *texts, f"{row['peak_mib']:.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
