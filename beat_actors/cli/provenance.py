"""`beat provenance`: where each field of a thing is known from."""

from beat_actors.cli.names import PlatformName
from beat_actors.cli.operators import ask
from beat_actors.cli.operators.provenance import There
from beat_actors.cli.output import Flag, in_words, show_json, show_rows
from beat_actors.data.provenance import FieldProvenance


def provenance(
    platform: PlatformName, name: str, /, *, kind: str = "profiles", field: str | None = None, json: Flag = False
) -> None:
    """Show of each field of a profile the value, when and by whom it was observed, and which parser of which version of Beat read it.

    A field is known, empty (a source says that there is none), hidden (its owner hides the count) or unknown (no source has told it).

    Parameters
    ----------
    platform
        The platform, such as instagram.
    name
        The key of the profile, or its handle.
    kind
        The kind of thing, such as posts.
    field
        Only this field.
    json
        As a JSON object.
    """
    found = ask(There, lambda beat: beat.provenance(platform, kind, name, field))
    if json:
        show_json(found)
        return
    show_rows(
        ("field", "value", "observed", "source", "request", "fetch", "operation", "parser", "software"),
        [_row(of, one) for of, one in found.fields.items()],
        prose=("value",),
        spare=("operation", "software", "fetch"),
    )


def _row(name: str, one: FieldProvenance) -> tuple[object, ...]:
    value = in_words(one.value) if one.state == "known" else one.state
    return (
        name, value, one.observed_at, one.source, one.request, one.fetch, one.operation, one.parser_version, one.software,
    )  # fmt: skip
