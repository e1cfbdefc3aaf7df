-- What the lake needs before its first migration; harmless when repeated.
create schema if not exists staging;
create schema if not exists quarantine;
create table if not exists migrations (
    name varchar not null, checksum varchar not null, applied_at timestamptz not null
);
comment on table migrations is 'Migrations and views as applied; checksum is that of the file.';
