BEGIN TRANSACTION;
CREATE TABLE backlog (
    batch INTEGER NOT NULL, expert TEXT NOT NULL, lines INTEGER NOT NULL, PRIMARY KEY (batch, expert)) WITHOUT ROWID;
INSERT INTO "backlog" VALUES(3,'',0);
INSERT INTO "backlog" VALUES(3,'small',0);
CREATE TABLE batches (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, endpoint TEXT NOT NULL,
    input_file_id TEXT NOT NULL, form TEXT NOT NULL, completion_window TEXT NOT NULL, metadata TEXT,
    max_cost_usd REAL, cost_weight REAL NOT NULL, latency_weight REAL NOT NULL, private INTEGER NOT NULL,
    status TEXT NOT NULL, errors TEXT, output_file_id TEXT, error_file_id TEXT,
    total INTEGER NOT NULL DEFAULT 0, completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    cost_usd REAL NOT NULL DEFAULT 0, list_cost_usd REAL NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0, completion_tokens INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL, in_progress_at INTEGER, expires_at INTEGER NOT NULL, finalizing_at INTEGER,
    completed_at INTEGER, failed_at INTEGER, expired_at INTEGER, cancelling_at INTEGER, cancelled_at INTEGER, output_expires_s INTEGER, attempts INTEGER NOT NULL DEFAULT 0);
INSERT INTO "batches" VALUES(1,'batch_62523bdf12a42b21ae957340e9d3cc1d','local','/v1/chat/completions','file-abadf6aa78e0e6eec71acd4532478527','jsonl','24h',NULL,NULL,0.0,0.0,0,'completed',NULL,'file-dfa3dae0576362cd52aa7b1e3dd84b03','file-6c8c71dff2a6678932b1bb38356fe0d4',4,2,2,0.00045,0.00045,36,9,1795994024,1795994024,1796080424,1795994077,1795994077,NULL,NULL,NULL,NULL,NULL,1);
INSERT INTO "batches" VALUES(2,'batch_7f9497b825b9c1aa8968cef45ac816a1','local','/v1/chat/completions','file-9f292db670f9989df89999a5fafc65f0','jsonl','24h',NULL,NULL,0.0,0.0,0,'completed',NULL,'file-d73fdeded949b571ccf4e81d78e21d95',NULL,1,1,0,0.00015,0.00015,12,3,1795994077,1795994077,1796080477,1795994078,1795994078,NULL,NULL,NULL,NULL,NULL,1);
INSERT INTO "batches" VALUES(3,'batch_e22905f948f965d9fca1bc327665b894','local','/v1/chat/completions','file-cb6846138ee54062845c3806540e9db2','jsonl','24h','{"name": "old"}',NULL,0.0,0.0,0,'in_progress',NULL,NULL,NULL,13,1,1,0.00015,0.00015,12,3,1795994078,1795994078,1796080478,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0);
CREATE TABLE files (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, filename TEXT NOT NULL, purpose TEXT NOT NULL, bytes INTEGER NOT NULL,
    created INTEGER NOT NULL, expires INTEGER);
INSERT INTO "files" VALUES('file-abadf6aa78e0e6eec71acd4532478527','local','input.jsonl','batch',626,1795994024,NULL);
INSERT INTO "files" VALUES('file-dfa3dae0576362cd52aa7b1e3dd84b03','local','batch_62523bdf12a42b21ae957340e9d3cc1d_output.jsonl','batch_output',1400,1795994077,NULL);
INSERT INTO "files" VALUES('file-6c8c71dff2a6678932b1bb38356fe0d4','local','batch_62523bdf12a42b21ae957340e9d3cc1d_errors.jsonl','batch_output',550,1795994077,NULL);
INSERT INTO "files" VALUES('file-d73fdeded949b571ccf4e81d78e21d95','local','batch_7f9497b825b9c1aa8968cef45ac816a1_output.jsonl','batch_output',636,1795994078,NULL);
INSERT INTO "files" VALUES('file-cb6846138ee54062845c3806540e9db2','local','input.jsonl','batch',2427,1795994078,NULL);
CREATE TABLE history (batch INTEGER NOT NULL, at REAL NOT NULL, done INTEGER NOT NULL, cost_usd REAL NOT NULL);
INSERT INTO "history" VALUES(1,1.79599402647695446013e+09,2,0.00015);
INSERT INTO "history" VALUES(1,1.79599407761470508575e+09,4,0.00045);
INSERT INTO "history" VALUES(2,1.79599407799892759329e+09,1,0.00015);
INSERT INTO "history" VALUES(3,1.79599407863429188733e+09,2,0.00015);
CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, revoked INTEGER);
CREATE TABLE lines (
    batch INTEGER NOT NULL, line INTEGER NOT NULL, turn INTEGER NOT NULL, wave INTEGER, custom_id TEXT, asked TEXT,
    status INTEGER, told TEXT, tries INTEGER NOT NULL DEFAULT 0, expert TEXT NOT NULL DEFAULT '', PRIMARY KEY (batch, line)) WITHOUT ROWID;
INSERT INTO "lines" VALUES(3,0,261815363002,1795994078189340144,'q0',NULL,200,'{"answer": "echo: question 0", "expert": "small", "predicted_score": null, "prompt_tokens": 12, "completion_tokens": 3, "cost_usd": 0.00015, "list_cost_usd": 0.00015, "latency_ms": 15.998288999981014, "finish_reason": "stop", "error": null, "logprobs": null}',0,'small');
INSERT INTO "lines" VALUES(3,1,443589133585,1795994078177651902,'q1','{"question": "question 1", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,2,823683404058,1795994078177651902,'q2','{"question": "stuck 2", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,3,846762261918,1795994078177651902,'q3','{"question": "question 3", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,4,48817046145,1795994078177651902,'q4','{"question": "question 4", "temperature": 0.5, "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,5,473717863884,1795994078177651902,'q5','{"question": "stuck 5", "top_logprobs": 0, "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,6,568545649907,1795994078177651902,'q6','{"question": "question 6", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,7,684857499027,1795994078177651902,'q7','{"question": "question 7", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,8,736617036478,1795994078177651902,'q8','{"question": "stuck 8", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,9,487030559391,1795994078177651902,'q9','{"question": "question 9", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,10,605221868255,1795994078177651902,'q10','{"question": "question 10", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,11,984505260778,1795994078177651902,'q11','{"question": "stuck 11", "n": 1}',NULL,NULL,0,'');
INSERT INTO "lines" VALUES(3,12,575646690355,NULL,'wrong',NULL,404,'{"error": "there is no model ''medium''; those that can be asked are: leeroo, large, small"}',0,'');
CREATE TABLE sessions (hash TEXT PRIMARY KEY, key TEXT NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE shares (
    batch INTEGER NOT NULL, expert TEXT NOT NULL, rows INTEGER NOT NULL, cost_usd REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, PRIMARY KEY (batch, expert)) WITHOUT ROWID;
INSERT INTO "shares" VALUES(1,'large',1,0.0003,24,6);
INSERT INTO "shares" VALUES(1,'small',1,0.00015,12,3);
INSERT INTO "shares" VALUES(2,'large',1,0.00015,12,3);
INSERT INTO "shares" VALUES(3,'small',1,0.00015,12,3);
CREATE INDEX files_by_owner ON files (owner, created);
CREATE INDEX batches_by_owner ON batches (owner, number);
CREATE INDEX batches_open ON batches (status) WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');
CREATE INDEX lines_riding ON lines (wave, batch) WHERE wave IS NOT NULL AND status IS NULL;
CREATE INDEX history_by_batch ON history (batch, at);
CREATE INDEX lines_waiting ON lines (batch, expert, turn) WHERE wave IS NULL AND status IS NULL;
COMMIT;
PRAGMA user_version = 2;
