"""What to install for what is not there: named so that it can be done, also where Beat came as a file that no index has."""

from importlib.metadata import version

REHEARSAL_WHEEL = f"beat_actors_rehearsal-{version('beat-actors')}-py3-none-any.whl"
WHERE_SIMULATOR = (
    f"They come in {REHEARSAL_WHEEL}, which is built with this wheel (make wheels); install the two together: "
    f"pip install --find-links DIST beat-actors-rehearsal, where DIST is the folder of both"
)
