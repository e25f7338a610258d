-- One row a refused record and reason.
SELECT
  q.dataset, q.table_name, e.rule, e.column AS column_name, e.severity, e.message, e.observed,
  q.source_uri, q.record, q.record_hash, q.quarantined_at, q.run_id
FROM quarantine AS q
LATERAL VIEW explode(q.errors) exploded AS e
