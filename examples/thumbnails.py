"""Make a thumbnail of each photo in a folder, and a table of their sizes.

It shows a source whose cursor is a file's name, a handler that writes a file and may run twice, and results as CSV.

Needs:   pip install pillow
Run:     tm-run examples/thumbnails.py 4 --results sizes.csv   (or with folder=~/Pictures, size=256, photos=50)
Kill:    Ctrl-C, or kill -9 any of its processes at any moment
Resume:  the same command again
Verify:  python examples/thumbnails.py --verify sizes.csv

If there is no folder of this name, the first run paints some photos. Thumbnails go into its folder `thumbnails`.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from taskmaster import Job

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


def get_jobs(last: str = "", folder: Path = Path("photos"), size: int = 128, photos: int = 300) -> Iterator[Job]:
    folder = folder.absolute()
    if not last and not folder.exists():
        paint(folder, photos)
    (folder / "thumbnails").mkdir(exist_ok=True)
    # The names of a million photos take 100 MB, so a larger tree is walked folder by folder.
    for name in sorted(os.listdir(folder)):
        if name > last and name.lower().endswith(SUFFIXES):
            yield Job((str(folder / name), size), cursor=name)


def handle_job(job: tuple[str, int]) -> dict[str, Any]:
    photo, size = Path(job[0]), job[1]
    thumbnail = photo.parent / "thumbnails" / f"{photo.name}.jpg"
    with Image.open(photo) as image:
        width, height = image.size
        image.thumbnail((size, size))
        save(image.convert("RGB"), thumbnail)
        return {"photo": photo.name, "width": width, "height": height, "thumbnail": thumbnail.name,
                "thumbnail_width": image.width, "thumbnail_height": image.height}


def save(image: Image.Image, path: Path) -> None:
    """Under another name first: whoever looks, at any moment, finds a whole picture or none."""
    unfinished = path.with_suffix(f".{os.getpid()}.tmp")
    image.save(unfinished, "JPEG")
    os.replace(unfinished, path)


def paint(folder: Path, photos: int) -> None:
    print(f"painting {photos} photos in {folder}", file=sys.stderr)
    unfinished = folder.with_name(f"{folder.name}.tmp")
    unfinished.mkdir(exist_ok=True)
    for number in range(photos):
        width, height = 320 + number * 37 % 640, 240 + number * 53 % 480
        colour = (number * 7 % 256, number * 11 % 256, number * 13 % 256)
        Image.new("RGB", (width, height), colour).save(unfinished / f"photo{number:05}.jpg")
    unfinished.rename(folder)


def verify(table: Path, folder: Path) -> bool:
    """Check that each photo has a row, and a thumbnail of the size that the row says."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    photos = sorted(name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES))
    right = sum(is_right(row, folder) for row in rows)
    print(f"{table}: {len(photos)} photos, {len(rows)} rows, {right} of them correct")
    return [row["photo"] for row in rows] == photos and right == len(rows)


def is_right(row: dict[str, str], folder: Path) -> bool:
    with Image.open(folder / row["photo"]) as photo, Image.open(folder / "thumbnails" / row["thumbnail"]) as small:
        return (photo.size == (int(row["width"]), int(row["height"]))
                and small.size == (int(row["thumbnail_width"]), int(row["thumbnail_height"])))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Check the thumbnails that tm-run has made.")
    parser.add_argument("--verify", type=Path, required=True, metavar="FILE")
    parser.add_argument("--folder", type=Path, default=Path("photos"))
    options = parser.parse_args()
    sys.exit(0 if verify(options.verify, options.folder) else 1)
