"""What goes wrong while files are read, other than the files themselves. No torch here."""

# Ends the message on an image that cannot be read, for those who know better.
WHAT_TO_DO = "; copy or fetch the file again, or take it out of its folder"

_OF_TORCH = "DataLoader worker (pid"  # every report of a dead process has this


class LoadError(RuntimeError):
    """An epoch over files cannot go on: a process was killed, or its loader went elsewhere.

    Files that are missing or damaged raise ``OSError`` and ``ValueError``, which name them.
    """


def explain_worker_death(error: Exception) -> LoadError | None:
    """Say what to do, if an error is torch's report that a process was killed.

    A loader explains what it sees. But torch reports a death at once, from a signal handler,
    wherever the main thread is: mostly in the middle of a training step. A loop that catches
    ``RuntimeError`` around everything passes it through here.

    >>> error = RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")
    >>> str(explain_worker_death(error)).partition(",")[0]
    'Loader: a process that decodes images was killed'
    >>> explain_worker_death(RuntimeError("CUDA out of memory")) is None
    True

    Args:
        error: Of any kind.

    Returns:
        What to raise instead, from ``error``; ``error`` itself if it is that already; None if it
        is something else.
    """
    if _OF_TORCH not in str(error):
        return None
    return error if isinstance(error, LoadError) else killed(str(error))


def killed(report: str) -> LoadError:
    """Build the error for a dead process; ``report`` says how that was noticed."""
    return LoadError(
        "Loader: a process that decodes images was killed, for want of memory (also of /dev/shm; "
        "take fewer workers or smaller batches), or by a damaged file (`semaug data check`): "
        f"{report.strip()}"
    )
