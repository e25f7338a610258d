SELECT CAST(quarantined_at AS DATE) AS day, dataset, table_name, rule, count(*) AS records
FROM quarantine_reasons
GROUP BY day, dataset, table_name, rule
ORDER BY day, records DESC
