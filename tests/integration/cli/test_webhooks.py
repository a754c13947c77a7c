"""`beat webhooks`: an endpoint's whole life from the command line."""

from beat_actors.webhooks.signing import PREFIX


def test_an_endpoint_is_added_listed_paused_and_removed(beat) -> None:
    added = beat("webhooks", "add", "https://example.com/hooks", "--event", "beat.alert.*", "--account", "acme")
    assert (added.code, added.out.startswith(PREFIX)) == (0, True)
    assert PREFIX not in added.err
    ((number, account, url, events, state, *_),) = beat("webhooks", "list").rows
    assert (account, url, events, state) == ("acme", "https://example.com/hooks", "beat.alert.*", "active")
    assert beat("webhooks", "pause", number).code == 0
    assert beat("webhooks", "list", "--json").json[0]["state"] == "paused"
    assert beat("webhooks", "resume", number).code == 0
    assert beat("webhooks", "rotate", number).out.strip() not in (added.out.strip(), "")
    assert beat("webhooks", "deliveries", number, "--json").json == []
    assert beat("webhooks", "resend", number).code == 2
    assert beat("webhooks", "resend", number, "7").code == 4
    assert (
        "Queued 0 deliveries to be sent again"
        in beat("webhooks", "resend", number, "--since", "2030-01-31T12:00:00").out
    )
    assert beat("webhooks", "remove", number).code == 2
    assert beat("webhooks", "remove", number, "--reason", "the receiver moved").code == 0
    assert "the receiver moved" in beat("audit", f"webhook/{number}").out
    assert beat("webhooks", "pause", number).code == 4
    actions = {row[3] for row in beat("audit").rows}
    assert any("webhook.delete" in " ".join(row) for row in beat("audit").rows), actions


def test_a_url_that_cannot_be_is_refused(beat) -> None:
    refused = beat("webhooks", "add", "http://10.0.0.1/")
    assert (refused.code, refused.out) == (2, "")
    assert "https" in refused.err
