"""Every name that operators know leads somewhere, and every place that the glossary names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
GLOSSARY = ROOT / "docs/glossary.md"
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", GLOSSARY.read_text(), re.MULTILINE | re.DOTALL))
NAMES = re.findall(
    r"\S+",
    """
    GraphAPI ArrayBobo JoTucker Lama BestSolutions YouTube Shopify TikTok
    scrape_request_log status flow picked_at expires_at data credential enabled disabled_till profile_log post_log instagram_account
    PENDING PROCESSING FAILED COMPLETE
    emit_trace_log_event InstagramCrawler.fetch_profile_by_handle fetch_enabled_sources CredentialManager.get_enabled_cred
    check_and_cancel_long_running_tasks publish make_scrape_log_event emit_*_event @sessionize list_scrape_data RateLimiter
    RateLimitError NoAvailableSources pool_size max_overflow pool_recycle refresh_profile_insta_daily
    """,
)
NUMBERS = (
    *("1 s poll", "10 s slow poll", "150+ workers", "30 s backpressure", "90 % idle", "1 h disable", "> 50 %", "10, 30, 60 min"),
    *("10 min stuck", "15 min requeue", "100,000 images", "50 × 100 = 5,000", "500 s `pool_recycle`", "50 → 100", "100 → 200"),
    *("3,500 PUT/s", "50,000", "−90 % followers", "20,000 a day", "60 a minute", "86,400", "50 % and 80 %", "5 workers × 5"),
    "~2 weeks",
)  # fmt: skip


def rows(section: str) -> list[list[str]]:
    """The cells of the section's table, without its head."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_that_operators_know_leads_somewhere(name: str) -> None:
    assert re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", SECTIONS["Names that operators know"])


@pytest.mark.parametrize("number", NUMBERS)
def test_every_number_that_operators_know_leads_somewhere(number: str) -> None:
    assert number in "\n".join(row[0] for row in rows("Numbers that operators know"))


def test_terms_are_in_order_once_and_explained() -> None:
    terms = [row[0] for row in rows("Terms")]
    assert terms == sorted(set(terms))
    for term, meaning, *_ in rows("Terms"):
        assert len(meaning) > 20, term


def test_every_link_leads_to_a_place_that_holds_what_it_is_called_by() -> None:
    links = re.findall(r"\[(`?)([^\]`]+)`?\]\(([^)#]+)(?:#([^)]+))?\)", GLOSSARY.read_text())
    assert len(links) > 40
    for code, text, path, anchor in links:
        target = GLOSSARY.parent / path
        assert target.exists(), path
        if code:
            assert re.search(rf"\b{re.escape(text)}\b", target.read_text()), (text, path)
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
