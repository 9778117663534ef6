"""Stands in for sbatch, srun, sacct and scontrol: jobs are processes on this machine.

Run as: python fake_slurm.py COMMAND ARGUMENT..., by scripts that `install` writes. Everything
about jobs lies in the folder FAKE_SLURM: ID.state, ID.pid of the task, ID.requeue if asked for.
"""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

COMMANDS = ("sbatch", "srun", "sacct", "scontrol")


def install(folder, monkeypatch):
    """Put the commands on the path; ``folder`` is to keep what they know."""
    folder.mkdir()
    for name in COMMANDS:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        script.chmod(0o755)
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def sbatch(file):
    text = Path(file).read_text()
    if "--partition=nowhere" in text:
        sys.exit("sbatch: error: invalid partition specified: nowhere")
    number = str(1 + len(list(home().glob("*.sh"))))
    (home() / f"{number}.sh").write_text(text)
    array = re.search(r"--array=0-(\d+)%(\d+)", text)
    last, at_once = (int(array[1]), array[2]) if array else (0, "1")
    ids = [f"{number}_{place}" for place in range(last + 1)] if array else [number]
    for job in ids:
        write(job, "state", "PENDING")
    controller = [sys.executable, __file__, "control", at_once, *ids]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.Popen(controller, start_new_session=True, **quiet)
    print(f"Submitted batch job {number}")


def control(at_once, *ids):
    with ThreadPoolExecutor(int(at_once)) as pool:
        list(pool.map(run_job, ids))


def run_job(job):
    number, _, place = job.partition("_")
    variables = {"SLURM_JOB_ID": job, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}
    variables |= {f"SLURM_{name}": "0" for name in ("PROCID", "LOCALID", "NODEID")}
    variables["SLURM_JOB_NAME"] = "semaug"
    if place:
        variables |= {"SLURM_ARRAY_JOB_ID": number, "SLURM_ARRAY_TASK_ID": place}
    while True:
        write(job, "state", "RUNNING")
        code = subprocess.call(["bash", home() / f"{number}.sh"], env=os.environ | variables)
        if not (home() / f"{job}.requeue").exists():
            break
        (home() / f"{job}.requeue").unlink()
        write(job, "state", "REQUEUED")
    write(job, "state", "FAILED" if code else "COMPLETED")


def srun(*arguments):
    job = os.environ["SLURM_JOB_ID"]
    write(job, "pid", str(os.getpid()))
    start = arguments.index(sys.executable)
    options = dict(pairwise(arguments[: start + 1]))
    number, _, place = job.partition("_")
    for option, output in (("--output", 1), ("--error", 2)):
        path = options[option].replace("%j", job).replace("%A", number)
        path = path.replace("%a", place).replace("%t", "0")
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), output)
    os.execv(sys.executable, arguments[start:])


def sacct(*arguments):
    print("JobID|State|NodeList")
    for path in home().glob("*.state"):
        print(f"{path.stem}|{path.read_text()}|here")


def scontrol(what, job):
    write(job, what, "")


def home():
    return Path(os.environ["FAKE_SLURM"])


def write(job, what, text):
    (home() / f"{job}.{what}").write_text(text)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
