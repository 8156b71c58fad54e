"""Label images with {{ artifact }}: numpy, Pillow and onnxruntime, nothing else.

    python loader.py PHOTO...      the five most probable classes of each file
    python loader.py --check       run the parity pack beside this file

Written by mobilenets {{ version }} from the model's metadata. The contract, step by step: decode to {{ mode_name }}; turn upright
as EXIF says; lay transparent pixels on white; resize the centre square (below) with Pillow's antialiased
{{ interpolation }} filter; give the bytes to the file as they are: scaling and normalising lie inside it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent
ARTIFACT = HERE / {{ artifact | python }}
RESOLUTION = {{ resolution }}  # height and width that enter the network
SHORT_SIDE = {{ short_side }}  # what the image's short side would be resized to, before the centre is cut out
FILTER = Image.Resampling.{{ interpolation | upper }}
MODE = {{ mode | python }}
CLASSES = json.loads((HERE / "labels.json").read_text(encoding="utf-8"))


def decode(path):
    """An image file as uint8 h w c, upright."""
    image = Image.open(path)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("I", "I;16", "I;16B", "I;16L"):  # 16 bits to 8
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    if MODE != "RGBA" and image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.new("RGB", layer.size, "white")
        image.paste(layer, mask=layer.getchannel("A"))
    if MODE == "RGBA" and image.mode != "RGBA":
        raise ValueError(f"{path}: expected four channels, got {image.mode}")
    image = image if MODE == "RGBA" else image.convert("RGB").convert(MODE)
    return np.atleast_3d(np.asarray(image))


def square(image):
    """The centre square of an image, resized in one step from its exact place: uint8 r r c."""
    height, width, channels = image.shape
    if height == width == RESOLUTION == SHORT_SIDE:
        return image
    kept = min(height, width) * RESOLUTION / SHORT_SIDE  # side of the square in the image's own pixels
    left, top = (width - kept) / 2, (height - kept) / 2
    box = (max(left, 0.0), max(top, 0.0), min(left + kept, width), min(top + kept, height))
    planes = [image] if channels == 3 else [image[..., c] for c in range(channels)]
    resized = [
        np.asarray(Image.fromarray(np.ascontiguousarray(plane)).resize((RESOLUTION, RESOLUTION), FILTER, box=box))
        for plane in planes
    ]
    return resized[0] if channels == 3 else np.stack(resized, axis=2)


def session(threads=1):
    """The artifact, loaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(ARTIFACT), options, providers=["CPUExecutionProvider"])


def classify(model, pixels):
    """Probabilities of one square."""
    return model.run([{{ output | python }}], { {{- input | python }}: pixels[None]})[0][0]


def top(probabilities, count=5):
    """The most probable classes, best first; where images may have several, each has a probability of its own."""
    return [(CLASSES[i], float(probabilities[i])) for i in np.argsort(-probabilities, kind="stable")[:count]]


def check():
    """Compare every image of the parity pack, first its pixels, then its probabilities; True if all agree."""
    pack = json.loads((HERE / "parity" / "parity.json").read_text(encoding="utf-8"))
    model, good = session(), True
    for one in pack["images"]:
        pixels = square(decode(HERE / "parity" / one["file"]))
        expected = np.atleast_3d(np.asarray(Image.open(HERE / "parity" / one["square"])))
        off = int(np.abs(pixels.astype(int) - expected).max())
        difference = float(np.abs(classify(model, pixels) - np.array(one["probabilities"])).max())
        good &= off <= pack["pixel_tolerance"] and difference <= (
            pack["tolerance"] if off == 0 else one["tolerance_other_pixels"]
        )
        print(f"{one['file']}: pixels off by at most {off}, probabilities by {difference:.1e}")
    print("all agree" if good else "DISAGREES")
    return good


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if check() else 1)
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(f"usage: {Path(sys.argv[0]).name} PHOTO... | --check")
    loaded = session()
    for name in sys.argv[1:]:
        found = top(classify(loaded, square(decode(name))))
        print(f"{name}: " + ", ".join(f"{label} {score:.3f}" for label, score in found))
