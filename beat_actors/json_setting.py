"""Settings whose value is JSON."""

import json

from pydantic import BeforeValidator


def from_json(refusal: str) -> BeforeValidator:
    """Reads text as JSON, also where it comes as an argument and not from the environment. `refusal`: the error for text that is not JSON."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value or "{}")
        except ValueError:
            raise ValueError(refusal) from None

    return BeforeValidator(read)
