"""What media URLs say of their picture and of their time of expiry, in the forms of the CDNs and stores that providers link to."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beat_actors.media.urls import FURTHEST, OLDEST, expiry, identity

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SOON = NOW + timedelta(hours=108)
DECIMAL = f"{SOON.timestamp():.0f}"
HEX = f"{int(DECIMAL):X}"
SIGNED = "0123456789abcdef0123456789abcdef"
META = "/v/t51.2885-19/931451941_825622866791132_5456664299422558422_n.jpg"
POLICY = f'{{"Statement":[{{"Resource":"*","Condition":{{"DateLessThan":{{"AWS:EpochTime":{DECIMAL}}}}}}}]}}'
POLICY_IN_URL = b64encode(POLICY.encode()).decode().translate(str.maketrans("+=/", "-_~"))
HOUR_BEFORE = f"{SOON - timedelta(hours=1):%Y%m%dT%H%M%SZ}"

SAYS = {
    "instagram": f"https://scontent-lhr8-1.cdninstagram.com{META}?stp=dst-jpg_s150x150_tt6&_nc_cat=1&oh=00_AfY&oe={HEX}&_nc_sid=22de04",
    "instagram in lower case": f"https://scontent-lhr8-1.cdninstagram.com{META}?oh=00_AfY&oe={HEX.lower()}",
    "instagram video": f"https://scontent-lhr8-1.cdninstagram.com/o1/v/t16/f1/m84/A1_video_dashinit.mp4?efg=eyJ2&oh=00_AfY&oe={HEX}",
    "instagram until 2019": f"https://scontent-lhr3-1.cdninstagram.com/vp/{SIGNED}/{HEX}/t51.2885-15/e35/1_2_3_n.jpg?_nc_ht=x",
    "threads": f"https://scontent.cdninstagram.com/v/t51.82787-19/1_2_3_n.jpg?_nc_gid=x&oh=00_AfZ&oe={HEX}",
    "facebook": f"https://scontent.xx.fbcdn.net/v/t39.30808-1/1_2_3_n.jpg?_nc_cat=1&ccb=1-7&oh=00_AfX&oe={HEX}",
    "facebook's picture of a profile": f"https://platform-lookaside.fbsbx.com/platform/profilepic/?asid=1&height=50&width=50&ext={DECIMAL}&hash=AeQ",
    "tiktok": f"https://p16-sign-va.tiktokcdn.com/tos-maliva-avt-0068/ab~c5_720x720.jpeg?lk3s=a5&x-expires={DECIMAL}&x-signature=a%2Bb%3D",
    "tiktok video": f"https://v16-webapp.tiktok.com/video/tos/useast2a/tos-ve-0068c001/oX/?a=1988&expire={DECIMAL}&l=2026&policy=2&signature=ab&tk=tt",
    "tiktok video with signed path": f"https://v16.muscdn.com/{SIGNED}/{HEX.lower()}/video/tos/maliva/tos-v-0068/oX/?a=1233&br=8",
    "linkedin": f"https://media.licdn.com/dms/image/v2/C4/profile-displayphoto-shrink_800_800/0/1?e={DECIMAL}&v=beta&t=aB-c",
    "discord": f"https://cdn.discordapp.com/attachments/1/2/a.png?ex={HEX.lower()}&is=65&hm={SIGNED}&",
    "googlevideo": f"https://rr4---sn-4g5e6n.googlevideo.com/videoplayback?expire={DECIMAL}&ei=x&ip=192.0.2.1&id=o-A&itag=22&sig=A",
    "googlevideo by path": f"https://rr4---sn-4g5e6n.googlevideo.com/videoplayback/id/o-A/itag/22/expire/{DECIMAL}/sig/A/file/x",
    "cloudfront": f"https://d111.cloudfront.net/a.jpg?Expires={DECIMAL}&Signature=a~b-c_&Key-Pair-Id=K1",
    "cloudfront with a policy": f"https://d111.cloudfront.net/a.jpg?Policy={POLICY_IN_URL}&Signature=ab&Key-Pair-Id=K1",
    "s3 version 2": f"https://b.s3.amazonaws.com/a.jpg?AWSAccessKeyId=AKIA&Expires={DECIMAL}&Signature=ab%3D",
    "s3 version 4": f"https://b.s3.amazonaws.com/a.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date={HOUR_BEFORE}&X-Amz-Expires=3600&X-Amz-Signature=ab",
    "google storage version 2": f"https://storage.googleapis.com/b/a.jpg?GoogleAccessId=x%40y&Expires={DECIMAL}&Signature=ab",
    "google storage version 4": f"https://storage.googleapis.com/b/a.jpg?X-Goog-Algorithm=x&X-Goog-Date={HOUR_BEFORE}&X-Goog-Expires=3600&X-Goog-Signature=ab",
    "azure": f"https://a.blob.core.windows.net/c/a.jpg?sv=2024-11-04&st=x&se={quote(f'{SOON:%Y-%m-%dT%H:%M:%SZ}')}&sr=b&sp=r&sig=ab%3D",
    "akamai": f"https://cdn.example/a.jpg?hdnts=st=1~exp={DECIMAL}~acl=/*~hmac={SIGNED}",
    "akamai, time first": f"https://cdn.example/a.jpg?hdnea=exp={DECIMAL}~acl=/*~hmac={SIGNED}",
    "akamai's other name": f"https://cdn.example/a.jpg?__token__=exp={DECIMAL}~hmac={SIGNED}",
    "akamai of old": f"https://cdn.example/a.jpg?__gda__={DECIMAL}_{SIGNED}",
    "imgix": f"https://x.imgix.net/a.jpg?w=400&expires={DECIMAL}&s={SIGNED}",
    "bunny": f"https://x.b-cdn.net/a.jpg?token=ab&expires={DECIMAL}",
    "bunny by path": f"https://x.b-cdn.net/bcdn_token=ab&expires={DECIMAL}&token_path=%2F/a.jpg",
    "vimeo": f"https://vod-adaptive-ak.vimeocdn.com/exp={DECIMAL}~acl=%2F1%2F*~hmac={SIGNED}/1/a.mp4",
    "alibaba": f"https://b.oss-cn-hangzhou.aliyuncs.com/a.jpg?OSSAccessKeyId=x&Expires={DECIMAL}&Signature=ab",
    "alibaba version 4": f"https://b.oss-cn-hangzhou.aliyuncs.com/a.jpg?x-oss-date={HOUR_BEFORE}&x-oss-expires=3600&x-oss-signature=ab",
    "tencent": f"https://b.cos.ap-beijing.myqcloud.com/a.jpg?q-ak=x&q-sign-time=1700000000%3B{DECIMAL}&q-signature=ab",
    "weibo": f"https://f.video.weibocdn.com/a.mp4?Expires={DECIMAL}&ssig=ab&KID=unistore,video",
    "bilibili": f"https://upos-sz.bilivideo.com/upgcxcode/1/2/3.mp4?deadline={DECIMAL}&upsig={SIGNED}",
    "secure link": f"https://cdn.example/a.jpg?md5=ab&expires={DECIMAL}",
}
SAYS_NOTHING = {
    "youtube": "https://i.ytimg.com/vi/6mEI8BodpbO/hqdefault.jpg?sqp=-oaymwEj&rs=AOn4CL",
    "youtube's picture of a channel": "https://yt3.ggpht.com/ytc/AB=s88-c-k-c0x00ffffff-no-rj",
    "shopify": "https://cdn.shopify.com/s/files/1/0001/files/a.jpg?v=1700000000&width=800",
    "reddit": f"https://preview.redd.it/a.jpg?width=640&auto=webp&s={SIGNED}",
    "twitter": "https://pbs.twimg.com/media/AB?format=jpg&name=small",
    "no query": "https://cdn.example/a.jpg",
    "no path": "https://cdn.example",
    "nothing": "",
    "a number that is no time": "https://cdn.example/a.jpg?expires=3600",
    "another meaning of oe": "https://cdn.example/a.jpg?oe=utf-8",
    "not hex": f"https://scontent.cdninstagram.com{META}?oh=ar2n&oe=6XMFAM18",
    "the year 2178": "https://p16-sign-va.tiktokcdn.com/a~b.jpeg?x-expires=6571848996&x-signature=5d9",
    "too far ahead": f"https://cdn.example/a.jpg?expires={NOW.timestamp() + FURTHEST + 1:.0f}",
    "too long past": f"https://cdn.example/a.jpg?expires={NOW.timestamp() - OLDEST - 1:.0f}",
    "digits of another script": "https://cdn.example/a.jpg?expires="
    + DECIMAL.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
    "no day": "https://b.s3.amazonaws.com/a.jpg?X-Amz-Date=20261399T000000Z&X-Amz-Expires=3600",
    "no date": "https://a.blob.core.windows.net/c/a.jpg?se=tomorrow&sig=ab",
    "a year that no clock has": "https://a.blob.core.windows.net/c/a.jpg?se=0001-01-01T00:00:00%2B14:00&sig=ab",
    "no policy": "https://d111.cloudfront.net/a.jpg?Policy=%%%&Signature=ab&Key-Pair-Id=K1",
}


@pytest.mark.parametrize("form", SAYS)
def test_s7_3_the_time_of_expiry_is_read_from_the_url(form: str) -> None:
    assert expiry(SAYS[form], NOW) == SOON


@pytest.mark.parametrize("form", SAYS_NOTHING)
def test_s7_3_what_is_no_time_of_expiry_is_unknown(form: str) -> None:
    assert expiry(SAYS_NOTHING[form], NOW) is None


def test_the_earliest_of_several_times_counts() -> None:
    assert expiry(f"https://cdn.example/a.jpg?Expires={int(DECIMAL) + 60}&hdnts=exp={DECIMAL}~hmac=a", NOW) == SOON


LATER = f"{int(DECIMAL) + 7200}"
LATER_HEX = f"{int(LATER):X}"


@pytest.mark.parametrize("form", SAYS)
def test_s7_3_one_picture_has_one_identity_whatever_its_host_and_signature(form: str) -> None:
    url = SAYS[form]
    host, _, behind = url.removeprefix("https://").partition("/")
    other = f"http://other.{host}:8080/{behind}"
    for old, new in {
        DECIMAL: LATER,
        HEX: LATER_HEX,
        HEX.lower(): LATER_HEX.lower(),
        SIGNED: SIGNED[::-1],
        "=ab": "=cd",
    }.items():
        other = other.replace(old, new)
    other = (
        other.replace("00_Af", "00_Ag")
        .replace("_nc_cat=1", "_nc_cat=107")
        .replace(HOUR_BEFORE, f"{SOON:%Y%m%dT%H%M%SZ}")
    )
    assert identity(other) == identity(url)
    assert len(identity(url)) == 16


SAME = [
    # An answer of years ago and one of today; ids and size are the same.
    (
        f"https://scontent-lhr3-1.cdninstagram.com/vp/{SIGNED}/5D000000/t51.2885-15/e35/s150x150/1_2_3_n.jpg?_nc_ht=x",
        "https://instagram.fmcz4-1.fna.fbcdn.net/v/t51.2885-15/e35/s150x150/1_2_3_n.jpg?_nc_ht=y&oh=00_A&oe=6930ABCD",
    ),
    (
        "https://scontent.cdninstagram.com/x/a.jpg?ig_cache_key=MjQ4MDg1%3D%3D.2-ccb7-5&oh=a&oe=6930ABCD",
        "https://scontent.cdninstagram.com/y/b.jpg?ig_cache_key=MjQ4MDg1%3D%3D.3-ccb1-7&oh=b&oe=6930ABCE",
    ),
    (
        "https://p16.tiktokcdn.com/a~c5.jpeg?x-expires=1&x-signature=b",
        "https://p19.tiktokcdn.com/a%7Ec5.jpeg?x-signature=c&x-expires=2&ps=1",
    ),
    ("https://i.ytimg.com/vi/a/hqdefault.jpg", "https://i9.ytimg.com/vi/a/hqdefault.jpg?sqp=-oay&rs=AOn4"),
    ("https://cdn.example/a.jpg?b=1&a=2", "https://cdn.example/a.jpg?a=2&b=1#part"),
]
DIFFERENT = [
    ("https://cdn.shopify.com/s/files/a.jpg?v=1700000000", "https://cdn.shopify.com/s/files/a.jpg?v=1700000001"),
    ("https://cdn.shopify.com/s/files/a.jpg?1700000000", "https://cdn.shopify.com/s/files/a.jpg?1700000001"),
    (f"https://x.cdninstagram.com{META}?stp=dst-jpg_s150x150&oh=a&oe=1", f"https://x.cdninstagram.com{META}?stp=dst-jpg_s320x320&oh=a&oe=1"),
    ("https://x.fbcdn.net/v/t51.2885-15/s150x150/1_2_3_n.jpg", "https://x.fbcdn.net/v/t51.2885-15/s640x640/1_2_3_n.jpg"),
    ("https://x.fbcdn.net/v/t51.2885-15/1_2_3_n.jpg?oh=a&oe=1", "https://x.fbcdn.net/v/t51.2885-15/1_2_4_n.jpg?oh=a&oe=1"),
    ("https://p16.tiktokcdn.com/a~c5_100x100.jpeg?x-expires=1&x-signature=b", "https://p16.tiktokcdn.com/a~c5_720x720.jpeg?x-expires=1&x-signature=b"),
    ("https://a.googlevideo.com/videoplayback?expire=1&id=a&itag=22", "https://a.googlevideo.com/videoplayback?expire=1&id=b&itag=22"),
    ("https://pbs.twimg.com/media/AB?format=jpg&name=small", "https://pbs.twimg.com/media/AB?format=jpg&name=large"),
    ("https://platform-lookaside.fbsbx.com/p/?asid=1&ext=1&hash=a", "https://platform-lookaside.fbsbx.com/p/?asid=2&ext=1&hash=a"),
    # Names that are part of a signature elsewhere.
    ("https://cdn.example/image?hash=a", "https://cdn.example/image?hash=b"),
    ("https://cdn.example/image?ext=jpg&id=1", "https://cdn.example/image?ext=png&id=1"),
    ("https://cdn.example/image?t=1", "https://cdn.example/image?t=2"),
    ("https://cdn.example/image?shoe=1&ooh=2&id=1", "https://cdn.example/image?shoe=1&ooh=2&id=2"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), SAME)
def test_s7_3_urls_of_one_picture_have_one_identity(one: str, other: str) -> None:
    assert identity(one) == identity(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_s7_3_another_picture_or_size_or_version_has_another_identity(one: str, other: str) -> None:
    assert identity(one) != identity(other)


HOSTS = st.from_regex(r"[a-z0-9-]{1,20}(\.[a-z]{2,8}){1,2}(:[0-9]{1,5})?", fullmatch=True)
WORD = st.from_regex(r"[A-Za-z0-9._~%-]{1,40}", fullmatch=True)
PATHS = st.lists(WORD, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))
SIGNATURES = st.sampled_from(
    ["oh={0}&oe={0}", "X-Amz-Date={0}&X-Amz-Expires={0}&X-Amz-Signature={0}", "x-expires={0}&x-signature={0}", "Expires={0}&Signature={0}&Key-Pair-Id={0}"]
)  # fmt: skip


@given(PATHS, HOSTS, HOSTS, SIGNATURES, WORD, WORD)
def test_the_identity_ignores_hosts_and_signatures(
    path: str, host: str, other: str, form: str, first: str, second: str
) -> None:
    one = identity(f"https://{host}{path}?{form.format(first)}")
    assert one == identity(f"http://{other}{path}?{form.format(second)}#part")
    assert one != identity(f"https://{host}{path}x?{form.format(first)}")


PIECES = st.one_of(
    st.sampled_from([*SAYS.values(), *SAYS_NOTHING.values(), "?", "&", "=", "/", "//", "#", "%", ";", "~", "oe=", "Policy=", "se=", "X-Amz-Date="]),
    st.text(st.characters(), max_size=20),
)  # fmt: skip


@given(st.lists(PIECES, max_size=8).map("".join), st.floats(1e8, 7e9))
def test_no_url_is_refused(url: str, at: float) -> None:
    assert len(identity(url)) == 16
    when = expiry(url, datetime.fromtimestamp(at, UTC))
    assert when is None or at - OLDEST <= when.timestamp() <= at + FURTHEST
