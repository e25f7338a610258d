SELECT dataset, table_name, rule, severity, count(*) AS records, max(message) AS reason
FROM quarantine_reasons
GROUP BY dataset, table_name, rule, severity
ORDER BY records DESC, rule
