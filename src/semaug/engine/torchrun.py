"""What torchrun tells the processes that it starts. No torch here: the command line asks too."""

import os


def num_processes() -> int:
    """Return how many processes train together; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_rank() -> int:
    """Return which of them this is."""
    return int(os.environ.get("RANK", "0"))


def is_first_process() -> bool:
    """Whether this process writes files and shows progress."""
    return process_rank() == 0
