SELECT raised_at, severity, message, round(value, 2) AS value, round(threshold, 2) AS threshold, run_id
FROM alerts
ORDER BY raised_at DESC, value DESC
