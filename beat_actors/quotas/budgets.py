"""What is shown of forecasts of limits, and of what came of them."""

from datetime import datetime

import msgspec


class Accuracy(msgspec.Struct, frozen=True):
    """What came of the forecasts of a limit. `used_up` and `lasted`: days. `warned_in_time`: days on which it was used up at least 30 minutes after a
    warning. `false_alarms`: days on which it lasted after a warning. `timed`: forecasts that told a time, of a limit that was used up. `held`: the share of
    them whose interval held. `median_error`: the median of their errors, divided by the time that was left."""

    name: str
    forecasts: int
    used_up: int
    warned_in_time: int
    lasted: int
    false_alarms: int
    timed: int
    held: float | None
    median_error: float | None


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a number of calls will be used up before `until`. `probability`: null where fewer than three earlier days are known.

    `used_up_at`: when, in the middle of the cases, null if it lasts in these; `earliest` and `latest`: when in four cases of five. `warn`: whether people
    should know. `days`: earlier days that it was compared with.
    """

    name: str
    platform: str
    calls: int
    used: int
    until: datetime | None
    days: int
    warn: bool
    probability: float | None = None
    used_up_at: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None


class BudgetView(Forecast, frozen=True, kw_only=True):
    """A limit on on-demand requests, and whether it will be used up before `until`."""

    until: datetime


class Worst(msgspec.Struct, frozen=True):
    """A credential of which most is used. `until`: of its cooldown."""

    credential_id: int
    used: int
    calls: int
    until: datetime | None = None


class PoolView(Forecast, frozen=True, kw_only=True):
    """The calls that all credentials of a source have together under a limit, or under the quota that the provider reports (`scope` is `reported`).

    `credentials`: those that are neither disabled nor dead; `cooling`: of them, in a cooldown. `left`: calls that can be made now. `until`: when the window
    begins anew; null where it slides. `unknown`: why nothing is said of the time. `worst`: the credentials that have least left.
    """

    source: str
    limit: str
    scope: str
    credentials: int
    cooling: int
    left: int
    unknown: str | None = None
    worst: list[Worst] = []
