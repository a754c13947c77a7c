"""The benchmark's own honesty: everybody gets the same bodies, and nobody wins by skipping."""

import dataclasses
import xml.etree.ElementTree as ET

import msgspec
import pytest

from bench import chart
from bench.contender import POSTS, World, Written, WrongCounts, check
from bench.peers.profile import parse
from bench.upstream import bodies

COUNT = 10
WHOLE = Written(
    states=COUNT,
    accounts=COUNT,
    posts=POSTS * COUNT,
    audits=COUNT,
    account_snapshots=COUNT,
    post_snapshots=POSTS * COUNT,
    events=COUNT,
)


def test_body_is_27_kb_of_the_profile_that_was_asked_for_with_its_12_posts():
    handles = World("", "", "").handles(200)
    sizes, shortcodes, profiles = [], set(), set()
    for handle, body in zip(handles, bodies(len(handles)), strict=True):
        account, posts = parse(body, handle)
        assert len(posts) == POSTS
        assert {post.profile_id for post in posts} == {account.profile_id}
        sizes.append(len(body))
        profiles.add(account.profile_id)
        shortcodes |= {post.shortcode for post in posts}
    assert 26_000 < sum(sizes) / len(sizes) < 28_000
    assert len(profiles) == len(handles)
    assert len(shortcodes) == POSTS * len(handles)


def test_parse_refuses_another_shape_and_somebody_elses_profile():
    body = next(bodies(1))
    with pytest.raises(ValueError, match="the answer is of creator_000000"):
        parse(body, "creator_000001")
    with pytest.raises(msgspec.ValidationError):
        parse(body.replace(b'"edge_followed_by"', b'"followers"'), "creator_000000")


def test_run_that_wrote_everything_counts():
    check(WHOLE, COUNT)


@pytest.mark.parametrize("what", [field.name for field in dataclasses.fields(Written)])
def test_run_that_skipped_something_is_refused(what):
    with pytest.raises(WrongCounts, match=what):
        check(dataclasses.replace(WHOLE, **{what: getattr(WHOLE, what) - 1}), COUNT)


def test_chart_shows_the_fastest_first():
    def measured(*rates):
        return {
            "median": {"scrapes_per_second": rates[0], "cpu_ms": 1.0},
            "runs": [{"scrapes_per_second": rate} for rate in rates],
        }

    drawn = chart.draw({"upstream": "nginx", "contenders": {"slow": measured(10.0), "beat": measured(1000.0, 900.0)}})
    texts = [element.text for element in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[2:] == ["beat", "1,000/s · 1.00 ms CPU", "slow", "10/s · 1.00 ms CPU"]
