import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features

from mobilenets.data import decode as room
from mobilenets.data.decode import EXTENSIONS, decode, find_images, image_size, load_image, resize_crop
from mobilenets.errors import DataError, MisuseError
from mobilenets.preprocessing import Preprocessing


@pytest.fixture
def photo() -> Image.Image:
    """Smooth, so that JPEG hardly changes it, and different at each corner."""
    y, x = np.mgrid[0:48, 0:80]
    return Image.fromarray(np.stack([x * 3, y * 5, 128 + 60 * np.sin(x / 9)], axis=-1).astype(np.uint8))


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def near(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.abs(a.astype(int) - b.astype(int)).max() <= tolerance


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "a.webp"])
def test_lossless_formats_come_back_exactly(tmp_path, photo, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    image = decode(save(tmp_path / name, photo, **options))
    assert np.array_equal(image, np.asarray(photo))
    assert image.flags.c_contiguous and image.flags.writeable


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 60}])
def test_jpeg_is_what_pillow_decodes(tmp_path, photo, options):
    path = save(tmp_path / "a.jpg", photo, **options)
    assert near(decode(path), np.asarray(Image.open(path)), 1)


def test_both_decoders_agree(tmp_path, photo):
    path = save(tmp_path / "a.jpg", photo)
    data = path.read_bytes()
    fast = room._turbo(data, path)
    assert fast is not None
    assert near(fast, room._pillow(data, path, room._rgb), 1)


def test_grey_and_cmyk_jpeg(tmp_path, photo):
    grey = decode(save(tmp_path / "grey.jpg", photo.convert("L"), quality=95))
    assert near(grey, np.asarray(photo.convert("L").convert("RGB")), 6)
    cmyk = decode(save(tmp_path / "cmyk.jpg", photo.convert("CMYK"), quality=95))
    assert near(cmyk, np.asarray(photo), 12)


@pytest.mark.skipif(not features.check("avif"), reason="Pillow was built without AVIF")
def test_avif(tmp_path, photo):
    assert near(decode(save(tmp_path / "a.avif", photo, quality=95)), np.asarray(photo), 30)


def test_first_frame_of_an_animation(tmp_path, photo):
    frames = [photo.convert("P"), Image.new("P", photo.size)]
    path = save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    assert near(decode(path), np.asarray(frames[0].convert("RGB")), 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation(tmp_path, photo, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a{suffix}", photo, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    assert near(decode(path), np.asarray(upright), 1)


def test_xmp_orientation(tmp_path, photo):
    path = save(tmp_path / "a.jpg", photo, xmp=b'<x:xmpmeta tiff:Orientation="6"/>')
    assert decode(path).shape == (80, 48, 3)


def test_damaged_exif_is_no_reason_to_refuse(tmp_path, photo):
    path = save(tmp_path / "a.jpg", photo, exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    assert decode(path).shape == (48, 80, 3)


def test_transparency_lies_on_white(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (200, 0, 0, 255)
    rgba[2:, :2] = (200, 0, 0, 102)
    image = decode(save(tmp_path / "a.png", Image.fromarray(rgba)))
    assert tuple(image[0, 0]) == (200, 0, 0)
    assert tuple(image[3, 0]) == (233, 153, 153)
    assert tuple(image[3, 3]) == (255, 255, 255)
    la = Image.fromarray(rgba).convert("LA")
    assert tuple(decode(save(tmp_path / "la.png", la))[3, 3]) == (255, 255, 255)


def test_palette_with_and_without_transparency(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert decode(save(tmp_path / "a.png", image)).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert decode(save(tmp_path / "b.png", image, transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_one_bit_and_transparent_colour(tmp_path):
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    assert decode(save(tmp_path / "a.png", image))[0, :, 0].tolist() == [0, 255]
    rgb = Image.new("RGB", (1, 1), (1, 2, 3))
    assert decode(save(tmp_path / "b.png", rgb, transparency=(1, 2, 3))).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_16_bits_are_scaled_not_clipped(tmp_path, suffix):
    values = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    image = decode(save(tmp_path / f"a{suffix}", Image.fromarray(values)))
    assert image[0, :, 0].tolist() == [0, 1, 128, 255]
    assert image.shape == (1, 4, 3)


def test_16_bit_colour_png(tmp_path):
    raw = b"\0" + np.array([65535, 32896, 0], ">u2").tobytes()
    (tmp_path / "a.png").write_bytes(png(1, 1, raw, depth=16, colour=2))
    assert near(decode(tmp_path / "a.png"), np.array([[[255, 128, 0]]], np.uint8), 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 128.0, 255.0], [0, 128, 255]), ([-1.0, 0.0, 3.0], [0, 64, 255])],
)
def test_floating_point(tmp_path, values, expected):
    path = save(tmp_path / "a.tif", Image.fromarray(np.array([values], np.float32)))
    assert decode(path)[0, :, 0].tolist() == expected


def test_32_bit_integers(tmp_path):
    path = save(tmp_path / "a.tif", Image.fromarray(np.array([[0, 65535]], np.int32)))
    assert decode(path)[0, :, 0].tolist() == [0, 255]
    path = save(tmp_path / "b.tif", Image.fromarray(np.array([[0, 1 << 20]], np.int32)))
    assert decode(path)[0, :, 0].tolist() == [0, 255]


def png(width: int, height: int, raw: bytes, depth: int = 8, colour: int = 2) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bomb_jpeg(photo: Image.Image) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG")
    data = bytearray(buffer.getvalue())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 60000, 60000)
    return bytes(data)


def refused(path: Path) -> str:
    with pytest.raises(DataError) as error:
        decode(path)
    assert str(error.value).startswith(f"{path}: ")
    return str(error.value)


def test_bombs_are_refused_before_decoding(tmp_path, photo):
    (tmp_path / "a.jpg").write_bytes(bomb_jpeg(photo))
    assert "decompression bomb: 60000x60000 pixels, limit 178,956,970 pixels." in refused(tmp_path / "a.jpg")
    (tmp_path / "a.png").write_bytes(png(60000, 60000, b""))
    assert "decompression bomb: 3,600,000,000 pixels, limit 178,956,970 pixels." in refused(tmp_path / "a.png")


def test_own_limit_holds_where_pillows_is_switched_off(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    (tmp_path / "a.png").write_bytes(png(60000, 60000, b""))
    assert "decompression bomb: 60000x60000 pixels" in refused(tmp_path / "a.png")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_truncated_jpeg(tmp_path, photo, part, options):
    path = save(tmp_path / "a.jpg", photo, **options)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    message = refused(path)
    assert "truncated JPEG: it ends after" in message or "damaged JPEG: its header" in message
    if part > 0.8:
        assert f"truncated JPEG: it ends after {int(len(data) * part):,} bytes." in message


def test_jpeg_without_its_last_bytes(tmp_path, photo):
    path = save(tmp_path / "a.jpg", photo)
    path.write_bytes(path.read_bytes()[:-2])
    assert "truncated JPEG" in refused(path)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".bmp", ".tif", ".webp", ".jpg"])
def test_any_cut_or_flipped_byte_is_an_image_or_a_data_error(tmp_path, photo, suffix):
    whole = save(tmp_path / f"a{suffix}", photo.resize((20, 12))).read_bytes()
    random = np.random.default_rng(0)
    broken = tmp_path / f"b{suffix}"
    for _ in range(60):
        data = bytearray(whole[: random.integers(1, len(whole) + 1)])
        data[random.integers(len(data))] = random.integers(256)
        broken.write_bytes(data)
        try:
            assert decode(broken).shape[2] == 3
        except DataError as error:
            assert str(broken) in str(error)


def test_what_is_no_image(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"hello, this is text")
    assert refused(path) == f"{path}: not an image: begins with b'hello, this is t'."
    path.write_bytes(b"")
    assert refused(path) == f"{path}: empty file (0 bytes), expected an image."
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0")
    assert "a HEIC image, which cannot be read: convert it" in refused(path)
    path.write_bytes(b"\x89PNG\r\n\x1a\n")
    assert "damaged PNG: its header" in refused(path)
    assert "cannot be read: No such file or directory." in refused(tmp_path / "absent.jpg")
    assert "cannot be read: Is a directory." in refused(tmp_path)


def test_postscript_is_not_opened(tmp_path, photo):
    assert "not an image: begins with b'%!PS" in refused(save(tmp_path / "a.eps", photo))


# ---------------------------------------------------------------------------------------------------


def test_resize_crop_equals_resizing_then_cropping(photo):
    image = np.asarray(photo)  # 80 x 48
    got = resize_crop(image, Preprocessing(resolution=24, crop=0.75))  # short side 32, long side 53.3
    resized = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR, box=(16, 0, 64, 48))
    assert near(got, np.asarray(resized)[4:28, 4:28], 1)


def test_resize_crop_of_odd_shapes():
    assert resize_crop(np.zeros((1, 900, 3), np.uint8), Preprocessing(64)).shape == (64, 64, 3)
    assert resize_crop(np.zeros((7, 5, 3), np.uint8), Preprocessing(32, crop=0.875)).shape == (32, 32, 3)
    same = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(resize_crop(same, Preprocessing(32)), same)


def test_resize_crop_is_centred():
    image = np.zeros((30, 60, 3), np.uint8)
    image[:, 15:45] = 255
    assert resize_crop(image, Preprocessing(30)).min() == 255


def test_load_image_and_size(tmp_path, photo):
    path = save(tmp_path / "a.png", photo)
    assert load_image(path, Preprocessing(16)).shape == (16, 16, 3)
    assert image_size(path) == (80, 48)
    path.write_bytes(b"text")
    with pytest.raises(DataError, match="not an image"):
        image_size(path)


def test_photos(shared):
    import tarfile

    path = shared / "data" / "photos_80.tar"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with tarfile.open(path) as tar:
        names = [m for m in tar.getmembers() if m.isfile() and m.name.endswith(".jpg")][:6]
        for member in names:
            data = tar.extractfile(member).read()
            expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
            assert near(room._turbo(data, Path(member.name)), expected, 2)


# ---------------------------------------------------------------------------------------------------


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def test_find_images(tmp_path, monkeypatch):
    touch(tmp_path, "b/10.jpg", "b/2.PNG", "b/deep/er/1.webp", "b/.hidden.jpg", "b/.git/1.jpg", "b/notes.txt", "c.jpg")
    found = [str(p.relative_to(tmp_path)) for p in find_images([tmp_path / "b"])]
    assert found == ["b/2.PNG", "b/10.jpg", "b/deep/er/1.webp"]
    assert find_images([tmp_path / "c.jpg", tmp_path])[0] == tmp_path / "c.jpg"
    assert len(find_images([tmp_path / "c.jpg", tmp_path])) == 4
    assert len(find_images([str(tmp_path / "**" / "*.jpg")])) == 2
    assert len(find_images([str(tmp_path / "*")])) == 4
    assert find_images([tmp_path / "b" / "notes.txt"]) == [tmp_path / "b" / "notes.txt"]
    monkeypatch.chdir(tmp_path)
    assert find_images(["c.jpg"]) == [Path("c.jpg")]


def test_find_images_says_what_it_found(tmp_path):
    touch(tmp_path, "a/1.txt", "a/2.txt", "a/b/3.csv")
    with pytest.raises(
        MisuseError, match=r"no images in this folder: found 2 \.txt, 1 \.csv, 1 folder; expected .*\.jpg"
    ):
        find_images([tmp_path / "a"])
    with pytest.raises(MisuseError, match=r"typo: no such file or folder\."):
        find_images([tmp_path / "typo"])
    with pytest.raises(MisuseError, match=r"no such file or folder \(.* exists, the rest does not\)"):
        find_images([tmp_path / "typo" / "1.jpg"])
    with pytest.raises(MisuseError, match="no images match: found 2 other paths"):
        find_images([str(tmp_path / "a" / "*.txt")])


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "back").symlink_to(tmp_path / "a")
    assert [p.name for p in find_images([tmp_path / "a"])] == ["1.jpg", "2.jpg"]


def test_extensions():
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"} <= EXTENSIONS


def test_no_torch():
    import subprocess

    modules = "mobilenets.data.decode, mobilenets.data.folder, mobilenets.data.cache"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
