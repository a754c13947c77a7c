"""What the routes of operators have in common: their scopes, and the reason that each change must give."""

from typing import Annotated

import msgspec

from api.access import Scopes
from beat_actors.access.scopes import Scope

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
READ: Scopes = {"GET": Scope.OPERATE}
CHANGE: Scopes = {"POST": Scope.OPERATE}


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    """Why something is changed. The audit log keeps it."""

    reason: Text
