"""The cases of the reliability promise that training meets, through the command line, each with its exit code.

Numbers are those of the promise; `test_resume.py` has the cases of runs that go on.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.checkpoints import change_tensors
from tests.conftest import Ended
from tests.train.runs import Forks, Life, checkpoints, learnt, wait_for, weights
from tests.videos import write_text

Command = tuple[str, ...]
Run = Callable[..., Ended]


def said_well(life: Life | Ended) -> bool:
    """What was wrong and what to do, in the last lines; nothing that is for programmers."""
    lines = life.err.splitlines()
    errors = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    return (
        len(errors) == 1
        and lines[-1].startswith("hint: ")
        and lines[-1].endswith(".")
        and "internal" not in life.err
        and "Traceback" not in life.err
    )


# ---- what is asked for (cases 25, 28, 36-38, 44-45): exit 2, at once -------------------------------------------------


def one_class(folder: Path, videos: Path) -> Path:
    return Path(shutil.copytree(videos / "left", folder / "data" / "left")).parent


def empty(folder: Path, videos: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def empty_class(folder: Path, videos: Path) -> Path:
    data = Path(shutil.copytree(videos, folder / "data"))
    (data / "up").mkdir()
    return data


def single_videos(folder: Path, videos: Path) -> Path:
    for name in ("left", "right"):
        (folder / "data" / name).mkdir(parents=True)
        shutil.copy(next((videos / name).iterdir()), folder / "data" / name)
    return folder / "data"


def bad_list(folder: Path, videos: Path) -> Path:
    file = folder / "list.csv"
    file.write_text("path,label\nleft/01.mp4,0\n../../etc/passwd,1\nright/00.mp4,-3\n")
    return file


BAD_DATA: dict[str, tuple[Callable[[Path, Path], Path], list[str]]] = {
    "no such folder": (lambda folder, videos: folder / "nothing", ["no such file or folder", "nothing"]),
    "empty folder": (empty, ["holds no folders"]),
    "a single class": (one_class, ["has a single class, 'left'"]),
    "44 a class without videos": (empty_class, ["classes without videos: 'up'"]),
    "a video for each class": (single_videos, ["too few to hold 0.2 of them back", "data.validation_fraction to 0"]),
    "44-45 bad lines": (bad_list, ["3: '../../etc/passwd' leads out", "4: the label -3 is negative"]),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(case: str, tmp_path: Path, finetune: Command, videos: Path, videomae: Run) -> None:
    make, words = BAD_DATA[case]
    ended = videomae(*finetune[:3], "--data", make(tmp_path, videos), "-o", tmp_path / "run")
    assert ended.code == 2
    assert said_well(ended)
    assert all(word in ended.err for word in words)
    assert not (tmp_path / "run").exists()


LAUGHS = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: &d [*c, *c]\n" + "e: [*d, *d, *d, *d]\n" * 400

BAD_CONFIGS: dict[str, tuple[str, list[str]]] = {
    "36 bad YAML": ("optim: {lr: 1\nmodel: x\n", ["bad.yaml:2:"]),
    "36 a tag that runs code": ("run: !!python/object/apply:os.system [touch x]\n", ["bad.yaml:1:6"]),
    "37 unknown keys and wrong types, all at once": (
        "optim:\n  lrr: 1\n  epochs: many\n",
        ["bad.yaml:2:3", "optim.lr", "bad.yaml:3:11"],
    ),
    "38 billion laughs": (LAUGHS, ["bad.yaml"]),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_a_bad_configuration(
    case: str, tmp_path: Path, videos: Path, videomae: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, words = BAD_CONFIGS[case]
    Path("bad.yaml").write_text(text)
    ended = videomae("finetune", "-c", "bad.yaml", "--data", videos, "-o", "run")
    assert ended.code == 2
    assert "internal" not in ended.err
    assert all(word in ended.err for word in words), ended.err
    assert os.listdir() == ["bad.yaml"]


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_nothing_is_said(command: str, videos: Path, videomae: Run) -> None:
    ended = videomae(command)
    assert (ended.code, ended.err) == (
        2,
        "error: there are no videos to train on\nhint: Name a folder or a list with --data.\n",
    )
    ended = videomae(command, "--data", videos)
    assert (ended.code, ended.err) == (
        2,
        "error: there is no place for the trained model\nhint: Name a folder with -o.\n",
    )


def test_a_list_for_validation_that_is_not_there(finetune: Command, tmp_path: Path, videomae: Run) -> None:
    ended = videomae(*finetune, "-o", tmp_path / "run", "--validation", tmp_path / "nothing")
    assert ended.code == 2
    assert said_well(ended)


def test_a_stray_world_size(finetune: Command, tmp_path: Path, forks: Forks) -> None:
    life = forks.run(*finetune, "-o", tmp_path / "run", env={"WORLD_SIZE": "2"})
    assert life.code == 2
    assert "error: WORLD_SIZE is 2, and RANK, MASTER_ADDR, MASTER_PORT not set\n" in life.err
    assert said_well(life)


# ---- where it goes (cases 29, 30, 32, 33): exit 4 --------------------------------------------------------------------


def test_a_folder_that_cannot_be_made(finetune: Command, tmp_path: Path, videomae: Run) -> None:
    """Case 29: found before the model is made; nothing is said about one."""
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "run", Path("/proc/run")):
        ended = videomae(*finetune, "-o", place)
        assert ended.code == 4
        assert ended.err.startswith(f"error: cannot write to {place}: ")
        assert said_well(ended)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that is almost full with two checkpoints of the tiny model."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1100k", "none", str(disk)]
    if os.geteuid() or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk(disk: Path, forks: Forks, finetune: Command, finished: Path) -> None:
    """Case 30: the run stops, and goes on where there is room again."""
    life = forks.run(*finetune, "-o", disk / "run")
    assert life.code == 4
    assert "No space left on device" in life.err
    assert "--resume" in life.err
    assert said_well(life)
    assert [path.name for path in (disk / "run" / "checkpoints").iterdir()] == ["step-00000001"]
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    life = forks.run("finetune", "-o", disk / "run", "--resume")
    assert life.code == 0
    assert "resumed at step 1 of 8" in life.err
    assert weights(disk / "run") == weights(finished)
    assert learnt(disk / "run") == learnt(finished)


def test_a_disk_that_cannot_be_written(disk: Path, finetune: Command, videomae: Run) -> None:
    """Case 29."""
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    ended = videomae(*finetune, "-o", disk)
    assert ended.code == 4
    assert ended.err == f"error: cannot write to {disk}: Read-only file system\nhint: Choose another folder with -o.\n"


def test_two_runs_in_one_folder(forks: Forks, finetune: Command, finished: Path, tmp_path: Path, videomae: Run) -> None:
    """Case 32; the lock goes with its process (33), as do those of all runs that `test_resume.py` kills."""
    folder, seconds = tmp_path / "run", []

    def run_another(pid: int) -> None:
        wait_for(lambda: checkpoints(folder))
        os.kill(pid, signal.SIGSTOP)
        seconds.append(videomae("finetune", "-o", folder, "--resume"))
        os.kill(pid, signal.SIGCONT)

    assert forks.run(*finetune, "-o", folder, when=run_another).code == 0
    (second,) = seconds
    assert (second.code, second.err) == (
        4,
        f"error: another run writes to {folder}\nhint: Wait for it, or choose another -o.\n",
    )
    assert weights(folder) == weights(finished)


# ---- memory and processes (cases 55, 56): exit 4 ---------------------------------------------------------------------


def allow(more_bytes: int) -> Callable[[int], None]:
    """Limits the memory that a process may take to what it has, and so much more."""

    def limit(pid: int) -> None:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + more_bytes
        resource.prlimit(pid, resource.RLIMIT_AS, (size, size))

    return limit


def test_out_of_memory_in_a_step(forks: Forks, finetune: Command, tmp_path: Path) -> None:
    """Case 55. Attention of 4608 tokens, by hand, asks for half a gigabyte at once."""
    large = ("model.attention=eager", "model.image_size=192", "model.num_frames=64")
    settings = [word for setting in large for word in ("--set", setting)]
    life = forks.run(*finetune, *settings, "-o", tmp_path / "run", when=allow(300 * 2**20))
    assert life.code == 4
    assert life.err.endswith(
        "error: out of memory on cpu in step 0\n"
        "hint: Lower optim.micro_batch (it is 2): more micro-batches make the same step.\n"
    )


def test_out_of_memory_for_the_model(forks: Forks, finetune: Command, tmp_path: Path) -> None:
    large = ("model.hidden_size=3072", "model.intermediate_size=12288")
    settings = [word for setting in large for word in ("--set", setting)]
    life = forks.run(*finetune, *settings, "-o", tmp_path / "run", when=allow(300 * 2**20))
    assert life.code == 4
    assert "error: out of memory on cpu\nhint: Lower optim.micro_batch (it is 2), or use a smaller model.\n" in life.err


def children(pid: int) -> list[int]:
    """The processes that one started."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def test_a_worker_is_killed(forks: Forks, finetune: Command, finished: Path, tmp_path: Path) -> None:
    """Case 56."""
    folder = tmp_path / "run"

    def kill_worker(pid: int) -> None:
        wait_for(lambda: checkpoints(folder))
        for server in children(pid):  # which workers are forked from
            for worker in children(server):
                os.kill(worker, signal.SIGKILL)

    more = ("--set", "data.num_workers=1", "--set", "optim.epochs=100")
    life = forks.run(*finetune, *more, "-o", folder, when=kill_worker)
    assert life.code == 4
    assert "error: a process that reads videos was killed\n" in life.err
    assert "data.num_workers" in life.err
    assert said_well(life)


# ---- weights (cases 40, 43) ------------------------------------------------------------------------------------------


def test_a_checkpoint_that_is_not_there(finetune: Command, tmp_path: Path, videomae: Run) -> None:
    ended = videomae(*finetune, "-o", tmp_path / "run", "--init", tmp_path / "nothing")
    assert ended.code == 3
    assert said_well(ended)


def test_a_head_of_other_classes_is_replaced(
    forks: Forks, finetune: Command, videos: Path, finished: Path, tmp_path: Path
) -> None:
    """Case 43; and that of the same classes is carried over."""
    data = Path(shutil.copytree(videos, tmp_path / "data"))
    for source, name in (("left", "up"), ("right", "down")):
        (data / source).rename(data / name)
    life = forks.run(*finetune, "--data", data, "-o", tmp_path / "others", "--init", finished)
    assert life.code == 0
    assert "its classifier of 2 classes is replaced by a new one of 2\n" in life.err
    life = forks.run(*finetune, "-o", tmp_path / "same", "--init", finished)
    assert life.code == 0
    assert "its classifier is carried over: the 2 classes are the same\n" in life.err


# ---- divergence (case 58): exit 5 ------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_rate_that_is_far_too_high(precision: str, forks: Forks, finetune: Command, tmp_path: Path) -> None:
    """After three bad steps in a row, which is more than an epoch has; the state is saved."""
    settings = ("--set", "optim.lr=1e30", "--set", "optim.clip_grad=null", "--set", f"optim.precision={precision}")
    life = forks.run(*finetune, *settings, "-o", tmp_path / "run")
    assert life.code == 5
    assert life.err.count("the step is skipped") == 3
    assert "the loss was not finite for 3 steps in a row, up to step 4" in life.err
    assert said_well(life)
    assert checkpoints(tmp_path / "run")[-1].name == "step-00000004"
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_weights_that_overflow(forks: Forks, finetune: Command, finished: Path, tmp_path: Path) -> None:
    """From the first step on: nothing is learnt, and nothing is said to be."""
    start = Path(shutil.copytree(finished, tmp_path / "start"))
    change_tensors(start, lambda tensors: [tensor.fill_(1e38) for tensor in tensors.values() if tensor.ndim > 1])
    life = forks.run(*finetune, "-o", tmp_path / "run", "--init", start, "--set", "optim.max_bad_steps=0")
    assert life.code == 5
    assert "the loss was not finite for 1 steps in a row, up to step 1" in life.err
    assert said_well(life)


# ---- videos that cannot be read (case 65) ----------------------------------------------------------------------------


@pytest.fixture
def spoilt(videos: Path, tmp_path: Path) -> Path:
    """Four of the twelve videos are text."""
    data = Path(shutil.copytree(videos, tmp_path / "data"))
    for path in [*sorted(data.glob("left/*"))[:2], *sorted(data.glob("right/*"))[:2]]:
        write_text(path)
    return data


ALL = ("--set", "data.validation_fraction=0")


def test_too_many_bad_videos(spoilt: Path, forks: Forks, finetune: Command, tmp_path: Path) -> None:
    """Named, counted once each; with a higher limit the run goes on."""
    folder = tmp_path / "run"
    life = forks.run(*finetune, "--data", spoilt, "-o", folder, *ALL, "--set", "data.max_bad=3")
    assert life.code == 1
    assert life.err.count("warning: passed over: ") == 4
    assert "error: 4 of 12 videos cannot be read, data.max_bad is 3:\n" in life.err
    named = life.err.partition("error: ")[2]
    assert all(str(path) in named for path in spoilt.rglob("*") if path.is_file() and path.stat().st_size == 1050)
    assert said_well(life)
    life = forks.run("finetune", "-o", folder, "--resume", "--set", "data.max_bad=4")
    assert life.code == 0
    assert "resumed at step" in life.err


@pytest.mark.parametrize("command", ["finetune", "pretrain"])
def test_a_step_in_which_nothing_can_be_read(command: str, spoilt: Path, forks: Forks, tmp_path: Path) -> None:
    """One video at a time: four steps have none."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "model: {image_size: 32, num_frames: 4, hidden_size: 24, num_hidden_layers: 1, num_attention_heads: 3,\n"
        "        intermediate_size: 40, decoder_hidden_size: 24, decoder_num_hidden_layers: 1,\n"
        "        decoder_num_attention_heads: 3, decoder_intermediate_size: 40}\n"
        "data: {num_workers: 0, validation_fraction: 0.0}\n"
        "optim: {batch_size: 1, micro_batch: 1, epochs: 1, warmup_epochs: 0}\n"
        "run: {log_steps: 1}\n"
    )
    life = forks.run(command, "-c", recipe, "--data", spoilt, "-o", tmp_path / "run", "--device", "cpu")
    assert life.code == 0
    assert life.err.count("warning: passed over: ") == 4
    assert sum(row[2] is None for row in learnt(tmp_path / "run")) == 4  # no loss
    for path in spoilt.rglob("*.mp4"):
        write_text(path)
    life = forks.run(command, "-c", recipe, "--data", spoilt, "-o", tmp_path / "none", "--device", "cpu")
    assert life.code == 1
    assert "error: 12 of 12 videos cannot be read, data.max_bad is 100:\n" in life.err


# ---- who listens (case 31) -------------------------------------------------------------------------------------------


def test_nobody_listens(finetune: Command, finished: Path, tmp_path: Path) -> None:
    line = f"exec {sys.executable} -m videomae_cli {' '.join(finetune)} -o {tmp_path / 'run'} >&- 2>&-"
    assert subprocess.run(["bash", "-c", line], check=False).returncode == 0
    assert weights(tmp_path / "run") == weights(finished)


# ---- checkpoints that stay -------------------------------------------------------------------------------------------


def test_as_many_checkpoints_as_are_asked_for(forks: Forks, finetune: Command, finished: Path, tmp_path: Path) -> None:
    """The newest, and the best."""
    best = checkpoints(finished)[0].name
    assert best < "step-00000005"
    assert [path.name for path in checkpoints(finished)] == [best, "step-00000007", "step-00000008"]
    assert forks.run(*finetune, "-o", tmp_path / "run", "--set", "run.keep_checkpoints=3").code == 0
    assert [path.name for path in checkpoints(tmp_path / "run")] == [best, *(f"step-{k:08d}" for k in (6, 7, 8))]
