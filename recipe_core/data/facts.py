"""The facts: what the scan measures of every image, each with its unit and what it means.

Facts about the file and its header are of the whole image. Facts about the picture are measured on the upright image at
reduced scale, so that they compare between photos of different sizes: tone and sharpness at a longer side of 384 to
767 px, colour and border at about 96 px.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa

from recipe_core.data import jpeg
from recipe_core.data.decode import Picture


@dataclass(frozen=True, slots=True)
class Fact:
    """One column of the catalog that the scan measures."""

    name: str
    type: pa.DataType
    unit: str
    about: str


FACTS = (
    Fact("readable", pa.bool_(), "", "the whole picture could be decoded"),
    Fact(
        "error_kind",
        pa.string(),
        "",
        "why not, in a word: missing, empty, truncated, not_an_image, too_large, broken, ...",
    ),
    Fact("error", pa.string(), "", "why not, in a sentence"),
    Fact("width", pa.int32(), "px", "width, upright"),
    Fact("height", pa.int32(), "px", "height, upright"),
    Fact("aspect", pa.float32(), "", "width / height"),
    Fact("megapixels", pa.float32(), "MP", "width x height / 1,000,000"),
    Fact("file_bytes", pa.int64(), "bytes", "size of the file"),
    Fact("bits_per_pixel", pa.float32(), "bits", "size of the file / pixels: low means strongly compressed or empty"),
    Fact("jpeg_quality", pa.int8(), "1-100", "of a JPEG, the quality it was saved at, as libjpeg counts it"),
    Fact("format", pa.string(), "", "what the file is, whatever its name says"),
    Fact("extension", pa.string(), "", "what its name says, in lower case"),
    Fact("misnamed", pa.bool_(), "", "the extension names another format than the file has"),
    Fact("mode", pa.string(), "", "colour mode of the file, as Pillow names it: L, RGB, RGBA, P, CMYK, I;16, ..."),
    Fact("orientation", pa.int8(), "", "EXIF orientation, 1 to 8; honoured in what is shown and measured"),
    Fact("camera_make", pa.string(), "", "maker of the camera, from EXIF"),
    Fact("camera_model", pa.string(), "", "model of the camera, from EXIF"),
    Fact("captured_at", pa.timestamp("s"), "", "capture time, from EXIF"),
    Fact("brightness", pa.float32(), "0-255", "mean of the grey image"),
    Fact("contrast", pa.float32(), "0-128", "standard deviation of the grey image"),
    Fact("saturation", pa.float32(), "0-1", "mean HSV saturation"),
    Fact("colourfulness", pa.float32(), "0-~150", "Hasler and Süsstrunk's measure (2003)"),
    Fact(
        "sharpness",
        pa.float32(),
        "",
        "variance of the Laplacian of the grey image (Pech-Pacheco et al., 2000): low means blurred",
    ),
    Fact("entropy", pa.float32(), "bits", "Shannon entropy of the grey histogram, 0 to 8"),
    Fact("clipped", pa.float32(), "0-1", "share of pixels at pure black or pure white"),
    Fact("clipped_dark", pa.float32(), "0-1", "share of pixels at pure black"),
    Fact("clipped_bright", pa.float32(), "0-1", "share of pixels at pure white"),
    Fact("red", pa.float32(), "0-255", "mean of the red channel"),
    Fact("green", pa.float32(), "0-255", "mean of the green channel"),
    Fact("blue", pa.float32(), "0-255", "mean of the blue channel"),
    Fact("border_colour", pa.string(), "#rrggbb", "median colour of the outermost pixels"),
    Fact("border_spread", pa.float32(), "0-128", "standard deviation of the outermost pixels: 0 is an even frame"),
    Fact("byte_hash", pa.string(), "", "XXH3-128 of the file: equal for exact copies"),
    Fact("pixel_hash", pa.string(), "", "XXH3-128 of the decoded pixels (large JPEGs: at reduced scale)"),
    Fact("phash", pa.string(), "", "perceptual hash, equal to imagehash.phash"),
    Fact("dhash", pa.string(), "", "difference hash, equal to imagehash.dhash"),
    Fact("phash_turned", pa.list_(pa.string()), "", "phash of the eight flips and quarter turns"),
    Fact("dhash_turned", pa.list_(pa.string()), "", "dhash of the eight flips and quarter turns"),
)
EXTENSIONS = {
    "JPEG": {"jpg", "jpeg", "jpe", "jfif"},
    "PNG": {"png"},
    "WEBP": {"webp"},
    "GIF": {"gif"},
    "BMP": {"bmp", "dib"},
    "TIFF": {"tif", "tiff"},
    "AVIF": {"avif"},
}
COPIES = Fact("copies", pa.int64(), "", "samples of the dataset with exactly these bytes, this one included")
DECIDED = (
    Fact("decision", pa.string(), "", "what was decided and stands now: keep, exclude, relabel or not-a-problem"),
    Fact("new_label", pa.string(), "", "the label that was decided, in place of the given one"),
)
ABOUT = {fact.name: fact for fact in (*FACTS, COPIES, *DECIDED)}


def file_facts(key: str, data: bytes) -> dict:
    """What is known of a file before it is decoded."""
    return {"file_bytes": len(data), "extension": PurePosixPath(key).suffix.lower().lstrip(".") or None}


def header_facts(picture: Picture, data: bytes, extension: str | None) -> dict:
    """What the header says, sizes upright."""
    pixels = picture.width * picture.height
    return {
        "readable": picture.error is None,
        "error_kind": picture.error_kind,
        "error": picture.error,
        "width": picture.width,
        "height": picture.height,
        "aspect": picture.width / picture.height,
        "megapixels": pixels / 1e6,
        "bits_per_pixel": 8 * len(data) / pixels,
        "jpeg_quality": jpeg.quality(data) if picture.format == "JPEG" else None,
        "format": picture.format,
        "misnamed": extension is not None and extension not in EXTENSIONS[picture.format],
        "mode": picture.mode,
        "orientation": picture.orientation,
        "camera_make": picture.camera_make,
        "camera_model": picture.camera_model,
        "captured_at": picture.captured_at,
    }
