"""What workers are told to do."""

from actors.mailbox import ASSETS, QUEUES
from actors.parent import _options


def test_who_takes_leases_takes_urgent_ones_too() -> None:
    assert _options(["--queues", "retrieve", "credentials"]).queues == {"retrieve", "credentials", "express"}
    assert _options(["--queues", "ingest"]).queues == {"ingest"}
    assert _options([]).queues == set(QUEUES) - {ASSETS}
    assert _options(["--queues", "assets"]).queues == {"assets"}
