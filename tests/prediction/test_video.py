"""Videos in, annotated videos out."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from making import pixels
from mobilenets.cli import _run
from mobilenets.errors import MissingExtraError, MisuseError
from mobilenets.prediction import is_video, predict, predict_videos


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine frames of 97 x 65 pixels at 12 frames a second, the fifth a longer one."""
    av = pytest.importorskip("av", reason="PyAV is not installed")
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 97, 65, "yuv420p"
        for i, image in enumerate(pixels(9, 97)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:65]), format="rgb24")
            frame.pts = i if i < 5 else i + 6
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def frames(path: Path) -> tuple[list[np.ndarray], list[float]]:
    import av

    with av.open(str(path)) as container:
        found = [(frame.to_ndarray(format="rgb24"), frame.time) for frame in container.decode(video=0)]
    return [each for each, _ in found], [at for _, at in found]


def test_every_frame_is_drawn_at_its_time(detector: Any, clip: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int | None, float]] = []
    (video,) = predict_videos(
        detector.memory, [clip], tmp_path, score=0.3, top=3, threads=1, on_progress=lambda *n: told.append(n)
    )
    assert video.written == tmp_path / "clip.mkv.mp4" and video.error is None
    assert (video.frames, len(told), told[-1][0]) == (9, 9, 9)
    assert video.frames_per_s > 0 and all(speed > 0 for _, _, speed in told)
    before, after = frames(clip), frames(video.written)
    assert len(after[0]) == 9
    assert after[0][0].shape == (64, 96, 3), "H.264 has even sides"
    assert np.array(after[1]) - after[1][0] == pytest.approx(np.array(before[1]) - before[1][0], abs=0.01)
    moved = np.abs(after[0][3].astype(int) - before[0][3][:64, :96].astype(int)).max(2)
    assert 0.01 < (moved > 60).mean() < 0.9, "boxes are drawn, the rest stays"


def test_every_frame_of_masks_has_the_same_legend(segmenter: Any, clip: Path, tmp_path: Path) -> None:
    (video,) = predict_videos(segmenter.memory, [clip], tmp_path, threads=1)
    assert video.written is not None
    found = frames(video.written)[0]
    assert {each.shape for each in found} == {found[0].shape} and found[0].shape[0] > 66
    strips = [each[66:].astype(int) for each in found]
    assert max(np.abs(strip - strips[0]).mean() for strip in strips) < 8


def test_a_broken_video_is_an_entry(detector: Any, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "text.mp4").write_text("no video")
    (tmp_path / "in" / "empty.mp4").write_bytes(b"")
    broken = [tmp_path / "in" / name for name in ("text.mp4", "empty.mp4")]
    found = predict_videos(detector.memory, [*broken, clip], tmp_path / "out", threads=1)
    assert [each.error is None for each in found] == [False, False, True]
    assert "text.mp4: not a video that can be read" in str(found[0].error)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["clip.mkv.mp4"]
    assert found[0].to_dict()["frames_per_s"] == 0.0


def test_an_interrupt_leaves_nothing(detector: Any, clip: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int | None, speed: float) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        predict_videos(detector.memory, [clip], tmp_path, threads=1, on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_video_is_never_written_over(detector: Any, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"mine")
    with pytest.raises(MisuseError, match=r"clip\.mp4 is one of the videos"):
        predict_videos(detector.memory, [tmp_path / "clip.mp4"], tmp_path, threads=1)
    assert (tmp_path / "clip.mp4").read_bytes() == b"mine"
    with pytest.raises(MisuseError, match="no such video"):
        predict_videos(detector.memory, [tmp_path / "gone.mp4"], tmp_path / "out", threads=1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "clip.mp4").write_bytes(b"")
    with pytest.raises(MisuseError, match="two videos would be written to"):
        predict_videos(detector.memory, [tmp_path / "clip.mp4", tmp_path / "other" / "clip.mp4"], tmp_path / "out")


def test_the_command_line(
    detector: Any, clip: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(detector.artifact), str(clip), "--threads", "1"]
    rows = tmp_path / "rows" / "clip.csv"
    assert _run([*command, "--out", str(rows)]) == 0, "without --draw the frames are images"
    listed = {line.partition(",")[0] for line in rows.read_text().splitlines()[1:]}
    assert listed <= {f"{clip}/{i}" for i in range(9)} and listed
    shutil.rmtree(rows.parent)
    (tmp_path / "cut.mp4").write_text("no video")
    assert _run(["predict", str(detector.artifact), str(tmp_path / "cut.mp4"), "--csv"]) == 1
    assert "cut.mp4: not a video that can be read" in capsys.readouterr().out
    (tmp_path / "cut.mp4").unlink()
    assert _run([*command, str(photos / "a.png"), "--draw", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "9 frames in" in out and "frames/s" in out and "a.png" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "clip.mkv.mp4"]


def test_without_pyav_the_pip_line(detector: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"videos needs av.*pip install 'mobilenets\[video\]'"):
        predict_videos(detector.memory, ["a.mp4"], tmp_path, threads=1)


def test_names_of_videos(photos: Path, detector: Any) -> None:
    assert is_video("a/B.MOV") and is_video(Path("a.mp4")) and not is_video("a.jpg") and not is_video("mp4")
    assert predict(detector.memory, photos / "a.png", threads=1)[0].error is None
