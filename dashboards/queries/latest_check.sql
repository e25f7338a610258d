SELECT
  dataset, table_name, rule, severity, unexpected_count, element_count, round(unexpected_percent, 2) AS unexpected_percent,
  observed_value AS example, table_version, checked_at, run_id
FROM quality_results
QUALIFY dense_rank() OVER (PARTITION BY dataset, rule ORDER BY checked_at DESC, run_id) = 1
ORDER BY unexpected_count = 0, CASE severity WHEN 'error' THEN 0 WHEN 'warn' THEN 1 ELSE 2 END, unexpected_count DESC
