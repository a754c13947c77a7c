"""What all resources of the API have in common."""

from api.services import Provider


class Resource:
    """One route. `scopes` says who may call each of its methods (`api.access`), `calls` what the method takes and answers (`api.calls`)."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
