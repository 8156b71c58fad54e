"""Everything a user can get wrong: one clear line, the right exit code, nothing half-written, no traceback."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image

from mobilenets.cli import _run

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], latency_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("MOBILENETS_CACHE", str(latency_cache))

    def call(*arguments: object) -> tuple[int, str, str]:
        code = _run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call


def photo(path: Path, size: int = 40) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((size, size), 50).convert("RGB").save(path)
    return path


def classes(root: Path, counts: Sequence[int]) -> Path:
    for i, count in enumerate(counts):
        for j in range(count):
            photo(root / f"class{i}" / f"{j}.jpg")
    return root


def test_empty_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    code, out, err = run("fit", tmp_path / "photos", "--budget", "5ms", "--out", tmp_path / "run")
    assert (code, out) == (2, "")
    assert "photos" in err
    assert not (tmp_path / "run").exists()


def test_missing_folder(run: Run, tmp_path: Path) -> None:
    code, _, err = run("train", "mobilenet_v1", tmp_path / "nowhere")
    assert code == 2 and "nowhere" in err


def test_one_class(run: Run, tmp_path: Path) -> None:
    code, _, err = run("fit", classes(tmp_path / "photos", [5]), "--budget", "5ms")
    assert code == 2 and "class" in err


def test_class_with_one_image(run: Run, tmp_path: Path) -> None:
    code, _, err = run("fit", classes(tmp_path / "photos", [5, 1]), "--budget", "5ms")
    assert code == 1 and "class1" in err


def test_archive_says_unpack(run: Run, tmp_path: Path) -> None:
    (tmp_path / "photos.tar.xz").write_bytes(b"x")
    code, _, err = run("fit", tmp_path / "photos.tar.xz", "--budget", "5ms")
    assert code == 2 and "tar" in err


def test_too_many_unreadable(run: Run, tmp_path: Path) -> None:
    root = classes(tmp_path / "photos", [10, 10])
    for i in range(4):
        (root / "class0" / f"text{i}.jpg").write_text("not a picture")
    out = tmp_path / "run"
    code, _, err = run("train", "mobilenet_v3_small", root, "--resolution", 32, "--epochs", 1, "--out", out)
    assert code == 1 and "text" in err and "%" in err


def test_few_unreadable_are_skipped_and_named(run: Run, tmp_path: Path) -> None:
    root = classes(tmp_path / "photos", [30, 30])
    cut = root / "class0" / "3.jpg"
    cut.write_bytes(cut.read_bytes()[:200])
    out = tmp_path / "run"
    options = ("--resolution", 32, "--width", 0.25, "--epochs", 1, "--out", out)
    code, _, err = run("train", "mobilenet_v3_small", root, *options)
    assert code == 0 and "3.jpg" in err.replace("\n", "")
    assert (out / "best.safetensors").is_file()


def test_predict_names_unreadable_files_and_goes_on(run: Run, tmp_path: Path) -> None:
    import mobilenets as mn

    model = mn.build(mn.scale(mn.network("mobilenet_v3_small"), 0.25, 32), ["a", "b"])
    mn.save(model, tmp_path / "m.safetensors")
    photo(tmp_path / "photos" / "good.jpg")
    (tmp_path / "photos" / "bad.jpg").write_text("hello")
    code, out, _ = run("predict", tmp_path / "m.safetensors", tmp_path / "photos", "--json")
    assert code == 0 and '"error": null' in out and "bad.jpg" in out
    code, _, _ = run("predict", tmp_path / "m.safetensors", tmp_path / "photos" / "bad.jpg")
    assert code == 1
    code, _, err = run("predict", tmp_path / "m.safetensors", tmp_path / "photos" / "none.jpg")
    assert code == 2 and "none.jpg" in err
    code, _, err = run("predict", tmp_path / "m.safetensors")
    assert code == 2 and "no images" in err


def test_unknown_network_offers_three(run: Run, tmp_path: Path) -> None:
    code, _, err = run("train", "mobilenet_v3_smal", tmp_path)
    assert code == 2
    assert err.count("mobilenet_v") >= 3 and "mobilenet_v3_small" in err


@pytest.mark.parametrize("budget", ["5", "5parsecs", "fast", "0ms"])
def test_budget_that_cannot_be_read(run: Run, small_scenes: Path, budget: str) -> None:
    code, _, err = run("fit", small_scenes, "--budget", budget)
    assert code == 2
    assert "5ms" in err or "above 0" in err


def test_budget_that_nothing_meets(run: Run, small_scenes: Path, tmp_path: Path) -> None:
    code, _, err = run("fit", small_scenes, "--budget", "10KB", "--out", tmp_path / "run")
    assert code == 1 and "nothing fits" in err and "--budget" in err
    assert not (tmp_path / "run").exists()


def test_fit_without_budget_and_misspelt_options(run: Run, small_scenes: Path) -> None:
    code, _, err = run("fit", small_scenes)
    assert code == 2 and "budget" in err
    code, _, err = run("fit", small_scenes, "--bugdet", "5ms")
    assert code == 2 and "bugdet" in err
    code, _, err = run("train", "mobilenet_v1", small_scenes, "--widht", "0.5")
    assert code == 2 and "--width" in err
    code, _, err = run("fti", small_scenes)
    assert code == 2 and "fit" in err


@pytest.mark.parametrize(
    "options",
    [("--seed", -1), ("--epochs", 0), ("--batch-size", 1), ("--minutes", -1), ("--epochs", 1, "--minutes", 1)],
)
def test_options_out_of_range(run: Run, small_scenes: Path, tmp_path: Path, options: tuple[object, ...]) -> None:
    code, _, _ = run("train", "mobilenet_v1", small_scenes, *options, "--out", tmp_path / "run")
    assert code == 2
    assert not (tmp_path / "run").exists()


def test_names_that_look_like_markup(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mobilenets as mn

    monkeypatch.chdir(tmp_path)  # short names: long ones are folded

    mn.save(mn.build(mn.scale(mn.network("mobilenet_v1"), 0.25, 32), ["[/a]", "[bold]b"]), tmp_path / "m.safetensors")
    photo(tmp_path / "y[bold].jpg")
    (tmp_path / "z.jpg").write_text("[/foo] is no picture")
    code, out, _ = run("predict", "m.safetensors", ".", "--threads", 1)
    assert code == 0 and "y[bold].jpg" in out
    code, _, err = run("predict", tmp_path / "m.safetensors", tmp_path, "--threads", -1)
    assert code == 2 and "threads" in err


def test_existing_run_folder(run: Run, small_scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    code, _, err = run("fit", small_scenes, "--budget", "5ms", "--out", tmp_path / "run")
    assert code == 2 and "--overwrite" in err
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_models_that_are_none(run: Run, small_scenes: Path, tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(b"x")
    (tmp_path / "m.onnx").write_bytes(b"x")
    (tmp_path / "m.safetensors").write_bytes(b"x" * 40)
    for name, expected in (("m.pth", 2), ("m.onnx", 1), ("m.safetensors", 1), ("none.onnx", 2), ("m.h5", 2)):
        code, _, err = run("evaluate", tmp_path / name, small_scenes)
        assert code == expected, err
        assert name in err


def test_a_file_that_grows_too_large_is_not_left_half_written(tmp_path: Path) -> None:
    """A limit on file sizes stands for a full disk: the system refuses a write in the middle of a file."""
    code = (
        "import mobilenets as mn\n"
        "from mobilenets.cli import _run\n"
        "mn.save(mn.build('mobilenet_v3_small', 10), 'm.safetensors')\n"
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "raise SystemExit(_run(['export', 'm.safetensors', 'out/m.onnx']))\n"
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_no_space_left(tmp_path: Path, small_scenes: Path, run: Run) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this machine does not allow mounting a small disk")
    try:
        options = ("--resolution", 32, "--epochs", 1, "--out", disk / "run")
        code, _, err = run("train", "mobilenet_v3_small", small_scenes, *options)
        assert code == 1 and "no space left" in err
        assert not list(disk.rglob("*.safetensors")) and not list(disk.rglob(".*"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("phase", "more", "minutes"),
    [
        pytest.param("decoding train", 0.0, "0.2", marks=pytest.mark.slow),
        ("training mobilenet", 0.5, "0.3"),
    ],
)
def test_ctrl_c(phase: str, more: float, minutes: str, small_scenes: Path, tmp_path: Path, latency_cache: Path) -> None:
    """SIGINT while a fit works: one line that says how to go on, exit code 130, and going on works."""
    out = tmp_path / "run"
    command = [sys.executable, "-m", "mobilenets", "fit", str(small_scenes), "--budget", "3ms", "--budget", "3MMACs"]
    command += ["--minutes", minutes, "--out", str(out)]
    environment = {**os.environ, "MOBILENETS_CACHE": str(latency_cache), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # a shell starts background jobs with Ctrl-C ignored, and children inherit it: these tests may run in one
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(phase):
                break
        time.sleep(more)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(timeout=30) == 130, rest
    assert "Traceback" not in rest
    assert "--resume" in rest
    assert not (out / "report.json").exists() and not (out / "model.onnx").exists()
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (out / "report.json").is_file()


def test_adapt_says_what_is_wrong(run: Run, small_scenes: Path, tmp_path: Path) -> None:
    code, _, err = run("adapt", tmp_path / "none.safetensors", small_scenes, "--budget", "4ms")
    assert code == 2 and "no such checkpoint" in err
    code, _, err = run("adapt", tmp_path / "none.safetensors", small_scenes)
    assert code == 2 and "budget" in err
    code, _, err = run("adapt", tmp_path / "none.safetensors", small_scenes, "--budget", "4 bananas")
    assert code == 2 and "4 bananas" in err
    code, _, err = run("adapt", tmp_path / "none.safetensors", small_scenes, "--budget", "4ms", "--rule", "best")
    assert code == 2 and "ratio" in err
