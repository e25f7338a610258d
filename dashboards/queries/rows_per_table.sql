SELECT 'images' AS table_name, count(*) AS num_rows, max(ingested_at) AS last_written FROM images
UNION ALL SELECT 'annotations', count(*), max(ingested_at) FROM annotations
UNION ALL SELECT 'categories', count(*), max(ingested_at) FROM categories
UNION ALL SELECT 'quarantine', count(*), max(quarantined_at) FROM quarantine
UNION ALL SELECT 'quality_results', count(*), max(checked_at) FROM quality_results
UNION ALL SELECT 'samples', count(*), max(built_at) FROM samples
UNION ALL SELECT 'training_runs', count(*), max(ended_at) FROM training_runs
UNION ALL SELECT 'evaluations', count(*), max(evaluated_at) FROM evaluations
UNION ALL SELECT 'predictions', count(*), max(predicted_at) FROM predictions
UNION ALL SELECT 'alerts', count(*), max(raised_at) FROM alerts
