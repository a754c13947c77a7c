"""The commands of `beat assets` that forget media, allow them again, and compare rows and bucket."""

from typing import Annotated

from cyclopts import Parameter

from beat_actors.cli.names import PlatformName
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.assets import There
from beat_actors.cli.output import FAILED, Flag, say, show_fields, show_json, tell
from beat_actors.errors import ObjectsUnavailable


def forget(
    platform: PlatformName,
    subject: str,
    /,
    *,
    reason: str,
    kind: str = "profiles",
    dry_run: Flag = False,
    json: Flag = False,
) -> None:
    """Forget the media of a subject: of a profile with its posts and stories, or of one post. They are not stored again.

    Assets are deleted at once; objects that nobody else has, their smaller pictures and the CDN's copies within a minute. What was interrupted can be repeated.

    Parameters
    ----------
    subject
        Its id or handle.
    reason
        Kept in the audit log.
    kind
        profiles, posts, stories or another kind of the platform.
    dry_run
        Delete nothing, and say what would be deleted.
    """
    found = ask(There, lambda beat: beat.forget(platform, subject, kind, dry_run=dry_run, reason=reason))
    if json:
        show_json(found)
        return
    what = f"{found.platform} {found.kind} {found.key}"
    done = "would be" if dry_run else "are"
    say(
        f"{what}: {found.assets:,} assets, {found.objects:,} objects and {found.variants:,} smaller pictures {done} deleted; "
        f"{found.shared:,} objects stay, because others have them"
    )
    if not dry_run:
        say(
            f"its media are not stored any more; to store them again: `beat assets allow {found.platform} {found.key} --reason …`"
        )


def allow(platform: PlatformName, subject: str, /, *, reason: str, kind: str = "profiles") -> None:
    """Store the media of a subject again that were forgotten, from its next observation on.

    Parameters
    ----------
    subject
        Its id or handle.
    reason
        Kept in the audit log.
    kind
        As it was forgotten.
    """
    found = ask(There, lambda beat: beat.allow(platform, subject, kind, reason=reason))
    was = "are stored again" if found.was_denied else "were not forgotten, and are stored as before"
    say(f"the media of {found.platform} {found.kind} {found.key} {was}")


def check(
    *,
    dry_run: Flag = False,
    anew: Flag = False,
    many: Flag = False,
    older: Annotated[float, Parameter(name="--older")] = 86_400.0,
    json: Flag = False,
) -> int:
    """Compare the rows of objects with the bucket, both ways; exits with 1 if they differ.

    Assets whose object is missing or damaged are uploaded again. Objects that no row names are deleted. A check that was interrupted goes on where it stopped.
    A check that finds more than a few differences stops, because the bucket may be the wrong one.

    Parameters
    ----------
    dry_run
        Change nothing, and say what differs.
    anew
        Begin at the beginning.
    many
        Make good however much differs.
    older
        Seconds after which an object without a row belongs to no upload in flight.
    """
    from beat_actors.assets.upkeep.checking import PARTS, Check, Checked
    from beat_actors.cli.session import Session, run, who
    from beat_actors.transport.objects import ObjectStore

    def told(part: int, found: Checked) -> None:
        if not json and (part + 1) % 64 == 0:
            tell(f"{(part + 1) / PARTS:.0%}: {found.rows:,} rows, {found.objects:,} objects")

    async def work(session: Session) -> Checked:
        store = ObjectStore.of_assets(session.settings)
        if store is None:
            raise ObjectsUnavailable("BEAT_ASSET_BUCKET is not set, so there is nothing to compare", reason="not_set")
        checks = Check(session.database, store, dry_run=dry_run, older=older, many=many, told=told)
        return await checks.run(actor=who(), anew=anew)

    found = run(work)
    if json:
        show_json(found)
    else:
        show_fields(
            [
                ("rows", found.rows),
                ("objects", found.objects),
                (
                    "missing",
                    f"{found.missing:,} rows without an object"
                    + ("" if dry_run else f"; {found.again:,} assets are uploaded again"),
                ),
                (
                    "orphans",
                    f"{found.orphans:,} objects without a row, {found.orphan_bytes / 1e6:,.1f} MB"
                    + ("" if dry_run else "; they are deleted within a minute"),
                ),
                ("damaged", f"{found.damaged:,} objects of another size than their rows say"),
                ("young", f"{found.young:,} objects without a row that may belong to uploads in flight"),
                ("foreign", f"{found.foreign:,} keys that are not of Beat"),
            ]
        )
    return 0 if found.agree else FAILED
