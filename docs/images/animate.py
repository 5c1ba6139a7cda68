"""Makes an animated WebP of pictures. Reads lines `file<TAB>milliseconds` from stdin; equal neighbours become one frame.

animate.py OUTPUT < list
"""

import sys
from pathlib import Path

from PIL import Image


def main():
    frames, durations = [], []
    for line in sys.stdin:
        file, milliseconds = line.rstrip("\n").split("\t")
        picture = Image.open(file).convert("RGB")
        if frames and picture.tobytes() == frames[-1].tobytes():
            durations[-1] += int(milliseconds)
        else:
            frames.append(picture)
            durations.append(int(milliseconds))
    output = sys.argv[1]
    frames[0].save(
        output,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        quality=70,
        method=4,
        allow_mixed=True,
        minimize_size=True,
    )
    print(f"{output}: {len(frames)} frames, {sum(durations) / 1000:.1f} s, {Path(output).stat().st_size:,} bytes")


main()
