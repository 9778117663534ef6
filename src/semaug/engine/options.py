"""Where and how runs are trained: what changes no recipe and no name of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TrainOptions:
    """How a run is trained on this machine.

    Args:
        data_root: Folder of the data sets. None: the variable ``SEMAUG_DATA``, else ``data``.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, or one GPU such as ``"cuda:1"``.
        threads: CPU threads of torch. None is one for small work, and else what torch has: see
            :func:`semaug.engine.device.count_threads`.
        workers: Processes that decode images in files, 0 for none. None: one for each core but
            one. The result of a run does not depend on it.
        checkpoint_seconds: Longest time between two checkpoints; there is one after each epoch.
        keep_checkpoints: How many moments of training to keep besides the last, evenly spread over
            the epochs, for what looks at a run over time; 0 keeps none.
        logger: One or several loggers of Lightning beside TensorBoard: names such as ``"csv"``,
            ``"wandb"`` and ``"mlflow"``, places such as ``"my_file.py:name"``, or objects. See
            :class:`semaug.runs.loggers.RunLogger`.
        fsdp: Whether processes share out parameters, gradients and what the optimizer remembers;
            each has all of them otherwise.
        trust_code: Whether code that is kept in a run folder may run where the file it was
            copied from has changed, or is gone.
    """

    data_root: Path | None = None
    device: str = "auto"
    threads: int | None = None
    workers: int | None = None
    checkpoint_seconds: float = 300.0
    keep_checkpoints: int = 0
    logger: Any = None
    fsdp: bool = False
    trust_code: bool = False
