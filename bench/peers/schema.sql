-- The peers' tables: what Beat keeps of a scrape, without what only Beat needs.
CREATE TABLE scrape (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    handle     text NOT NULL,
    status     text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'PROCESSING', 'COMPLETE')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at    timestamptz
) WITH (fillfactor = 80);
CREATE INDEX scrape_pending ON scrape (id) WHERE status = 'PENDING';

CREATE TABLE account (
    profile_id      text PRIMARY KEY,
    handle          text NOT NULL,
    full_name       text,
    biography       text,
    external_url    text,
    profile_pic_url text,
    category        text,
    is_private      boolean,
    is_verified     boolean,
    followers       bigint,
    following       bigint,
    media_count     bigint,
    observed_at     timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);

CREATE TABLE post (
    shortcode      text PRIMARY KEY,
    post_id        text,
    profile_id     text NOT NULL,
    post_type      text,
    caption        text,
    permalink      text,
    thumbnail_url  text,
    media_url      text,
    taken_at       timestamptz,
    likes          bigint,
    comments       bigint,
    views          bigint,
    video_duration double precision,
    observed_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX post_profile ON post (profile_id, taken_at DESC);

CREATE TABLE account_snapshot (
    observed_at timestamptz NOT NULL DEFAULT now(),
    profile_id  text NOT NULL,
    scrape_id   bigint NOT NULL,
    dimensions  jsonb NOT NULL,
    metrics     jsonb NOT NULL
);
CREATE INDEX account_snapshot_subject ON account_snapshot (profile_id, observed_at DESC);

CREATE TABLE post_snapshot (
    observed_at timestamptz NOT NULL DEFAULT now(),
    shortcode   text NOT NULL,
    scrape_id   bigint NOT NULL,
    dimensions  jsonb NOT NULL,
    metrics     jsonb NOT NULL
);
CREATE INDEX post_snapshot_subject ON post_snapshot (shortcode, observed_at DESC);

CREATE TABLE audit (
    started_at timestamptz NOT NULL,
    scrape_id  bigint NOT NULL,
    method     text NOT NULL,
    url        text NOT NULL,
    status     integer,
    ms         real,
    bytes      integer,
    outcome    text NOT NULL
);
CREATE INDEX audit_scrape ON audit (scrape_id);

CREATE TABLE event (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    type        text NOT NULL,
    subject     text NOT NULL,
    data        jsonb NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
