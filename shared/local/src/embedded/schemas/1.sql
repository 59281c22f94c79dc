-- A state database of schema 1, as the release that had it wrote one: an execution that is over, and one whose engine
-- ended in the middle of its second task. Never changed: newer releases must be able to read it.

CREATE TABLE plans (
    hash TEXT PRIMARY KEY NOT NULL,
    bytes BLOB NOT NULL
) STRICT;

CREATE TABLE revisions (
    namespace TEXT NOT NULL,
    flow TEXT NOT NULL,
    hash TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (namespace, flow, hash),
    UNIQUE (namespace, flow, revision)
) STRICT, WITHOUT ROWID;

CREATE TABLE executions (
    id TEXT PRIMARY KEY NOT NULL,
    namespace TEXT NOT NULL,
    flow TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    labels TEXT NOT NULL,        -- all of them, for searching
    added_labels TEXT NOT NULL,  -- those added while it ran
    meta TEXT NOT NULL,
    outputs TEXT NOT NULL
) STRICT;
CREATE INDEX executions_created ON executions (created_ms DESC, id DESC);
CREATE INDEX executions_namespace ON executions (namespace, created_ms DESC, id DESC);
CREATE INDEX executions_flow ON executions (namespace, flow, created_ms DESC, id DESC);
CREATE INDEX executions_state ON executions (state, created_ms DESC, id DESC);

CREATE TABLE shards (
    execution TEXT NOT NULL,
    shard BLOB NOT NULL,
    version INTEGER NOT NULL,
    due_ms INTEGER,
    bytes BLOB NOT NULL,
    UNIQUE (execution, shard)
) STRICT;
CREATE INDEX shards_due ON shards (due_ms) WHERE due_ms IS NOT NULL;

CREATE TABLE attempts (
    execution TEXT NOT NULL,
    shard BLOB NOT NULL,
    slot INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    task TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    exit_code INTEGER,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    ended_ms INTEGER,
    rest TEXT NOT NULL,          -- what is only shown: JSON without defaults
    PRIMARY KEY (execution, shard, slot, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempts_task ON attempts (execution, task);

CREATE TABLE locks (
    key TEXT PRIMARY KEY NOT NULL,
    version INTEGER NOT NULL,
    due_ms INTEGER,
    bytes BLOB NOT NULL
) STRICT;
CREATE INDEX locks_due ON locks (due_ms) WHERE due_ms IS NOT NULL;

CREATE TABLE lock_queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    execution TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (key, execution)
) STRICT;
CREATE INDEX lock_queue_order ON lock_queue (key, priority DESC, created_ms, seq);

CREATE TABLE pairs (
    namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    expires_ms INTEGER,
    PRIMARY KEY (namespace, key)
) STRICT;

CREATE TABLE task_cache (
    key TEXT PRIMARY KEY NOT NULL,
    outputs TEXT NOT NULL,
    expires_ms INTEGER
) STRICT;

CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    execution TEXT NOT NULL,
    shard BLOB NOT NULL,
    event TEXT NOT NULL
) STRICT;

CREATE TABLE claims (
    execution TEXT NOT NULL,
    shard BLOB NOT NULL,
    slot INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('launched', 'stopped', 'finished')),
    engine_pid INTEGER,
    boot TEXT,
    pid INTEGER,
    pid_started INTEGER,
    container TEXT,
    PRIMARY KEY (execution, shard, slot, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX claims_live ON claims (execution) WHERE state = 'launched';

INSERT INTO plans (hash, bytes) VALUES
    ('1d89156dd286a55d17e7cb3575ecdb8f6b087a95744b4ebc6706e9115229ed93', CAST('{"checks":[],"concurrency":null,"disabled":false,"flow":"harvest","format":1,"inputs":[{"allowCustomValue":false,"allowedFileExtensions":[],"autoSelectFirst":false,"defaults":"mpox","dependsOn":null,"description":null,"displayName":null,"expression":null,"id":"organism","itemType":null,"jsonSchema":null,"max":null,"min":null,"required":true,"type":"STRING","validator":null,"values":[]}],"labels":{"team":"viral"},"namespace":"tests","outputs":[{"description":null,"id":"said","required":true,"type":"STRING","value":"{{ outputs.report.value }}"}],"retry":null,"scopes":[{"nodes":[{"after":false,"allowFailure":false,"allowWarning":false,"branch":null,"children":[1,2,3],"dependents":[],"deps":[],"hidden":true,"id":".flow","kind":{"concurrent":0,"kind":"group","on_failure":"continue","props":{},"working_directory":false},"needs":["report"],"parent":null,"phase":"body","priority":0,"rank":3,"when":null},{"after":false,"allowFailure":false,"allowWarning":false,"branch":null,"children":[],"dependents":[2],"deps":[],"hidden":false,"id":"fetch","kind":{"idempotent":true,"kind":"task","needs":[],"plugin":null,"props":{"format":"fetched {{ inputs.organism }}"},"quarantineMs":0,"resources":{"cpuMilli":100,"ephemeralGib":0,"memoryMib":0},"retry":null,"taskCache":null,"taskType":"io.kestra.plugin.core.debug.Return","timeoutMs":60000},"needs":[],"parent":0,"phase":"body","priority":0,"rank":3,"when":null},{"after":false,"allowFailure":false,"allowWarning":false,"branch":null,"children":[],"dependents":[3],"deps":[1],"hidden":false,"id":"align","kind":{"idempotent":true,"kind":"task","needs":[],"plugin":null,"props":{"env":{"WAIT":"{{ inputs.organism == ''mpox'' ? ''60'' : ''0'' }}"},"script":"test \"$OPERON_ATTEMPT\" != 1 || sleep $WAIT\necho ''::{\"outputs\":{\"aligned\":\"yes\"}}::''\n"},"quarantineMs":0,"resources":{"cpuMilli":100,"ephemeralGib":0,"memoryMib":0},"retry":null,"taskCache":null,"taskType":"io.kestra.plugin.scripts.shell.Script","timeoutMs":3600000},"needs":[],"parent":0,"phase":"body","priority":0,"rank":2,"when":null},{"after":false,"allowFailure":false,"allowWarning":false,"branch":null,"children":[],"dependents":[],"deps":[2],"hidden":false,"id":"report","kind":{"idempotent":true,"kind":"task","needs":["align","fetch"],"plugin":null,"props":{"format":"{{ outputs.fetch.value }}, aligned {{ outputs.align.vars.aligned }}"},"quarantineMs":0,"resources":{"cpuMilli":100,"ephemeralGib":0,"memoryMib":0},"retry":null,"taskCache":null,"taskType":"io.kestra.plugin.core.debug.Return","timeoutMs":60000},"needs":[],"parent":0,"phase":"body","priority":0,"rank":1,"when":null}],"owner":null,"shards":[{"mirrors":[],"slots":[0,1,2,3]}]}],"sla":[],"timeoutMs":null,"variables":{}}' AS BLOB));
INSERT INTO revisions (namespace, flow, hash, revision) VALUES
    ('tests', 'harvest', '1d89156dd286a55d17e7cb3575ecdb8f6b087a95744b4ebc6706e9115229ed93', 1);
INSERT INTO executions (id, namespace, flow, state, reason, created_ms, started_ms, ended_ms, labels, added_labels, meta, outputs) VALUES
    ('1m8bj49pd6snyy3m', 'tests', 'harvest', 'SUCCESS', NULL, 1768471200000, 1768471200046, 1768471200113, '{"team":"viral"}', '{"team":"viral"}', '{"id":"1m8bj49pd6snyy3m","namespace":"tests","flow":"harvest","revision":1,"planHash":"1d89156dd286a55d17e7cb3575ecdb8f6b087a95744b4ebc6706e9115229ed93","inputs":{"organism":"rsv"},"labels":{"team":"viral"},"trigger":null,"createdMs":1768471200000,"parent":null,"replayOf":null,"flowDir":null,"priority":0}', '{"said":"fetched rsv, aligned yes"}');
INSERT INTO executions (id, namespace, flow, state, reason, created_ms, started_ms, ended_ms, labels, added_labels, meta, outputs) VALUES
    ('1m8bj49ybgn06nvt', 'tests', 'harvest', 'RUNNING', NULL, 1768471200168, 1768471200172, NULL, '{"team":"viral"}', '{"team":"viral"}', '{"id":"1m8bj49ybgn06nvt","namespace":"tests","flow":"harvest","revision":1,"planHash":"1d89156dd286a55d17e7cb3575ecdb8f6b087a95744b4ebc6706e9115229ed93","inputs":{"organism":"mpox"},"labels":{"team":"viral"},"trigger":null,"createdMs":1768471200168,"parent":null,"replayOf":null,"flowDir":null,"priority":0}', '{}');
INSERT INTO shards (execution, shard, version, due_ms, bytes) VALUES
    ('1m8bj49pd6snyy3m', X'0000', 4, NULL, X'01000001050000290119c19b0100000000000000000000000000000000000000000000040000000b0000000000000b0100000000000b0100000000000b010000000000');
INSERT INTO shards (execution, shard, version, due_ms, bytes) VALUES
    ('1m8bj49ybgn06nvt', X'0000', 2, 1768471500172, X'01000001020000ac0119c19b010000000000003075000000000000000000000000000004000000080000000000000b010000000000030100d1dd060000000000000000');
INSERT INTO attempts (execution, shard, slot, attempt, task, name, state, exit_code, created_ms, started_ms, ended_ms, rest) VALUES
    ('1m8bj49pd6snyy3m', X'0000', 1, 1, 'fetch', 'fetch', 'SUCCESS', NULL, 1768471200060, 1768471200060, 1768471200060, '{"outputs":{"value":"fetched rsv"}}');
INSERT INTO attempts (execution, shard, slot, attempt, task, name, state, exit_code, created_ms, started_ms, ended_ms, rest) VALUES
    ('1m8bj49pd6snyy3m', X'0000', 2, 1, 'align', 'align', 'SUCCESS', 0, 1768471200066, 1768471200069, 1768471200104, '{"outputs":{"exitCode":0,"vars":{"aligned":"yes"},"outputFiles":{}},"usage":{"peakRssBytes":47140864,"cpuSeconds":0.002822}}');
INSERT INTO attempts (execution, shard, slot, attempt, task, name, state, exit_code, created_ms, started_ms, ended_ms, rest) VALUES
    ('1m8bj49pd6snyy3m', X'0000', 3, 1, 'report', 'report', 'SUCCESS', NULL, 1768471200113, 1768471200113, 1768471200113, '{"outputs":{"value":"fetched rsv, aligned yes"}}');
INSERT INTO attempts (execution, shard, slot, attempt, task, name, state, exit_code, created_ms, started_ms, ended_ms, rest) VALUES
    ('1m8bj49ybgn06nvt', X'0000', 1, 1, 'fetch', 'fetch', 'SUCCESS', NULL, 1768471200177, 1768471200177, 1768471200178, '{"outputs":{"value":"fetched mpox"}}');
INSERT INTO attempts (execution, shard, slot, attempt, task, name, state, exit_code, created_ms, started_ms, ended_ms, rest) VALUES
    ('1m8bj49ybgn06nvt', X'0000', 2, 1, 'align', 'align', 'RUNNING', NULL, 1768471200187, 1768471200187, NULL, '{}');
INSERT INTO claims (execution, shard, slot, attempt, state, engine_pid, boot, pid, pid_started, container) VALUES
    ('1m8bj49pd6snyy3m', X'0000', 2, 1, 'finished', 11299, '00000000-0000-4000-8000-000000000000', NULL, NULL, NULL);
INSERT INTO claims (execution, shard, slot, attempt, state, engine_pid, boot, pid, pid_started, container) VALUES
    ('1m8bj49ybgn06nvt', X'0000', 2, 1, 'launched', 11321, '00000000-0000-4000-8000-000000000000', 11326, 2808147, NULL);
INSERT INTO pairs (namespace, key, value, expires_ms) VALUES
    ('tests', 'seen', '{"organism":"mpox"}', NULL);

PRAGMA application_id = 1332769390;
PRAGMA user_version = 1;
