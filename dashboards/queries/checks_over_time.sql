SELECT
  max(checked_at) AS checked_at, dataset, severity, count(*) AS rules, count_if(NOT success) AS broken_rules,
  sum(unexpected_count) AS unexpected, run_id
FROM quality_results
GROUP BY dataset, severity, run_id
ORDER BY checked_at, dataset, severity
