-- Rate limits that hold across nodes, and what a key can be beyond active: suspended with
-- a reason, allowed to act for several companies, digested under a newer pepper. Its life is told in key_audit.

-- UNLOGGED, because a crash that empties it only fills the buckets, and writing it waits for no disk.
-- tat is the state of a bucket (internal/limit/gcra); hour counts the whole hours since 1970.
-- leases maps a node to [tokens lent to it, when that ends in seconds since 1970].
CREATE UNLOGGED TABLE rate_buckets (
    owner     text NOT NULL,
    bucket    text NOT NULL,
    tat       timestamptz NOT NULL DEFAULT '-infinity',
    hour      bigint NOT NULL DEFAULT 0,
    hour_used bigint NOT NULL DEFAULT 0,
    leases    jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (owner, bucket)
) WITH (fillfactor = 50);

-- rate_lease books what a node has used of its last lease, gives back the rest of it, and lends it
-- anew: as many tokens as it wants, but at most a fifth of what is there, so that other nodes find some
-- too; yet what it needs at once, if there is that much. Tokens lent to others count as gone until their
-- lease ends. every and ttl are seconds, hour_quota 0 is none. It answers what was lent, what is left beside, in
-- how many seconds the needed tokens will be there, and what is left of the hour (-1 without a quota).
CREATE FUNCTION rate_lease(
    the_owner text, the_bucket text, node text, used bigint, need bigint, want bigint,
    burst bigint, every double precision, hour_quota bigint, ttl double precision,
    OUT granted bigint, OUT remaining bigint, OUT wait double precision, OUT hour_left bigint
) LANGUAGE plpgsql AS $$
DECLARE
    r      rate_buckets;
    at     timestamptz;
    this   bigint;
    others bigint;
    level  double precision;
    there  bigint;
BEGIN
    INSERT INTO rate_buckets (owner, bucket) VALUES (the_owner, the_bucket) ON CONFLICT DO NOTHING;
    SELECT * INTO STRICT r FROM rate_buckets WHERE owner = the_owner AND bucket = the_bucket FOR UPDATE;
    at := clock_timestamp(); -- after the wait for the row
    this := floor(extract(epoch FROM at) / 3600);
    IF r.hour <> this THEN
        r.hour := this;
        r.hour_used := 0;
    END IF;
    r.hour_used := r.hour_used + used;
    r.tat := greatest(r.tat, at) + make_interval(secs => used * every);
    SELECT coalesce(jsonb_object_agg(l.key, l.value), '{}'), coalesce(sum((l.value ->> 0)::bigint), 0)
    INTO r.leases, others
    FROM jsonb_each(r.leases) AS l
    WHERE l.key <> node AND (l.value ->> 1)::double precision > extract(epoch FROM at);

    level := extract(epoch FROM r.tat - at);
    there := greatest(0, floor(burst - level / every - others + 0.000001));
    wait := greatest(0, level - (burst - others - need) * every);
    hour_left := -1;
    IF hour_quota > 0 THEN
        hour_left := greatest(0, hour_quota - r.hour_used - others);
        there := least(there, hour_left);
    END IF;
    granted := least(want, there / 5);
    IF there >= need THEN
        granted := greatest(granted, need);
    END IF;
    remaining := there - granted;
    IF granted > 0 THEN
        r.leases := r.leases || jsonb_build_object(node, jsonb_build_array(granted, extract(epoch FROM at) + ttl));
    END IF;
    UPDATE rate_buckets AS b SET tat = r.tat, hour = r.hour, hour_used = r.hour_used, leases = r.leases
    WHERE b.owner = the_owner AND b.bucket = the_bucket;
END
$$;

-- Figures that replace those of the plan: {"perMinute":n,"perHour":n,"burst":n}; a figure left out is those of the plan.
ALTER TABLE companies ADD COLUMN limits jsonb;
ALTER TABLE api_keys
    ADD COLUMN limits           jsonb,
    ADD COLUMN suspended_reason text,
    ADD COLUMN created_by       text,
    ADD COLUMN manages          boolean NOT NULL DEFAULT false, -- acts for the companies of key_companies, and for no other
    ADD COLUMN pepper           smallint NOT NULL DEFAULT 0;    -- version of the pepper that digest was made under

CREATE TABLE key_companies (
    key_id     text NOT NULL REFERENCES api_keys (id),
    company_id text NOT NULL REFERENCES companies (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, company_id)
);
CREATE INDEX key_companies_company ON key_companies (company_id);

-- What happened to keys: created, suspended, resumed, revoked, ... by whom. Rows are only added.
CREATE TABLE key_audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_id     text NOT NULL,
    company_id text NOT NULL,
    action     text NOT NULL,
    actor      text NOT NULL,
    detail     text NOT NULL DEFAULT '',
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX key_audit_key ON key_audit (key_id, id);

CREATE FUNCTION key_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'key_audit only grows';
END
$$;
CREATE TRIGGER key_audit_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON key_audit
    FOR EACH STATEMENT EXECUTE FUNCTION key_audit_refuse();
