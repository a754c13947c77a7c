"""What to install for what is not there: named so that it can be done, also where Beat came as a file that no index has."""


def where_simulator() -> str:
    """How the simulator is installed beside this version. Loads what reads versions, which most commands need not."""
    from importlib.metadata import version

    wheel = f"beat_actors_rehearsal-{version('beat-actors')}-py3-none-any.whl"
    return (
        f"They come in {wheel}, which is built with this wheel (make wheels); install the two together: "
        f"pip install --find-links DIST beat-actors-rehearsal, where DIST is the folder of both"
    )
