"""Run commands of semaug, each in a fork of this process, which has imported it already.

A command sees what it would see in a process of its own: no file of a user was loaded before it.
Standard input has a line of JSON for each: its arguments, or the name of a script; the folder it
works in, the file that gets what it prints, and at which save of a checkpoint it kills itself, 0
for none. The answer is its exit status, negative if a signal ended it.
"""

import gc
import importlib
import json
import multiprocessing
import os
import runpy
import signal
import sys
import traceback

from semaug import cli
from semaug.cli.group import COMMANDS, load_command
from semaug.engine import check
from semaug.engine.session import Session

for command in COMMANDS:
    load_command(command)
importlib.import_module("torch.utils.tensorboard")
gc.freeze()  # so that forks share what was imported


# As fresh as a new process, for nothing was trained in this one.
check._processes = multiprocessing.get_context("fork")


def die_at(last):
    saves = 0
    save = Session.save

    def save_or_die(session, *arguments):
        nonlocal saves
        saves += 1
        if saves == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return save(session, *arguments)

    Session.save = save_or_die


def work(arguments, folder, output, die_at_save):
    os.chdir(folder)
    with open(output, "wb") as file:  # noqa: PTH123
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if die_at_save:
        die_at(die_at_save)
    sys.argv = ["semaug", *arguments]
    try:
        if arguments[0].endswith(".py"):
            sys.path.insert(0, folder)
            runpy.run_path(arguments[0], run_name="__main__")
        else:
            cli.main()
    except SystemExit as exit:
        return exit.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = work(*json.loads(line))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
