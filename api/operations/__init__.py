"""The routes of operators. Each change needs a reason, which the audit log keeps."""

from api.operations.alerts import Alerts, AlertSilence
from api.operations.assets import (
    Asset,
    AssetBacklog,
    AssetCosts,
    Assets,
    AssetsAllow,
    AssetsForget,
    AssetsRetry,
)
from api.operations.audit import Audit
from api.operations.brief import BriefPage
from api.operations.credentials import Credential, CredentialChange, CredentialKeys, Credentials, CredentialSecret
from api.operations.database import DatabaseConnections, DatabaseProcesses, DatabaseTables
from api.operations.erasures import Erasure, ErasureLift, Erasures
from api.operations.events import (
    Event,
    EventReplayCancel,
    EventReplays,
    Events,
    EventSink,
    EventSinks,
    ParkedEvents,
    ParkedEventsDrop,
    ParkedEventsRetry,
)
from api.operations.flows import Flow, Flows
from api.operations.held import AcceptHeldRecord, HeldRecords, OneHeldRecord, RejectHeldRecord
from api.operations.notify import ROUTES as NOTIFY
from api.operations.overview import Overview
from api.operations.quarantine import (
    Quarantine,
    QuarantineEntry,
    QuarantinePayload,
    QuarantineReplay,
    QuarantineResolve,
)
from api.operations.queues import Queue, QueueMessage, QueueMessageChange, QueuePurge, QueueRequeue, Queues
from api.operations.restores import BlastRadius, Restore, RestoreApply, RestoreCancel, Restores, RestoresUndo
from api.operations.scorecard import Scorecard
from api.operations.sources import SourceBreaker, SourceDataBreaker, Sources
from api.operations.stuck import StuckRequests, StuckRequeue
from api.resource import Resource

ROUTES: dict[str, type[Resource]] = {
    "/v1/credentials": Credentials,
    "/v1/credentials/{credential_id}": Credential,
    "/v1/credentials/{credential_id}/secret": CredentialSecret,
    "/v1/credentials/{credential_id}/change/{change}": CredentialChange,
    "/v1/sources": Sources,
    "/v1/sources/{source}/breaker/{change}": SourceBreaker,
    "/v1/sources/{source}/data-breaker/{change}": SourceDataBreaker,
    "/v1/scorecard": Scorecard,
    "/v1/flows": Flows,
    "/v1/flows/{flow}": Flow,
    "/v1/queues": Queues,
    "/v1/queues/{queue}": Queue,
    "/v1/queues/{queue}/purge": QueuePurge,
    "/v1/queues/{queue}/requeue": QueueRequeue,
    "/v1/messages/{message_id}": QueueMessage,
    "/v1/messages/{message_id}/{change}": QueueMessageChange,
    "/v1/quarantine": Quarantine,
    "/v1/quarantine/{entry_id}": QuarantineEntry,
    "/v1/quarantine/{entry_id}/payload": QuarantinePayload,
    "/v1/quarantine/resolve": QuarantineResolve,
    "/v1/quarantine/replay": QuarantineReplay,
    "/v1/erasures": Erasures,
    "/v1/erasures/lift": ErasureLift,
    "/v1/erasures/{erasure_id}": Erasure,
    "/v1/held": HeldRecords,
    "/v1/held/{held_id}": OneHeldRecord,
    "/v1/held/{held_id}/accept": AcceptHeldRecord,
    "/v1/held/{held_id}/reject": RejectHeldRecord,
    "/v1/blast": BlastRadius,
    "/v1/restores": Restores,
    "/v1/restores/{restore_id}": Restore,
    "/v1/restores/{restore_id}/apply": RestoreApply,
    "/v1/restores/{restore_id}/cancel": RestoreCancel,
    "/v1/restores/undo": RestoresUndo,
    "/v1/events": Events,
    "/v1/events/{seq}": Event,
    "/v1/events/sinks": EventSinks,
    "/v1/events/sinks/{sink}": EventSink,
    "/v1/events/replays": EventReplays,
    "/v1/events/replays/{replay_id}/cancel": EventReplayCancel,
    "/v1/events/parked": ParkedEvents,
    "/v1/events/parked/retry": ParkedEventsRetry,
    "/v1/events/parked/drop": ParkedEventsDrop,
    "/v1/credentials/rotate-keys": CredentialKeys,
    "/v1/stuck": StuckRequests,
    "/v1/stuck/requeue": StuckRequeue,
    "/v1/database/tables": DatabaseTables,
    "/v1/database/connections": DatabaseConnections,
    "/v1/database/processes": DatabaseProcesses,
    "/v1/alerts": Alerts,
    "/v1/alerts/{alert_id}/silence": AlertSilence,
    "/v1/brief": BriefPage,
    "/v1/overview": Overview,
    **NOTIFY,
    "/v1/audit": Audit,
    "/v1/assets": Assets,
    "/v1/assets/{asset_id}": Asset,
    "/v1/assets/backlog": AssetBacklog,
    "/v1/assets/costs": AssetCosts,
    "/v1/assets/retry": AssetsRetry,
    "/v1/assets/forget": AssetsForget,
    "/v1/assets/allow": AssetsAllow,
}
