-- What schema 2 had beside schema 1. Never changed: newer releases must be able to read it.

CREATE TABLE records (
    kind TEXT NOT NULL,
    partition TEXT NOT NULL,
    sort TEXT NOT NULL,
    version INTEGER NOT NULL,
    value TEXT NOT NULL,
    due_ms INTEGER,
    expires_ms INTEGER,
    PRIMARY KEY (kind, partition, sort)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_due ON records (kind, due_ms) WHERE due_ms IS NOT NULL;
CREATE INDEX records_expire ON records (expires_ms) WHERE expires_ms IS NOT NULL;

INSERT INTO records (kind, partition, sort, version, value, due_ms, expires_ms) VALUES
    ('policy', 'tests', 'kept', 3, '{"a":1}', NULL, NULL);

PRAGMA user_version = 2;
