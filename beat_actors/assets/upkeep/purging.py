"""Tells a CDN which paths it has to delete: a POST to `BEAT_ASSET_PURGE_URL`, with a bearer token if there is one."""

from collections.abc import Sequence

from beat_actors.errors import ObjectsUnavailable
from beat_actors.settings import Settings

PATIENCE = 20.0
"""Seconds that one call may take."""
ONCE = 500
"""Paths of one call."""


async def purge(settings: Settings, paths: Sequence[str]) -> None:
    """Have these paths deleted. Raises `ObjectsUnavailable` where the answer is not 2xx, or does not come in time; then it has to be repeated."""
    url = settings.asset_purge_url
    if url is None or not paths:
        return
    import aiohttp  # most processes never call it

    token = settings.asset_purge_token
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE), headers=headers) as session:
            for at in range(0, len(paths), ONCE):
                async with session.post(
                    url, json={"paths": list(paths[at : at + ONCE])}, allow_redirects=False
                ) as answer:
                    if not 200 <= answer.status < 300:
                        raise ObjectsUnavailable(
                            f"BEAT_ASSET_PURGE_URL answered {answer.status}, so the CDN may still have {len(paths)} deleted objects",
                            reason="purge",
                        )
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ObjectsUnavailable(
            f"BEAT_ASSET_PURGE_URL did not answer ({type(error).__name__}), so the CDN may still have {len(paths)} deleted objects",
            reason="purge",
        ) from None
