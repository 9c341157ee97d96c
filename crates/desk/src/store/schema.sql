-- Plain SQL on purpose: integers, text and primary keys, nothing that only one database has. Times are milliseconds since the Unix epoch.

-- What holds for the database as a whole: its identity.
create table if not exists desk (
    name text primary key,
    value text not null
);

create table if not exists person (
    name text primary key,
    role text not null,
    clearance text not null,
    -- salt and PBKDF2-HMAC-SHA256 of the password, hexadecimal, with a colon between; null where only keys open the account
    password text
);

-- Accounts that a provider vouches for (OpenID Connect): who they are there. One identity an account, one account an identity; an account
-- that is not here is signed in by keys and passwords only.
create table if not exists oidc_identity (
    issuer text not null,
    subject text not null,
    person text not null unique,
    primary key (issuer, subject)
);

-- Keys of sign-in links: each opens one session. Only hashes are kept, here and of sessions.
create table if not exists sign_in_key (
    hash text primary key,
    person text not null,
    expires_ms bigint not null
);

create table if not exists session (
    hash text primary key,
    person text not null,
    expires_ms bigint not null
);

-- Passwords that were tried within the last minute, right or wrong.
create table if not exists attempt (
    name text not null,
    at_ms bigint not null
);

create table if not exists clip (
    vehicle text not null,
    clip bigint not null,
    -- labels that the operations start from
    base_revision integer not null,
    -- newest revision that was written from here, and the one that is being written
    last_revision integer not null,
    finishing_revision integer,
    -- last operation that is in the one that is being written
    finishing_seq bigint not null default 0,
    -- what is told of it once it is written
    finishing_message text,
    finished_seq bigint not null,
    primary key (vehicle, clip)
);

-- Append-only: rows are inserted and never changed. The primary key is what makes two at once impossible.
create table if not exists operation (
    vehicle text not null,
    clip bigint not null,
    seq bigint not null,
    id text not null unique,
    person text not null,
    at_ms bigint not null,
    name text not null,
    class text not null,
    request text not null,
    changes text not null,
    undoes bigint,
    spent_ms bigint,
    primary key (vehicle, clip, seq)
);

create table if not exists lease (
    vehicle text not null,
    clip bigint not null,
    track bigint not null,
    person text not null,
    expires_ms bigint not null,
    primary key (vehicle, clip, track)
);

create table if not exists remark (
    id text primary key,
    vehicle text not null,
    clip bigint not null,
    track bigint,
    sample bigint,
    person text not null,
    at_ms bigint not null,
    error text,
    body text not null,
    resolved_by text
);

create table if not exists audit (
    at_ms bigint not null,
    person text not null,
    action text not null,
    vehicle text,
    clip bigint,
    detail text not null
);
create index if not exists audit_by_time on audit (at_ms);

-- Clips that were put into a lot. The others are in the lot of their day.
create table if not exists lot (
    vehicle text not null,
    clip bigint not null,
    lot text not null,
    primary key (vehicle, clip)
);

-- Verdicts that wait to be published. Written in the transaction of their operation; taken out when the broker has them.
create table if not exists outbox (
    id text primary key,
    vehicle text not null,
    at_ms bigint not null,
    body text not null,
    -- order in which they were made; clocks may go back
    place bigint not null default 0
);
