"""What it costs to examine and clean one picture of 40 kB: `python -m bench.pictures`. `make uploads` prints the same line."""

import io
import statistics
import time

from PIL import Image

from beat_actors.media.content import examined
from beat_actors.media.picture import Picture

OCTETS = 40_000
PICTURES = 200
ROUNDS = 25


def jpeg(octets: int = OCTETS) -> bytes:
    """A noisy JPEG with EXIF of about that many bytes: of all pictures of its size it has the most bytes FF."""
    data = Image.Exif()
    data[0x010E] = "a description"
    data.get_ifd(0x8825)[2] = (49.0, 16.0, 57.0)
    side = round((octets / 0.44) ** 0.5)  # at this quality, noise takes 0.44 bytes a pixel
    into = io.BytesIO()
    Image.effect_noise((side, side), 80).convert("RGB").save(into, "JPEG", quality=50, exif=data.tobytes())
    return into.getvalue()


def cleaning(data: bytes) -> float:
    """Microseconds of CPU for one picture: the median of some rounds."""
    assert isinstance(examined(data), Picture)
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(PICTURES):
            examined(data)
        taken.append((time.process_time() - began) / PICTURES * 1e6)
    return statistics.median(taken)


def line() -> str:
    data = jpeg()
    return f"cleaning a JPEG of {len(data) / 1000:.0f} kB with EXIF: {cleaning(data):.0f} µs of CPU"


if __name__ == "__main__":
    print(line())
